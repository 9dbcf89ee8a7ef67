package draw

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
)

const (
	legendLine   = 24
	legendSwatch = 16
	legendSpace  = 14
)

// Legend draws the names of classes beside swatches of their colors, in lines
// of at most width pixels.
func Legend(names []string, colors []color.Color, width int) (*image.NRGBA, error) {
	if len(names) == 0 || len(names) != len(colors) {
		return nil, fmt.Errorf("draw: %w: legend of %d names and %d colors", ErrSize, len(names), len(colors))
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
		draw.Draw(out, swatch.Inset(1), image.NewUniform(colors[i]), image.Point{}, draw.Src)
		d := font.Drawer{Dst: out, Src: image.Black, Face: face, Dot: fixed.P(swatch.Max.X+4, swatch.Max.Y-3)}
		d.DrawString(n)
	}
	return out, nil
}
