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
	legendSpace  = 14
)

// Legend draws the names of classes behind their colours, in lines of at most
// width pixels.
func Legend(names []string, colours []color.Color, width int) (*image.NRGBA, error) {
	if len(names) == 0 || len(names) != len(colours) {
		return nil, fmt.Errorf("surgery: %w: legend of %d names and %d colours", ErrLabel, len(names), len(colours))
	}
	face, err := captionFace()
	if err != nil {
		return nil, err
	}
	defer face.Close()
	at := make([]image.Point, len(names))
	next, widest := image.Pt(sheetGap, 0), 0
	for i, n := range names {
		w := legendSwatch + 4 + font.MeasureString(face, n).Ceil()
		if next.X+w+sheetGap > width && next.X > sheetGap {
			next = image.Pt(sheetGap, next.Y+legendLine)
		}
		at[i] = next
		widest = max(widest, next.X+w+sheetGap)
		next.X += w + legendSpace
	}
	out := image.NewNRGBA(image.Rect(0, 0, widest, next.Y+legendLine+sheetGap))
	draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)
	for i, n := range names {
		swatch := image.Rectangle{at[i], at[i].Add(image.Pt(legendSwatch, legendSwatch))}
		draw.Draw(out, swatch, image.Black, image.Point{}, draw.Src)
		draw.Draw(out, swatch.Inset(1), image.NewUniform(colours[i]), image.Point{}, draw.Src)
		d := font.Drawer{Dst: out, Src: image.Black, Face: face, Dot: fixed.P(swatch.Max.X+4, swatch.Max.Y-3)}
		d.DrawString(n)
	}
	return out, nil
}
