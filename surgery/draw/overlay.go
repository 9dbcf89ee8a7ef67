package draw

import (
	"fmt"
	"image"
	"image/color"

	"github.com/clipsurgery/clipsurgery/surgery"
)

// Option changes how a function of this package draws; each says which options
// it takes note of.
type Option func(*renderer)

type renderer struct {
	colors  ColorMap
	opacity float64
	columns int
}

// Colors draws with m instead of [Jet].
func Colors(m ColorMap) Option { return func(r *renderer) { r.colors = m } }

// Opacity mixes (1-a) of the picture with a of the map; a is limited to 0–1.
// The default, 0.6, is the reference demo's.
func Opacity(a float64) Option {
	if !(a >= 0) { // nor if it is not a number
		a = 0
	}
	return func(r *renderer) { r.opacity = min(a, 1) }
}

// Columns sets how many pictures stand in a row of a sheet; the default makes
// the sheet about as wide as high.
func Columns(n int) Option { return func(r *renderer) { r.columns = n } }

func newRenderer(opts []Option) renderer {
	r := renderer{opacity: 0.6}
	for _, o := range opts {
		o(&r)
	}
	return r
}

// Overlay draws a heat map over its picture: each byte is
// (1-opacity)·picture + opacity·colour, truncated, which is the reference
// demo's blend. The map must have the size of the picture.
func Overlay(img image.Image, m *surgery.HeatMap, opts ...Option) (*image.NRGBA, error) {
	out, err := Canvas(img)
	if err != nil {
		return nil, err
	}
	if m == nil || m.Width != out.Rect.Dx() || m.Height != out.Rect.Dy() || len(m.Values) != m.Width*m.Height {
		return nil, fmt.Errorf("draw: %w: heat map for a picture of %v", ErrSize, out.Rect.Max)
	}
	r := newRenderer(opts)
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

// OverlayLabels draws the colours of a label map over its picture, as [Overlay]
// draws a heat map; pixels with the label [surgery.Ignore] stay as they are. A nil
// palette is [surgery.Palette]. Of the options, [Opacity] counts.
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
	r := newRenderer(opts)
	for i, c := range m.Labels {
		if c == surgery.Ignore {
			continue
		}
		if int(c) >= len(p) {
			return nil, fmt.Errorf("draw: %w: class %d in a palette of %d colours", surgery.ErrLabel, c, len(p))
		}
		over := color.NRGBAModel.Convert(p[c]).(color.NRGBA)
		for k, v := range [3]uint8{over.R, over.G, over.B} {
			out.Pix[4*i+k] = uint8((1-r.opacity)*float64(out.Pix[4*i+k]) + r.opacity*float64(v))
		}
	}
	return out, nil
}
