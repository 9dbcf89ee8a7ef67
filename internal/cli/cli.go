// Package cli is what the example programs share around their few lines of
// substance: one clear line for a mistake, pictures in and out, progress on a
// terminal.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/hub"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Main parses the flags and runs the program until it returns or is
// interrupted. An error becomes one line and exit status 1, one in the flags
// exit status 2.
func Main(run func(ctx context.Context) error) {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	fail := func(status int, err error) {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(status)
	}
	flags := flag.CommandLine
	flags.Init(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	err := flags.Parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(os.Stdout)
		fmt.Printf("Usage of %s:\n", name)
		flags.PrintDefaults()
		return
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		fail(2, fmt.Errorf("%w (-help lists the flags)", err))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fail(1, err)
	}
}

// CLIP opens a checkpoint by path or by a name that [hub.Fetch] knows, or the
// embedded demo model for an empty path.
func CLIP(path string) (*vit.CLIP, error) {
	if path != "" {
		path, err := Checkpoint(path)
		if err != nil {
			return nil, err
		}
		return vit.Open(path)
	}
	f, err := shapes.CLIP()
	if err != nil {
		return nil, err
	}
	return vit.Load(f)
}

// SAM opens a checkpoint by path or by a name that [hub.Fetch] knows, or the
// embedded demo model for an empty path.
func SAM(path string, opts ...sam.Option) (*sam.Model, error) {
	if path != "" {
		path, err := Checkpoint(path)
		if err != nil {
			return nil, err
		}
		return sam.Open(path, opts...)
	}
	f, err := shapes.SAM()
	if err != nil {
		return nil, err
	}
	return sam.Load(f, opts...)
}

// Checkpoint returns the path of a checkpoint that is given by path or by a
// name, which it fetches unless it is in the cache. What is a path, or could be
// one by its folder or its ending, is one. An interrupt ends the download.
func Checkpoint(name string) (string, error) {
	isPath := func() bool {
		if _, err := os.Stat(name); err == nil || !hub.IsName(name) {
			return true
		}
		if slices.Contains(hub.Names(), name) {
			return false
		}
		_, err := os.Stat(filepath.Dir(name))
		return err == nil || slices.Contains([]string{".pt", ".pth", ".bin", ".safetensors", ".json"}, filepath.Ext(name))
	}
	if isPath() {
		return name, nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	return hub.Fetch(ctx, name, hub.WithProgress(Bytes("fetching "+name)))
}

// SavePNG writes a picture, and the folders that it lies in.
func SavePNG(path string, img image.Image) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(f, img), f.Close())
}

// Windows is a flag for [vit.CLIP.EncodeWindows]: by itself the windows of the
// field's protocol, or -windows=560,224,112 for another short side, window and
// stride.
type Windows struct{ *vit.Windows }

// WindowsFlag defines the flag -windows.
func WindowsFlag() *Windows {
	w := new(Windows)
	flag.Var(w, "windows", "short side 336, windows of 224 every 112 pixels; or others, as -windows=560,224,112")
	return w
}

// IsBoolFlag lets the flag stand by itself.
func (w *Windows) IsBoolFlag() bool { return true }

// Set reads the flag.
func (w *Windows) Set(s string) error {
	own := surgery.DefaultWindows()
	switch s {
	case "true":
	case "false":
		w.Windows = nil
		return nil
	default:
		if _, err := fmt.Sscanf(s, "%d,%d,%d", &own.ShortSide, &own.Side, &own.Stride); err != nil || s != (&Windows{&own}).String() {
			return errors.New("three numbers are needed, as 336,224,112")
		}
	}
	w.Windows = &own
	return nil
}

func (w *Windows) String() string {
	if w == nil || w.Windows == nil {
		return "false"
	}
	return fmt.Sprintf("%d,%d,%d", w.ShortSide, w.Side, w.Stride)
}

// List splits "person, bench" at the commas.
func List(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// FileName joins names, such as a picture's and a label, to a file's name that
// every file system takes: letters, digits, dots and dashes.
func FileName(names ...string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '-'
	}, strings.Join(names, "-"))
}

// Clock adds up the time of a program's stages.
type Clock struct {
	last   time.Time
	stages []string
	spent  map[string]time.Duration
}

// NewClock starts a clock.
func NewClock() *Clock { return &Clock{last: time.Now(), spent: make(map[string]time.Duration)} }

// Lap books the time since the last lap, or the start, on a stage.
func (c *Clock) Lap(stage string) {
	now := time.Now()
	if !slices.Contains(c.stages, stage) {
		c.stages = append(c.stages, stage)
	}
	c.spent[stage] += now.Sub(c.last)
	c.last = now
}

// String lists the stages in the order of their first laps.
func (c *Clock) String() string {
	var parts []string
	for _, s := range c.stages {
		parts = append(parts, fmt.Sprintf("%s %v", s, c.spent[s].Round(time.Millisecond)))
	}
	return strings.Join(parts, ", ")
}

// Progress returns a callback that draws a bar on standard error, or nothing
// where that is not a terminal. The bar disappears when it is full.
func Progress(what string) func(done, total int) { return progress(what) }

// Bytes is Progress of bytes, of which there may be an unknown number, -1.
func Bytes(what string) func(done, total int) {
	return progress(what, progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond))
}

func progress(what string, opts ...progressbar.Option) func(done, total int) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func(int, int) {}
	}
	var bar *progressbar.ProgressBar
	var mu sync.Mutex
	return func(done, total int) {
		mu.Lock()
		defer mu.Unlock()
		if bar == nil {
			bar = progressbar.NewOptions(total, append(opts, progressbar.OptionSetDescription(what),
				progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish())...)
		}
		_ = bar.Set(done) // a bar that cannot be drawn is no reason to stop
	}
}
