package draw

import (
	"fmt"
	"image"
	"image/draw"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Tile is one picture of a sheet.
type Tile struct {
	Picture image.Image
	Caption string
}

const (
	sheetGap     = 8
	captionSize  = 15 // points at 72 dpi: pixels
	captionSpace = 24
	minTile      = 128
)

// Sheet puts pictures with captions below them on one contact sheet. Pictures
// are drawn at their own size, small ones magnified by a whole number; captions
// that do not fit are cut.
func Sheet(tiles []Tile, opts ...Option) (*image.NRGBA, error) {
	if len(tiles) == 0 {
		return nil, fmt.Errorf("draw: %w: a sheet needs pictures, got none", ErrSize)
	}
	r, err := newRenderer(opts)
	if err != nil {
		return nil, err
	}
	var cell image.Point
	pictures := make([]*image.NRGBA, len(tiles))
	for i, t := range tiles {
		picture, err := Canvas(t.Picture)
		if err != nil {
			return nil, fmt.Errorf("%w (tile %d, %q)", err, i, t.Caption)
		}
		pictures[i] = picture
		s := picture.Rect.Size()
		cell.X, cell.Y = max(cell.X, s.X*magnify(s)), max(cell.Y, s.Y*magnify(s))
	}
	cols := r.columns
	if cols < 1 {
		for cols = 1; cols*cols*cell.X < len(tiles)*(cell.Y+captionSpace); cols++ {
		}
	}
	cols = min(cols, len(tiles))
	rows := (len(tiles) + cols - 1) / cols
	step := cell.Add(image.Pt(sheetGap, sheetGap+captionSpace))
	out := image.NewNRGBA(image.Rect(0, 0, cols*step.X+sheetGap, rows*step.Y+sheetGap))
	draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)

	face, err := captionFace()
	if err != nil {
		return nil, err
	}
	for i, t := range tiles {
		at := image.Pt(sheetGap+i%cols*step.X, sheetGap+i/cols*step.Y)
		drawMagnified(out, at, pictures[i])
		d := font.Drawer{Dst: out, Src: image.Black, Face: face, Dot: fixed.P(at.X, at.Y+cell.Y+captionSize+2)}
		d.DrawString(fit(face, t.Caption, cell.X))
	}
	return out, nil
}

// magnify is by how much a picture is enlarged on a sheet.
func magnify(size image.Point) int {
	return max(1, minTile/max(size.X, size.Y, 1))
}

func drawMagnified(dst *image.NRGBA, at image.Point, src *image.NRGBA) {
	n := magnify(src.Rect.Size())
	for y := range src.Rect.Dy() * n {
		for x := range src.Rect.Dx() * n {
			dst.SetNRGBA(at.X+x, at.Y+y, src.NRGBAAt(x/n, y/n))
		}
	}
}

func captionFace() (font.Face, error) {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("draw: caption font: %w", err)
	}
	return opentype.NewFace(f, &opentype.FaceOptions{Size: captionSize, DPI: 72, Hinting: font.HintingFull})
}

// fit cuts s to width pixels.
func fit(face font.Face, s string, width int) string {
	if font.MeasureString(face, s).Ceil() <= width {
		return s
	}
	runes := []rune(s)
	for len(runes) > 0 && font.MeasureString(face, string(runes)+"…").Ceil() > width {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

// Stack puts pictures below one another on white ground.
func Stack(pictures ...image.Image) *image.NRGBA {
	var size image.Point
	for _, p := range pictures {
		size.X, size.Y = max(size.X, p.Bounds().Dx()), size.Y+p.Bounds().Dy()
	}
	out := image.NewNRGBA(image.Rectangle{Max: size})
	draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)
	y := 0
	for _, p := range pictures {
		b := p.Bounds()
		draw.Draw(out, image.Rect(0, y, b.Dx(), y+b.Dy()), p, b.Min, draw.Over)
		y += b.Dy()
	}
	return out
}
