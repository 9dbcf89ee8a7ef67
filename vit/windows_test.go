package vit

import (
	"context"
	"image"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
)

func TestWindowRects(t *testing.T) {
	w := Windows{ShortSide: 336, Side: 224, Stride: 112}
	require.Equal(t, []image.Rectangle{
		image.Rect(0, 0, 224, 224), image.Rect(112, 0, 336, 224), image.Rect(176, 0, 400, 224),
		image.Rect(0, 112, 224, 336), image.Rect(112, 112, 336, 336), image.Rect(176, 112, 400, 336),
	}, w.rects(image.Pt(400, 336)))
	require.Equal(t, []image.Rectangle{image.Rect(0, 0, 100, 224)}, w.rects(image.Pt(100, 224)))
}

// A window's features are those of the same pixels encoded by themselves, and
// windows cover the picture.
func TestEncodeWindows(t *testing.T) {
	c := micro.model(t)
	ctx := context.Background()
	img := scene(96, 64)
	got, err := c.EncodeWindows(ctx, img, Windows{ShortSide: 40, Side: 32, Stride: 16}, Operate(surgeryPlanOf(3)))
	require.NoError(t, err)
	require.Len(t, got, 6) // 64×40 pixels: columns at 0, 16 and 32, rows at 0 and 8
	whole, err := c.Preprocess(img, ShortSide(40))
	require.NoError(t, err)
	covered := image.Rectangle{}
	for i, r := range (Windows{ShortSide: 40, Side: 32, Stride: 16}).rects(image.Pt(whole.Width, whole.Height)) {
		p := Pixels{r.Dx(), r.Dy(), nil}
		for c := range 3 {
			for y := r.Min.Y; y < r.Max.Y; y++ {
				p.Data = append(p.Data, whole.Data[(c*whole.Height+y)*whole.Width+r.Min.X:][:r.Dx()]...)
			}
		}
		want, err := c.EncodePixels(ctx, p, Operate(surgeryPlanOf(3)))
		require.NoError(t, err)
		golden.Close(t, "window", got[i].Tokens.Data, want.Tokens.Data, 5e-6)
		require.Equal(t, image.Pt(96, 64), got[i].Size)
		covered = covered.Union(got[i].Region)
	}
	require.Equal(t, image.Rect(0, 0, 96, 64), covered)
	require.Equal(t, image.Rect(24, 0, 72, 51), got[1].Region)

	for _, w := range []Windows{{}, {32, 32, 0}, {32, 16, 32}, {0, 32, 16}, {1 << 20, 32, 1}} {
		_, err := c.EncodeWindows(ctx, img, w)
		require.ErrorIs(t, err, ErrSize)
	}
	_, err = c.EncodeWindows(ctx, img, Windows{64, 32, 16}, Resize(32))
	require.ErrorIs(t, err, ErrSize)
}
