package pix

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"reflect"
)

// raster is a picture's bytes in its own mode; palette is that of ModePalette.
type raster struct {
	width, height, stride int
	mode                  Mode
	pix                   []uint8
	palette               *Palette
	mem                   *Scratch // what is made of it is cut from
}

func newRaster(mem *Scratch, mode Mode, width, height int) *raster {
	stride := width * mode.Channels()
	return &raster{width, height, stride, mode, mem.newBytes(stride * height), nil, mem}
}

func (r *raster) row(y int) []uint8 { return r.pix[y*r.stride:][:r.width*r.mode.Channels()] }

// rasterOf returns the bytes of a picture. It shares the pixels of the types
// that hold them as Pillow does and copies those of others. What the standard
// library's types do not tell of a file's mode is settled here:
//
//   - [image.Gray] is Pillow's L; only 0 and 255 mean 1, which is what package
//     image/png makes of single bits.
//   - [image.Gray16] loses its lower byte, then is L.
//   - [image.Paletted] is P. An index without a color is black.
//   - [image.YCbCr] is a JPEG's RGB, [image.NYCbCrA] a WebP's RGBA.
//   - [image.CMYK] is CMYK.
//   - [image.RGBA], [image.NRGBA] and all others are RGB where they are opaque,
//     else RGBA.
func rasterOf(ctx context.Context, mem *Scratch, img image.Image) (*raster, error) {
	size, err := Size(img)
	if err != nil {
		return nil, err
	}
	b, w, h := img.Bounds(), size.X, size.Y
	shared := func(mode Mode, pix []uint8, offset, stride int) (*raster, error) {
		need := (h-1)*stride + w*mode.Channels()
		if stride < w*mode.Channels() || offset < 0 || offset > len(pix) || len(pix)-offset < need {
			return nil, fmt.Errorf("%w: %d bytes of pixels for %d×%d", ErrSize, len(pix), w, h)
		}
		return &raster{w, h, stride, mode, pix[offset:], nil, mem}, nil
	}
	switch m := img.(type) {
	case *Picture:
		r, err := shared(m.Mode, m.Pix, 0, m.Stride)
		if err != nil {
			return nil, err
		}
		r.palette = m.Palette
		return r, nil
	case *image.Gray:
		r, err := shared(ModeGray, m.Pix, m.PixOffset(b.Min.X, b.Min.Y), m.Stride)
		if err == nil && r.isBilevel() {
			r.mode = ModeBilevel
		}
		return r, err
	case *image.Paletted:
		r, err := shared(ModePalette, m.Pix, m.PixOffset(b.Min.X, b.Min.Y), m.Stride)
		if err != nil {
			return nil, err
		}
		r.palette = paletteOf(m.Palette)
		return r, nil
	case *image.CMYK:
		return shared(ModeCMYK, m.Pix, m.PixOffset(b.Min.X, b.Min.Y), m.Stride)
	case *image.NRGBA:
		r, err := shared(ModeRGBA, m.Pix, m.PixOffset(b.Min.X, b.Min.Y), m.Stride)
		if err == nil && r.isOpaque() {
			r.mode = modeRGBX
		}
		return r, err
	case *image.RGBA:
		r, err := shared(modeRGBX, m.Pix, m.PixOffset(b.Min.X, b.Min.Y), m.Stride)
		if err != nil || r.isOpaque() {
			return r, err
		}
	case *image.YCbCr:
		if err := checkYCbCr(m); err != nil {
			return nil, err
		}
		return fromYCbCr(ctx, mem, m)
	case *image.NYCbCrA:
		if err := checkYCbCr(&m.YCbCr); err != nil {
			return nil, err
		}
		if len(m.A) < (h-1)*m.AStride+w || m.AStride < w {
			return nil, fmt.Errorf("%w: %d bytes of alpha for %d×%d", ErrSize, len(m.A), w, h)
		}
		return fromVP8(ctx, mem, m)
	}
	return fromColors(ctx, mem, img)
}

