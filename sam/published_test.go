package sam

import (
	"bufio"
	"fmt"
	"image"
	"image/color"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// The larger of the published architectures, of which there are no fixtures.
var (
	vitL = architecture{ImageSize: 1024, PatchSize: 16, Width: 1024, Depth: 24, Heads: 16., Window: 14,
		Globals: []int{5, 11, 17, 23}, Out: 256, MaskChannels: 16}
	vitH = architecture{ImageSize: 1024, PatchSize: 16, Width: 1280, Depth: 32, Heads: 16., Window: 14,
		Globals: []int{7, 15, 23, 31}, Out: 256, MaskChannels: 16}
)

// gradient is a picture of a bright disc on a slope.
func gradient(size image.Point) image.Image {
	img := image.NewNRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			v := uint8(100 * (x + y) / (size.X + size.Y))
			if dx, dy := x-size.X/2, y-size.Y/2; dx*dx+dy*dy < size.Y*size.Y/16 {
				v = 220
			}
			img.SetNRGBA(x, y, color.NRGBA{v, v / 2, 255 - v, 255})
		}
	}
	return img
}

// useModel encodes a picture and asks for masks.
func useModel(t *testing.T, m *Model) {
	img := gradient(image.Pt(640, 480))
	e, err := m.Encode(t.Context(), img)
	require.NoError(t, err)
	require.Equal(t, image.Pt(64, 64), e.Grid())
	require.Equal(t, 256, e.Features().Cols)
	lo, hi := m.kernel.MinMax(e.Features().Data)
	require.True(t, nn.Finite(lo) && nn.Finite(hi) && lo < 0 && hi > 0)
	results, err := m.Predict(t.Context(), e, []Prompt{{Points: []Point{{320, 240, Foreground}}}, {Box: &Box{200, 120, 440, 360}, Single: true}})
	require.NoError(t, err)
	require.Len(t, results[0].Masks, 3)
	require.Len(t, results[1].Masks, 1)
	for _, r := range results {
		for i, mask := range r.Masks {
			require.True(t, nn.Finite(mask.IoU))
			lo, hi := m.kernel.MinMax(r.LowRes[i].Data)
			require.True(t, nn.Finite(lo) && nn.Finite(hi) && lo < hi)
		}
	}
}

func TestViTL(t *testing.T) {
	golden.Long(t)
	c := vitL.config()
	m, err := Load(procedural(t, c))
	require.NoError(t, err)
	require.Equal(t, c, m.Config())
	useModel(t, m)
}

// TestMemoryViTH: the largest model loads from a file and encodes pictures
// within 3.6 GB of anonymous memory. Another process does it, whose memory is
// not that of other tests.
func TestMemoryViTH(t *testing.T) {
	golden.Long(t)
	if path := os.Getenv("SAM_TEST_LOAD"); path != "" {
		peak := watchMemory(t)
		m, err := Open(path)
		require.NoError(t, err)
		loaded := peak()
		require.Equal(t, vitH.config(), m.Config())
		useModel(t, m)
		first := peak()
		useModel(t, m)
		fmt.Printf("\nloaded %d first %d second %d whole %d\n", loaded, first, peak(), memory(t, "VmHWM"))
		return
	}
	if runtime.GOOS != "linux" {
		return // the system does not tell
	}
	path := filepath.Join(t.TempDir(), "sam_vit_h.safetensors")
	require.NoError(t, weights.Save(t.Context(), path, procedural(t, vitH.config()), weights.F32))
	file, err := os.Stat(path)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryViTH$", "-long")
	cmd.Env = append(os.Environ(), "SAM_TEST_LOAD="+path)
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	var loaded, first, second, whole int64
	_, report, _ := strings.Cut(string(out), "\n")
	_, err = fmt.Sscanf(report, "loaded %d first %d second %d whole %d", &loaded, &first, &second, &whole)
	require.NoError(t, err, "%s", out)
	t.Logf("weights of %d MB: anonymous memory at most %d MB loaded, %d MB after one picture, %d MB after two; mapped pages and all %d MB",
		file.Size()/1e6, loaded/1e6, first/1e6, second/1e6, whole/1e6)
	require.Less(t, second, int64(3.6e9))
	// Of what is beyond the weights, about 430 MB are scratch: the blocks that
	// the first picture took one by one, and the one that replaced them, of which
	// the first are garbage that the collector has no reason to look for.
	require.Less(t, second, file.Size()+750e6)
	require.Less(t, whole, int64(3.6e9), "pages of the file that were read are given back")
}

// watchMemory returns a function that tells the most anonymous memory so far.
func watchMemory(t *testing.T) (peak func() int64) {
	var most atomic.Int64
	look := func() { most.Store(max(most.Load(), memory(t, "RssAnon"))) }
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				look()
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	return most.Load
}

// memory is a line of the process's status, in bytes.
func memory(t *testing.T, field string) (bytes int64) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Error(err)
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if value, ok := strings.CutPrefix(s.Text(), field+":"); ok {
			_, err := fmt.Sscanf(value, "%d kB", &bytes)
			if err != nil {
				t.Error(err)
			}
			return bytes << 10
		}
	}
	t.Errorf("no %s in /proc/self/status", field)
	return 0
}
