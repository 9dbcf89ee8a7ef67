package vit

import (
	"context"
	"fmt"
	"image"
	"sync"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// Windows cuts a picture into overlapping squares, which are encoded one by
// one. Sides are pixels of the resized picture.
type Windows struct {
	// ShortSide is the picture's short side after the resize, which keeps its
	// shape; both sides are rounded to the nearest multiple of the patch.
	ShortSide int
	// Side is the side of a window. Where the picture is shorter, the window is
	// as short as the picture.
	Side int
	// Stride is the step from one window to the next. The last window ends at
	// the picture's edge, so it may overlap its neighbor more.
	Stride int
}

// rects are the windows over a resized picture, row by row.
func (w Windows) rects(size image.Point) []image.Rectangle {
	starts := func(n int) []int {
		var all []int
		for at := 0; ; at += w.Stride {
			if at+w.Side >= n {
				return append(all, max(n-w.Side, 0))
			}
			all = append(all, at)
		}
	}
	var all []image.Rectangle
	for _, y := range starts(size.Y) {
		for _, x := range starts(size.X) {
			all = append(all, image.Rect(x, y, min(x+w.Side, size.X), min(y+w.Side, size.Y)))
		}
	}
	return all
}

// EncodeWindows returns the features of the windows over a picture, row by row.
// Their Region says which part of the picture each of them shows. Each window
// is resized by itself; the rest of the picture is not. Options that resize are
// [ErrSize], and so are windows without a side or a stride, a stride longer
// than the side, and more than 65,536 windows.
func (c *CLIP) EncodeWindows(ctx context.Context, img image.Image, w Windows, opts ...ImageOption) ([]*Features, error) {
	if err := c.loaded(); err != nil {
		return nil, err
	}
	o, err := imageOptionsOf(opts)
	if err != nil {
		return nil, err
	}
	if o.transform.kind != native {
		return nil, fmt.Errorf("vit: %w: windows have a size of their own", ErrSize)
	}
	if w.Side < 1 || w.Stride < 1 || w.Stride > w.Side || w.ShortSide < 1 {
		return nil, fmt.Errorf("vit: %w: windows of %d pixels every %d, short side %d", ErrSize, w.Side, w.Stride, w.ShortSide)
	}
	size, err := sizeOf(img)
	if err != nil {
		return nil, err
	}
	if w.ShortSide > maxPixels {
		return nil, fmt.Errorf("vit: %w: short side of %d pixels", ErrSize, w.ShortSide)
	}
	g := geometry{size: size, resized: roundedSides(size, w.ShortSide, c.config.Vision.Patch)}
	if n := (int64(g.resized.X/w.Stride) + 1) * (int64(g.resized.Y/w.Stride) + 1); n > maxCells {
		return nil, fmt.Errorf("vit: %w: %d windows", ErrSize, n)
	}
	shared := sync.OnceValues(func() (*pix.Picture, error) { return pix.FromImage(ctx, img) })
	var pictures []picture
	for _, r := range w.rects(g.resized) {
		at := g
		at.crop = r
		pictures = append(pictures, picture{g.size, at.region(), r.Size(), func(ctx context.Context, dst []float32) error {
			img, err := shared()
			if err != nil {
				return pictureError(err)
			}
			return c.prepare(ctx, dst, img, at)
		}, nil})
	}
	return c.encodeUnder(ctx, pictures, o)
}

// filter is the model's resampling filter.
func (c *CLIP) filter() pix.Filter {
	if c.config.Interpolation == "bilinear" {
		return pix.Triangle()
	}
	return pix.Bicubic()
}
