package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

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