// isNil also knows the nil pointers of image types.
func isNil(img image.Image) bool {
	if img == nil {
		return true
	}
	v := reflect.ValueOf(img)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

func (r *raster) isBilevel() bool {
	for y := range r.height {
		for _, v := range r.row(y) {
			if v != 0 && v != 255 {
				return false
			}
		}
	}
	return true
}

// isOpaque reports whether every fourth byte is 255.
func (r *raster) isOpaque() bool {
	for y := range r.height {
		row := r.row(y)
		for i := 3; i < len(row); i += 4 {
			if row[i] != 255 {
				return false
			}
		}
	}
	return true
}

func paletteOf(colors color.Palette) *Palette {
	var p Palette
	for i, c := range colors[:min(len(colors), 256)] {
		if c == nil {
			continue
		}
		n, ok := c.(color.NRGBA) // keeps the color of transparent entries
		if !ok {
			n = color.NRGBAModel.Convert(c).(color.NRGBA)
		}
		p[3*i], p[3*i+1], p[3*i+2] = n.R, n.G, n.B
	}
	return &p
}

// fromColors asks a picture for its pixels one by one: RGBA, or RGB where it is
// opaque.
func fromColors(ctx context.Context, mem *Scratch, img image.Image) (*raster, error) {
	b := img.Bounds()
	mode := ModeRGBA
	if g, ok := img.(*image.Gray16); ok {
		return fromGray16(ctx, mem, g)
	}
	if o, ok := img.(interface{ Opaque() bool }); ok && o.Opaque() {
		mode = ModeRGB
	}
	r := newRaster(mem, mode, b.Dx(), b.Dy())
	n := mode.Channels()
	budget := budget{ctx: ctx}
	for y := range r.height {
		row := r.row(y)
		for x := range r.width {
			if x%checkEvery == 0 {
				if err := budget.spend(min(checkEvery, r.width-x)); err != nil {
					return nil, err
				}
			}
			c := nrgbaOf(img.At(b.Min.X+x, b.Min.Y+y))
			p := row[x*n : (x+1)*n]
			p[0], p[1], p[2] = c.R, c.G, c.B
			if n == 4 {
				p[3] = c.A
			}
		}
	}
	if mode == ModeRGBA && r.isOpaque() {
		r.mode = modeRGBX
	}
	return r, nil
}

// nrgbaOf keeps the upper bytes of 16-bit colors, and colors under alpha.
func nrgbaOf(c color.Color) color.NRGBA {
	switch v := c.(type) {
	case nil:
		return color.NRGBA{}
	case color.NRGBA64:
		return color.NRGBA{R: uint8(v.R >> 8), G: uint8(v.G >> 8), B: uint8(v.B >> 8), A: uint8(v.A >> 8)}
	case color.NRGBA:
		return v
	}
	return color.NRGBAModel.Convert(c).(color.NRGBA)
}

func fromGray16(ctx context.Context, mem *Scratch, m *image.Gray16) (*raster, error) {
	b := m.Bounds()
	r := newRaster(mem, ModeGray, b.Dx(), b.Dy())
	budget := budget{ctx: ctx}
	for y := range r.height {
		if err := budget.spend(r.width); err != nil {
			return nil, err
		}
		row := r.row(y)
		for x := range row {
			row[x] = uint8(m.Gray16At(b.Min.X+x, b.Min.Y+y).Y >> 8)
		}
	}
	return r, nil
}

// toRGB is Pillow's convert("RGB") of a run of pixels.
func (r *raster) toRGB(dst, src []uint8) {
	switch r.mode {
	case ModeBilevel, ModeGray:
		for i, v := range src {
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	case ModeGrayA:
		for i := range len(src) / 2 {
			v := src[2*i]
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	case ModePalette:
		if r.palette == nil {
			clear(dst[:3*len(src)])
			return
		}
		for i, v := range src {
			copy(dst[3*i:3*i+3], r.palette[3*int(v):])
		}
	case ModeRGB:
		copy(dst, src)
	case ModeRGBA, modeRGBX:
		dropFourth(dst, src)
	case ModeCMYK:
		fromCMYK(dst, src)
	}
}

func dropFourth(dst, src []uint8) {
	for i := range len(src) / 4 {
		copy(dst[3*i:3*i+3], src[4*i:4*i+3])
	}
}

// fromCMYK is Pillow's cmyk2rgb.
func fromCMYK(dst, src []uint8) {
	for i := range len(src) / 4 {
		s, d := src[4*i:4*i+4], dst[3*i:3*i+3]
		light := 255 - s[3]
		for c := range d {
			d[c] = light - multiply(s[c], light)
		}
	}
}

// multiply is a·b/255, rounded, as Pillow's MULDIV255 has it.
func multiply(a, b uint8) uint8 {
	v := uint32(a)*uint32(b) + 128
	return uint8((v>>8 + v) >> 8)
}

// rgb converts a part of the picture.
func (r *raster) rgb(ctx context.Context, part image.Rectangle) (*RGB, error) {
	w, h, n := part.Dx(), part.Dy(), r.mode.Channels()
	out := &RGB{w, h, r.mem.newBytes(3 * w * h)}
	budget := budget{ctx: ctx}
	for y := range h {
		if err := budget.spend(w); err != nil {
			return nil, err
		}
		r.toRGB(out.Pix[3*y*w:3*(y+1)*w], r.row(part.Min.Y + y)[n*part.Min.X:n*part.Max.X])
	}
	return out, nil
}

// checkEvery is after how many pixels a context is asked.
const checkEvery = 1 << 16

// budget asks a context now and then.
type budget struct {
	ctx   context.Context
	spent int
}

func (b *budget) spend(pixels int) error {
	if b.spent += pixels; b.spent < checkEvery {
		return nil
	}
	b.spent = 0
	return b.ctx.Err()
}
