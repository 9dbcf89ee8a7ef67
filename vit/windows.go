package vit

import (
	"context"
	"fmt"
	"image"
	"sync"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// Windows cuts a picture into overlapping squares, each of which is encoded by
// itself. Sides are pixels of the resized picture.
type Windows struct {
	// ShortSide is the picture's short side after the resize, which keeps its
	// shape; both sides are rounded to the nearest multiple of the patch.
	ShortSide int
	// Side is that of a window; along a side of the picture that is shorter, the
	// window is as short.
	Side int
	// Stride is the step from a window to the next. The last one ends with the
	// picture, so that it may overlap its neighbour more.
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
// Region says which part of the picture each of them shows. The picture is
// resized once. Options that resize are [ErrSize], and so are windows without
// extent or without a step, and more than 65,536 of them.
func (c *CLIP) EncodeWindows(ctx context.Context, img image.Image, w Windows, opts ...ImageOption) ([]*Features, error) {
	o := imageOptionsOf(opts)
	if o.transform.kind != native {
		return nil, fmt.Errorf("vit: %w: windows have a size of their own", ErrSize)
	}
	if w.Side < 1 || w.Stride < 1 || w.Stride > w.Side || w.ShortSide < 1 {
		return nil, fmt.Errorf("vit: %w: windows of %d pixels every %d, short side %d", ErrSize, w.Side, w.Stride, w.ShortSide)
	}
	if img == nil {
		return nil, fmt.Errorf("vit: %w: picture is nil", ErrSize)
	}
	g, err := transform{shortSide, w.ShortSide}.geometry(img.Bounds().Size(), &c.config)
	if err != nil {
		return nil, err
	}
	if n := (g.resized.X/w.Stride + 1) * (g.resized.Y/w.Stride + 1); n > maxCells {
		return nil, fmt.Errorf("vit: %w: %d windows", ErrSize, n)
	}
	resized := sync.OnceValues(func() (*pix.RGB, error) {
		return pix.Resize(img, g.resized.X, g.resized.Y, c.filter())
	})
	var pictures []picture
	for _, r := range w.rects(g.resized) {
		at := g
		at.crop = r
		pictures = append(pictures, picture{g.size, at.region(), r.Size(), func(dst []float32) error {
			rgb, err := resized()
			if err != nil {
				return fmt.Errorf("vit: %w: %w", ErrSize, err)
			}
			rgb.Crop(r).Planes(dst, true, c.config.Mean, c.config.Std)
			return nil
		}, nil})
	}
	all, err := c.encode(ctx, pictures, []Plan{o.planOrZero()}, o.progress)
	if err != nil {
		return nil, err
	}
	features := make([]*Features, len(all))
	for i := range all {
		features[i] = all[i][0]
	}
	return features, nil
}

// filter is the model's resampling filter.
func (c *CLIP) filter() pix.Filter {
	if c.config.Interpolation == "bilinear" {
		return pix.Triangle()
	}
	return pix.Bicubic()
}
