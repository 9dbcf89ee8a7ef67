package pix

import (
	"context"
	"image"
	"image/color"
)

// Mode says what the samples of a picture are, in Pillow's terms, and with that
// how Pillow resizes it.
type Mode uint8

// The modes of pictures, with the bytes of a pixel.
const (
	ModeBilevel Mode = iota // Pillow's 1: one byte, 0 or 255; nearest neighbor
	ModePalette             // P: one byte, an index; nearest neighbor
	ModeGray                // L: one byte
	ModeGrayA               // LA: gray and alpha, premultiplied while resized
	ModeRGB                 // RGB: three bytes
	ModeRGBA                // RGBA: RGB and alpha, premultiplied while resized
	ModeCMYK                // CMYK: four bytes, 0 without ink
	modeRGBX                // RGB and a byte without meaning
	modes
)

var modeNames = [modes]string{"1", "P", "L", "LA", "RGB", "RGBA", "CMYK", "RGBX"}

// Channels is the number of bytes of a pixel.
func (m Mode) Channels() int {
	switch m {
	case ModeGrayA:
		return 2
	case ModeRGB:
		return 3
	case ModeRGBA, ModeCMYK, modeRGBX:
		return 4
	}
	return 1
}

// String is Pillow's name of the mode.
func (m Mode) String() string {
	if m < modes {
		return modeNames[m]
	}
	return "unknown"
}

// Picture is a decoded picture in the mode that Pillow gives its file. Alpha is
// not premultiplied. It is an [image.Image] of the colors that Pillow converts
// it to, with alpha where the mode has it.
type Picture struct {
	Mode    Mode
	Rect    image.Rectangle
	Stride  int     // bytes from one row to the next
	Pix     []uint8 // begins with the upper left pixel of Rect
	Palette *Palette
}

// Palette is the colors of [ModePalette], RGB.
type Palette [3 * 256]uint8

// NewPicture returns a picture of zeros with its corner at (0, 0). The caller
// has checked its size with [CheckSize].
func NewPicture(mode Mode, width, height int) *Picture {
	stride := width * mode.Channels()
	return &Picture{Mode: mode, Rect: image.Rect(0, 0, width, height), Stride: stride, Pix: make([]uint8, stride*height)}
}

// FromImage returns a picture in the mode that is taken for its type's, its
// corner at (0, 0). It shares its pixels where they lie as in a Picture.
func FromImage(ctx context.Context, img image.Image) (*Picture, error) {
	return pictureOf(rasterOf(ctx, nil, img))
}

func pictureOf(r *raster, err error) (*Picture, error) {
	if err != nil {
		return nil, err
	}
	return &Picture{r.mode, image.Rect(0, 0, r.width, r.height), r.stride, r.pix, r.palette}, nil
}

// Row returns the bytes of row y, counted from the top of the picture.
func (p *Picture) Row(y int) []uint8 {
	return p.Pix[y*p.Stride:][:p.Rect.Dx()*p.Mode.Channels()]
}

// Bounds implements [image.Image].
func (p *Picture) Bounds() image.Rectangle { return p.Rect }

// ColorModel implements [image.Image].
func (p *Picture) ColorModel() color.Model { return color.NRGBAModel }

// At implements [image.Image].
func (p *Picture) At(x, y int) color.Color { return p.nrgba(x, y) }

// RGBA64At implements [image.RGBA64Image].
func (p *Picture) RGBA64At(x, y int) color.RGBA64 {
	r, g, b, a := p.nrgba(x, y).RGBA()
	return color.RGBA64{R: uint16(r), G: uint16(g), B: uint16(b), A: uint16(a)}
}

func (p *Picture) nrgba(x, y int) color.NRGBA {
	if !image.Pt(x, y).In(p.Rect) {
		return color.NRGBA{}
	}
	s := p.Pix[(y-p.Rect.Min.Y)*p.Stride+(x-p.Rect.Min.X)*p.Mode.Channels():]
	switch p.Mode {
	case ModeGrayA:
		return color.NRGBA{R: s[0], G: s[0], B: s[0], A: s[1]}
	case ModeRGBA:
		return color.NRGBA{R: s[0], G: s[1], B: s[2], A: s[3]}
	}
	var c [3]uint8
	p.raster(nil).toRGB(c[:], s[:p.Mode.Channels()])
	return color.NRGBA{R: c[0], G: c[1], B: c[2], A: 255}
}

// SubImage returns the part of p inside r, which shares its pixels.
func (p *Picture) SubImage(r image.Rectangle) image.Image {
	r = r.Intersect(p.Rect)
	if r.Empty() {
		return &Picture{Mode: p.Mode, Palette: p.Palette}
	}
	part := *p
	part.Rect = r
	part.Pix = p.Pix[(r.Min.Y-p.Rect.Min.Y)*p.Stride+(r.Min.X-p.Rect.Min.X)*p.Mode.Channels():]
	return &part
}

// raster is the picture as the resize takes it.
func (p *Picture) raster(mem *Scratch) *raster {
	return &raster{p.Rect.Dx(), p.Rect.Dy(), p.Stride, p.Mode, p.Pix, p.Palette, mem}
}
