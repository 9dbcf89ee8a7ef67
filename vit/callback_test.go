package vit

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// broken is a picture whose pixels cannot be read.
type broken struct{}

func (broken) ColorModel() color.Model { return color.NRGBAModel }
func (broken) Bounds() image.Rectangle { return image.Rect(0, 0, 40, 40) }
func (broken) At(x, y int) color.Color { panic("no pixels") }

// TestPanics: a panic of a caller's picture or callback is one in the caller's
// goroutine, and the model goes on.
func TestPanics(t *testing.T) {
	ctx := t.Context()
	for _, workers := range []int{1, 2, 4} {
		c := tiny.model(t, WithWorkers(workers))
		want, err := c.EncodeImage(ctx, scene(40, 40))
		require.NoError(t, err)
		boom := WithProgress(func(_, _ int) { panic("callback") })
		for range 10 {
			require.PanicsWithValue(t, "no pixels", func() { _, _ = c.EncodeImage(ctx, broken{}) })
			require.PanicsWithValue(t, "no pixels", func() {
				_, _ = c.EncodeImages(ctx, []image.Image{scene(9, 9), scene(20, 20), broken{}, broken{}})
			})
			require.PanicsWithValue(t, "callback", func() { _, _ = c.EncodeImage(ctx, scene(40, 40), boom) })
			require.PanicsWithValue(t, "callback", func() { _, _ = c.EncodeLabels(ctx, []string{"cat"}, []string{"{}"}, boom) })
		}
		got, err := c.EncodeImage(ctx, scene(40, 40))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestCallFromCallback: a progress callback may call the model, also with one
// worker, and its context may end meanwhile.
func TestCallFromCallback(t *testing.T) {
	for _, workers := range []int{1, 3} {
		c := tiny.model(t, WithWorkers(workers))
		want, err := c.EncodeImage(t.Context(), scene(40, 40))
		require.NoError(t, err)
		calls := 0
		inside := WithProgress(func(_, _ int) {
			calls++
			got, err := c.EncodeImage(t.Context(), scene(40, 40))
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
		got, err := c.EncodeImage(t.Context(), scene(40, 40), inside)
		require.NoError(t, err)
		require.Equal(t, want, got)
		_, err = c.EncodeLabels(t.Context(), []string{"cat", "dog"}, []string{"{}"}, inside)
		require.NoError(t, err)
		require.Greater(t, calls, 1)

		ctx, cancel := context.WithCancel(t.Context())
		_, err = c.EncodeImage(ctx, scene(40, 40), WithProgress(func(_, _ int) { cancel() }))
		require.ErrorIs(t, err, context.Canceled)
		_, err = c.EncodeLabels(ctx, []string{"cat"}, []string{"{}"})
		require.ErrorIs(t, err, context.Canceled)
	}
}

// TestScratchShrinks: pictures of growing size leave about what the largest
// needs, and small ones after them almost nothing.
func TestScratchShrinks(t *testing.T) {
	live := func() int64 {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	encode := func(c *CLIP, side int) { // a square
		_, err := c.EncodeImage(t.Context(), scene(40, 40), Resize(side))
		require.NoError(t, err, fmt.Sprint(side))
	}
	c, fresh := tiny.model(t), tiny.model(t)
	native := c.config.Vision.Size().X
	encode(c, native)
	encode(fresh, native)
	start := live()
	const sizes = 8
	encode(fresh, sizes*native)
	one := live() - start
	for i := range sizes {
		encode(c, (i+1)*native)
	}
	c.vision.(*visionTransformer).tables.kept = nil // which have a bound of their own
	require.LessOrEqual(t, live()-start-one, one+1<<20)
	for range 8 {
		encode(c, native)
	}
	require.Less(t, live()-start-one, one/2)
	runtime.KeepAlive(c)
	runtime.KeepAlive(fresh)
}
