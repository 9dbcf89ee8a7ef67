package sam

import (
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// ErrPixels reports prepared pixels that do not fit the model or their size,
// or are not numbers.
var ErrPixels = errors.New("pixels")

// Pixels is a prepared picture: normalized RGB, 3×Height×Width, row-major.
// Its longest side is the model's input size; it is not padded.
type Pixels struct {
	Width, Height int
	Data          []float32
}

// Mean and standard deviation of the training pictures, on values of 0 to 255
// (segment_anything/build_sam.py).
var (
	pixelMean = [3]float32{123.675, 116.28, 103.53}
	pixelStd  = [3]float32{58.395, 57.12, 57.375}
)

// Preprocess makes the encoder's input from a picture: it converts it to RGB,
// resizes the longest side to the model's input size as Pillow's antialiased
// BILINEAR filter does, and normalizes it
// (segment_anything/utils/transforms.py, ResizeLongestSide; modeling/sam.py,
// preprocess). For SAM 2 it stretches the picture to a square in floating point
// (sam2/utils/transforms.py, SAM2Transforms). A picture that is nil, empty, too large, or so thin that a side
// would vanish is [ErrSize].
func (m *Model) Preprocess(img image.Image) (Pixels, error) {
	if err := m.ready(); err != nil {
		return Pixels{}, err
	}
	p, err := m.prepare(context.Background(), img, m.geometry.side, nil, func(n int) []float32 { return make([]float32, n) })
	if err != nil {
		return Pixels{}, fmt.Errorf("sam: %w", err)
	}
	return p, nil
}

// prepare is Preprocess for inputs of the given side, working in bytes and floats.
func (m *Model) prepare(ctx context.Context, img image.Image, side int, bytes *pix.Scratch, floats func(n int) []float32) (Pixels, error) {
	if m.config.Hiera != nil {
		return stretched(ctx, img, side, bytes, floats)
	}
	return resized(ctx, img, side, bytes, floats)
}

func resized(ctx context.Context, img image.Image, side int, bytes *pix.Scratch, floats func(n int) []float32) (Pixels, error) {
	size, err := pix.Size(img)
	if err != nil {
		return Pixels{}, pictureError(err)
	}
	if size, err = pix.LongestSide(size, side); err != nil {
		return Pixels{}, pictureError(err)
	}
	rgb, err := bytes.ResizeRGB(ctx, img, pix.Whole(size, pix.Triangle()))
	if err != nil {
		return Pixels{}, pictureError(err)
	}
	p := Pixels{size.X, size.Y, floats(3 * size.X * size.Y)}
	rgb.Planes(p.Data, false, pixelMean, pixelStd)
	return p, nil
}

func stretched(ctx context.Context, img image.Image, side int, bytes *pix.Scratch, floats func(n int) []float32) (Pixels, error) {
	rgb, err := bytes.ToRGB(ctx, img)
	if err != nil {
		return Pixels{}, pictureError(err)
	}
	p := Pixels{side, side, floats(3 * side * side)}
	return p, rgb.Stretch(ctx, p.Data, image.Pt(side, side), unit(pixelMean), unit(pixelStd))
}

// unit divides values of 0–255 by 255.
func unit(v [3]float32) [3]float32 {
	for i := range v {
		v[i] /= 255
	}
	return v
}

// pictureError makes a picture's error the package's own; a context's stays.
func pictureError(err error) error {
	if errors.Is(err, pix.ErrSize) {
		return fmt.Errorf("%w: %w", ErrSize, err)
	}
	return err
}

// check reports pixels that an input of side × side cannot be made of.
func (p Pixels) check(side int) error {
	if p.Width < 1 || p.Height < 1 || max(p.Width, p.Height) != side {
		return fmt.Errorf("%w: %d×%d, want a longest side of %d", ErrPixels, p.Width, p.Height, side)
	}
	if len(p.Data) != 3*p.Width*p.Height { // both at most side
		return fmt.Errorf("%w: %d values for 3×%d×%d", ErrPixels, len(p.Data), p.Height, p.Width)
	}
	for i, v := range p.Data {
		if !nn.Finite(v) {
			return fmt.Errorf("%w: value %d is %v", ErrPixels, i, v)
		}
	}
	return nil
}
