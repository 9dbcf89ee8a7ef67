package surgery

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
)

// OverlayLabels draws the colours of a label map over its picture, as [Overlay]
// draws a heat map; pixels with the label [Ignore] stay as they are. A nil
// palette is [Palette]. Of the options, [Opacity] counts.
func OverlayLabels(img image.Image, m *LabelMap, p color.Palette, opts ...RenderOption) (*image.NRGBA, error) {
	size := img.Bounds().Size()
	if m.Width != size.X || m.Height != size.Y || len(m.Labels) != size.X*size.Y {
		return nil, fmt.Errorf("surgery: %w: labels of %d×%d for a picture of %d×%d", ErrLabel, m.Width, m.Height, size.X, size.Y)
	}
	if p == nil {
		p = Palette(256)
	}
	r := newRenderer(opts)
	out := opaque(img)
	for i, c := range m.Labels {
		if c == Ignore {
			continue
		}
		if int(c) >= len(p) {
			return nil, fmt.Errorf("surgery: %w: class %d in a palette of %d colours", ErrLabel, c, len(p))
		}
		over := color.NRGBAModel.Convert(p[c]).(color.NRGBA)
		for k, v := range [3]uint8{over.R, over.G, over.B} {
			out.Pix[4*i+k] = uint8((1-r.opacity)*float64(out.Pix[4*i+k]) + r.opacity*float64(v))
		}
	}
	return out, nil
}

const (
	legendLine   = 24
	legendSwatch = 16
)

// Legend draws the names of classes beside their colours, one below the other.
func Legend(names []string, colours []color.Color) (*image.NRGBA, error) {
	if len(names) == 0 || len(names) != len(colours) {
		return nil, fmt.Errorf("surgery: %w: legend of %d names and %d colours", ErrLabel, len(names), len(colours))
	}
	face, err := captionFace()
	if err != nil {
		return nil, err
	}
	defer face.Close()
	width := 0
	for _, n := range names {
		width = max(width, font.MeasureString(face, n).Ceil())
	}
	out := image.NewNRGBA(image.Rect(0, 0, width+legendSwatch+16, len(names)*legendLine+8))
	draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)
	for i, n := range names {
		y := 4 + i*legendLine
		swatch := image.Rect(4, y+4, 4+legendSwatch, y+4+legendSwatch)
		draw.Draw(out, swatch, image.Black, image.Point{}, draw.Src)
		draw.Draw(out, swatch.Inset(1), image.NewUniform(colours[i]), image.Point{}, draw.Src)
		d := font.Drawer{Dst: out, Src: image.Black, Face: face, Dot: fixed.P(legendSwatch+12, y+legendLine-6)}
		d.DrawString(n)
	}
	return out, nil
}
