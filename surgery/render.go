package surgery

import (
	"fmt"
	"image"
	"image/draw"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// RenderOption changes how Overlay and Sheet draw.
type RenderOption func(*renderer)

type renderer struct {
	colors  ColorMap
	opacity float64
	columns int
}

// Colors draws with m instead of [Jet].
func Colors(m ColorMap) RenderOption { return func(r *renderer) { r.colors = m } }

// Opacity mixes (1-a) of the picture with a of the map; a is limited to 0–1.
// The default, 0.6, is the reference demo's.
func Opacity(a float64) RenderOption {
	return func(r *renderer) { r.opacity = min(max(a, 0), 1) }
}

// Columns sets how many pictures stand in a row of a sheet; the default makes
// the sheet about as wide as high.
func Columns(n int) RenderOption { return func(r *renderer) { r.columns = n } }

func newRenderer(opts []RenderOption) renderer {
	r := renderer{opacity: 0.6}
	for _, o := range opts {
		o(&r)
	}
	return r
}

// Overlay draws a heat map over its picture: each byte is
// (1-opacity)·picture + opacity·colour, truncated, which is the reference
// demo's blend. The map must have the size of the picture.
func Overlay(img image.Image, m *HeatMap, opts ...RenderOption) (*image.NRGBA, error) {
	size := img.Bounds().Size()
	if m.Width != size.X || m.Height != size.Y || len(m.Values) != size.X*size.Y {
		return nil, fmt.Errorf("surgery: heat map of %d×%d for a picture of %d×%d", m.Width, m.Height, size.X, size.Y)
	}
	r := newRenderer(opts)
	out := opaque(img)
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

// opaque copies img to an RGB picture that starts at (0, 0), alpha dropped.
func opaque(img image.Image) *image.NRGBA {
	b := img.Bounds()
	out := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(out, out.Rect, img, b.Min, draw.Src)
	for i := 3; i < len(out.Pix); i += 4 {
		out.Pix[i] = 255
	}
	return out
}

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
func Sheet(tiles []Tile, opts ...RenderOption) (*image.NRGBA, error) {
	if len(tiles) == 0 {
		return nil, fmt.Errorf("surgery: sheet of no pictures")
	}
	r := newRenderer(opts)
	var cell image.Point
	for _, t := range tiles {
		if t.Picture == nil {
			return nil, fmt.Errorf("surgery: sheet: no picture for %q", t.Caption)
		}
		s := t.Picture.Bounds().Size()
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
		drawMagnified(out, at, t.Picture)
		d := font.Drawer{Dst: out, Src: image.Black, Face: face, Dot: fixed.P(at.X, at.Y+cell.Y+captionSize+2)}
		d.DrawString(fit(face, t.Caption, cell.X))
	}
	return out, nil
}

// magnify is by how much a picture is enlarged on a sheet.
func magnify(size image.Point) int {
	return max(1, minTile/max(size.X, size.Y, 1))
}

func drawMagnified(dst *image.NRGBA, at image.Point, img image.Image) {
	src := opaque(img)
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
		return nil, fmt.Errorf("surgery: caption font: %w", err)
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
