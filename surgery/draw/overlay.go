package draw

import (
	"fmt"
	"image"
	"image/color"

	"github.com/clipsurgery/clipsurgery/internal/option"
	"github.com/clipsurgery/clipsurgery/surgery"
)

// Option is an option of this package's functions, which say which options they
// use. Of equal options the last counts.
type Option interface{ draw(*renderer) error }

type drawOption func(*renderer) error

func (f drawOption) draw(r *renderer) error { return f(r) }

type renderer struct {
	colors  ColorMap
	opacity float64
	columns int
}

// Colors sets the color map; the default is [Jet].
func Colors(m ColorMap) Option {
	return drawOption(func(r *renderer) error { r.colors = m; return nil })
}

// Opacity mixes (1-a) of the picture with a of the map. The default, 0.6, is the
// reference demo's. An a outside 0–1 is [ErrOption].
func Opacity(a float64) Option {
	return drawOption(func(r *renderer) error {
		if !(a >= 0 && a <= 1) {
			return fmt.Errorf("%w: Opacity(%v), want 0 to 1", ErrOption, a)
		}
		r.opacity = a
		return nil
	})
}

// Columns sets how many pictures stand in a row of a sheet. The default, 0,
// makes the sheet about as wide as high. A negative number is [ErrOption].
func Columns(n int) Option {
	return drawOption(func(r *renderer) error {
		if n < 0 {
			return fmt.Errorf("%w: Columns(%d), want at least 0", ErrOption, n)
		}
		r.columns = n
		return nil
	})
}

func newRenderer(opts []Option) (renderer, error) {
	r := renderer{opacity: 0.6}
	if err := option.Apply(&r, opts, Option.draw); err != nil {
		return r, fmt.Errorf("draw: %w", err)
	}
	return r, nil
}

// Overlay draws a heat map over its picture: each byte is
// (1-opacity)·picture + opacity·color, truncated, which is the reference
// demo's blend. The map must have the size of the picture.
func Overlay(img image.Image, m *surgery.HeatMap, opts ...Option) (*image.NRGBA, error) {
	out, err := Canvas(img)
	if err != nil {
		return nil, err
	}
	if m == nil || m.Width != out.Rect.Dx() || m.Height != out.Rect.Dy() || len(m.Values) != m.Width*m.Height {
		return nil, fmt.Errorf("draw: %w: heat map for a picture of %v", ErrSize, out.Rect.Max)
	}
	r, err := newRenderer(opts)
	if err != nil {
		return nil, err
	}
	picture := 1 - r.opacity
	for i, v := range m.Values {
		c := r.colors.At(v)
		p := out.Pix[4*i : 4*i+3 : 4*i+3]
		p[0] = uint8(picture*float64(p[0]) + r.opacity*float64(c.R))
		p[1] = uint8(picture*float64(p[1]) + r.opacity*float64(c.G))
		p[2] = uint8(picture*float64(p[2]) + r.opacity*float64(c.B))
	}
	return out, nil
}

// OverlayLabels draws the colors of a label map over its picture, as [Overlay]
// draws a heat map; pixels with the label [surgery.Ignore] stay as they are. A
// nil palette is [surgery.Palette]. Of the options it uses [Opacity].
func OverlayLabels(img image.Image, m *surgery.LabelMap, p color.Palette, opts ...Option) (*image.NRGBA, error) {
	out, err := Canvas(img)
	if err != nil {
		return nil, err
	}
	if m == nil || m.Width != out.Rect.Dx() || m.Height != out.Rect.Dy() || len(m.Labels) != m.Width*m.Height {
		return nil, fmt.Errorf("draw: %w: label map for a picture of %v", ErrSize, out.Rect.Max)
	}
	if p == nil {
		p = surgery.Palette(256)
	}
	r, err := newRenderer(opts)
	if err != nil {
		return nil, err
	}
	for i, c := range m.Labels {
		if c == surgery.Ignore {
			continue
		}
		if int(c) >= len(p) {
			return nil, fmt.Errorf("draw: %w: class %d in a palette of %d colors", surgery.ErrLabel, c, len(p))
		}
		over := color.NRGBAModel.Convert(p[c]).(color.NRGBA)
		for k, v := range [3]uint8{over.R, over.G, over.B} {
			out.Pix[4*i+k] = uint8((1-r.opacity)*float64(out.Pix[4*i+k]) + r.opacity*float64(v))
		}
	}
	return out, nil
}
