package vit

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// ErrSize reports a picture, or a requested size, that is empty or too large:
// the tower takes up to 65,536 cells, the resize produces up to 2^26 pixels.
var ErrSize = errors.New("size")

const (
	maxCells  = 1 << 16
	maxPixels = 1 << 26
)

// geometry is where the pixels of the input lie in a picture.
type geometry struct {
	size    image.Point     // of the picture
	resized image.Point     // of the picture after the resize
	crop    image.Rectangle // of the resized picture, the tower's input
}

// sizeOf is the size of a picture that is there.
func sizeOf(img image.Image) (image.Point, error) {
	size, err := pix.Size(img)
	if err != nil {
		return size, pictureError(err)
	}
	return size, nil
}

// pictureError makes a picture's error the package's own; a context's stays.
func pictureError(err error) error {
	if errors.Is(err, pix.ErrSize) {
		return fmt.Errorf("vit: %w: %w", ErrSize, err)
	}
	return err
}

// geometry plans the transform of a picture.
func (t transform) geometry(size image.Point, c *Config) (g geometry, err error) {
	if size.X < 1 || size.Y < 1 {
		return g, fmt.Errorf("vit: %w: picture of %d×%d pixels", ErrSize, size.X, size.Y)
	}
	resized, n := c.Vision.Size(), t.n
	if t.kind != native {
		resized = image.Pt(n, n)
	}
	if min(resized.X, resized.Y) < 1 || max(resized.X, resized.Y) > maxPixels {
		return g, fmt.Errorf("vit: %w: %d×%d pixels asked for", ErrSize, resized.X, resized.Y)
	}
	switch t.kind {
	case shortSide:
		resized = roundedSides(size, n, c.Vision.Patch)
	case centerCrop:
		short := n
		if c.processor.short > 1 {
			short = int(min(math.Round(float64(n)*c.processor.short), maxPixels))
		}
		resized = pix.ShortSide(size, short)
	}
	g = geometry{size, resized, image.Rectangle{Max: resized}}
	if t.kind == centerCrop {
		g.crop = pix.CropRect(resized, n)
		if c.processor.floorCrop {
			g.crop = image.Rect(0, 0, n, n).Add(resized.Sub(image.Pt(n, n)).Div(2))
		}
	}
	if crop := g.crop.Size(); int64(crop.X)*int64(crop.Y) > maxPixels {
		return g, fmt.Errorf("vit: %w: %d×%d pixels would become %d×%d", ErrSize, size.X, size.Y, crop.X, crop.Y)
	}
	return g, nil
}

// roundedSides is the size with a short side of n, both sides rounded to the
// nearest multiple of the patch, one patch at least.
func roundedSides(size image.Point, n, patch int) image.Point {
	short := float64(min(size.X, size.Y))
	side := func(v int) int {
		cells := max(1, math.Round(float64(n)*float64(v)/short/float64(patch)))
		return int(min(cells*float64(patch), math.MaxInt32)) // longer ones are refused
	}
	return image.Pt(side(size.X), side(size.Y))
}

// region is the part of the picture that the input shows, in its pixels.
func (g geometry) region() image.Rectangle {
	at := func(p image.Point) image.Point {
		scale := func(v, from, to int) int { return int(math.Round(float64(v) * float64(to) / float64(from))) }
		return image.Pt(scale(p.X, g.resized.X, g.size.X), scale(p.Y, g.resized.Y, g.size.Y))
	}
	r := image.Rectangle{at(g.crop.Min), at(g.crop.Max)}
	// A crop of less than a pixel still shows one.
	r.Max.X, r.Max.Y = max(r.Max.X, r.Min.X+1), max(r.Max.Y, r.Min.Y+1)
	if over := r.Max.Sub(g.size); over.X > 0 || over.Y > 0 {
		r = r.Sub(image.Pt(max(over.X, 0), max(over.Y, 0)))
	}
	return r
}

// Preprocess returns the input that EncodeImage gives the tower: the picture
// resized as Pillow resizes it, in its own color channels, then converted to
// RGB and normalized.
func (c *CLIP) Preprocess(img image.Image, opts ...ImageOption) (Pixels, error) {
	if err := c.loaded(); err != nil {
		return Pixels{}, err
	}
	size, err := sizeOf(img)
	if err != nil {
		return Pixels{}, err
	}
	o, err := imageOptionsOf(opts)
	if err != nil {
		return Pixels{}, err
	}
	g, err := o.transform.geometry(size, &c.config)
	if err != nil {
		return Pixels{}, err
	}
	p := Pixels{g.crop.Dx(), g.crop.Dy(), make([]float32, 3*g.crop.Dx()*g.crop.Dy())}
	return p, c.prepare(context.Background(), p.Data, img, g)
}

// prepare fills the planes of a picture.
func (c *CLIP) prepare(ctx context.Context, dst []float32, img image.Image, g geometry) error {
	resize := pix.Resize
	if c.config.processor.rgbFirst {
		resize = new(pix.Scratch).ResizeRGB
	}
	rgb, err := resize(ctx, img, pix.Target{Size: g.resized, Keep: g.crop, Filter: c.filter()})
	if err != nil {
		return pictureError(err)
	}
	rgb.Planes(dst, true, c.config.Mean, c.config.Std)
	return nil
}
