package pix

import (
	"errors"
	"fmt"
	"image"
	"image/color"
)

// ErrSize reports a picture without pixels, or too large to work on.
var ErrSize = errors.New("picture size")

// MaxPixels is the largest picture that is accepted, given or asked for. It
// keeps a hostile header or a thin picture from taking the machine's memory.
const MaxPixels = 1 << 28

// RGB is a picture of 8-bit red, green and blue, row by row.
type RGB struct {
	Width, Height int
	Pix           []uint8 // 3·Width·Height
}

// raster is a picture in the channels that Pillow would resize: grey, grey and
// alpha, RGB, or RGB and alpha.
type raster struct {
	width, height, channels int
	pix                     []uint8
	mem                     *Scratch // what the next raster is cut from
}

func newRaster(mem *Scratch, width, height, channels int) *raster {
	return &raster{width, height, channels, mem.newBytes(width * height * channels), mem}
}

// checkSize rejects pictures without pixels and enormous ones.
func checkSize(width, height int) error {
	if width < 1 || height < 1 || width > MaxPixels/height {
		return fmt.Errorf("%w: %d×%d", ErrSize, width, height)
	}
	return nil
}

// FromImage converts a picture as Pillow's convert("RGB") does: alpha is
// dropped without compositing, palettes are looked up, 16 bits lose their lower
// byte. YCbCr is converted as libjpeg does, chroma upsampled by its triangle
// filter.
func FromImage(img image.Image) (*RGB, error) { return (*Scratch)(nil).FromImage(img) }

// channels returns a picture in its own channels, and whether Pillow resizes it
// by nearest neighbour: palettes, and bilevel pictures, which Go decodes as
// grey pictures of 0 and 255 only.
func channels(mem *Scratch, img image.Image) (r *raster, nearest bool, err error) {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	if err := checkSize(w, h); err != nil {
		return nil, false, err
	}
	switch m := img.(type) {
	case *image.Gray:
		r, nearest = newRaster(mem, w, h, 1), true
		for y := range h {
			row := r.pix[y*w : (y+1)*w]
			copy(row, m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):])
			for _, v := range row {
				nearest = nearest && (v == 0 || v == 255)
			}
		}
		return r, nearest, nil
	case *image.Gray16:
		r = newRaster(mem, w, h, 1)
		for y := range h {
			for x := range w {
				r.pix[y*w+x] = uint8(m.Gray16At(b.Min.X+x, b.Min.Y+y).Y >> 8)
			}
		}
		return r, false, nil
	case *image.Paletted:
		r = newRaster(mem, w, h, 3)
		palette := make([]color.NRGBA, 256)
		for i, c := range m.Palette {
			palette[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
			if n, ok := c.(color.NRGBA); ok {
				palette[i] = n // keeps the colour of transparent entries
			}
		}
		for y := range h {
			for x := range w {
				c := palette[m.ColorIndexAt(b.Min.X+x, b.Min.Y+y)]
				copy(r.pix[3*(y*w+x):], []uint8{c.R, c.G, c.B})
			}
		}
		return r, true, nil
	case *image.YCbCr:
		rgb := fromYCbCr(mem, m)
		return &raster{w, h, 3, rgb.Pix, mem}, false, nil
	case *image.RGBA:
		if m.Opaque() {
			r = newRaster(mem, w, h, 3)
			for y := range h {
				dropFourth(r.pix[3*y*w:3*(y+1)*w], m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):])
			}
			return r, false, nil
		}
	case *image.NRGBA:
		r = newRaster(mem, w, h, 4)
		for y := range h {
			copy(r.pix[4*y*w:4*(y+1)*w], m.Pix[m.PixOffset(b.Min.X, b.Min.Y+y):])
		}
		return r.withoutAlpha(), false, nil
	}
	r = newRaster(mem, w, h, 4)
	for y := range h {
		for x := range w {
			var c color.NRGBA
			switch v := img.At(b.Min.X+x, b.Min.Y+y).(type) {
			case color.NRGBA64:
				c = color.NRGBA{uint8(v.R >> 8), uint8(v.G >> 8), uint8(v.B >> 8), uint8(v.A >> 8)}
			case color.NRGBA:
				c = v
			default:
				c = color.NRGBAModel.Convert(v).(color.NRGBA)
			}
			copy(r.pix[4*(y*w+x):], []uint8{c.R, c.G, c.B, c.A})
		}
	}
	return r.withoutAlpha(), false, nil
}

// withoutAlpha drops the alpha channel of opaque pictures, which changes no
// result and saves a quarter of the work.
func (r *raster) withoutAlpha() *raster {
	for i := 3; i < len(r.pix); i += 4 {
		if r.pix[i] != 255 {
			return r
		}
	}
	out := newRaster(r.mem, r.width, r.height, 3)
	dropFourth(out.pix, r.pix)
	return out
}

func dropFourth(dst, src []uint8) {
	for i := 0; 3*i < len(dst); i++ {
		copy(dst[3*i:3*i+3], src[4*i:4*i+3])
	}
}

// rgb is Pillow's convert("RGB").
func (r *raster) rgb() *RGB {
	out := &RGB{Width: r.width, Height: r.height, Pix: r.pix}
	switch r.channels {
	case 1:
		out.Pix = r.mem.newBytes(3 * len(r.pix))
		for i, v := range r.pix {
			out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = v, v, v
		}
	case 4:
		out.Pix = r.mem.newBytes(len(r.pix) / 4 * 3)
		dropFourth(out.Pix, r.pix)
	}
	return out
}

// premultiply is Pillow's RGBA to RGBa.
func (r *raster) premultiply() {
	for i := 0; i < len(r.pix); i += 4 {
		a := uint32(r.pix[i+3])
		for c := i; c < i+3; c++ {
			v := uint32(r.pix[c])*a + 128
			r.pix[c] = uint8((v>>8 + v) >> 8)
		}
	}
}

// unpremultiply is Pillow's RGBa to RGBA.
func (r *raster) unpremultiply() {
	for i := 0; i < len(r.pix); i += 4 {
		a := uint32(r.pix[i+3])
		if a == 0 || a == 255 {
			continue
		}
		for c := i; c < i+3; c++ {
			r.pix[c] = uint8(min(255*uint32(r.pix[c])/a, 255))
		}
	}
}

// Image returns r as an image.Image.
func (r *RGB) Image() *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, r.Width, r.Height))
	for i := range r.Width * r.Height {
		copy(out.Pix[4*i:], r.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 255
	}
	return out
}

// Crop returns the part of r under rect, which lies inside it.
func (r *RGB) Crop(rect image.Rectangle) *RGB {
	out := &RGB{Width: rect.Dx(), Height: rect.Dy(), Pix: make([]uint8, 3*rect.Dx()*rect.Dy())}
	for y := range out.Height {
		src := 3 * ((rect.Min.Y+y)*r.Width + rect.Min.X)
		copy(out.Pix[3*y*out.Width:3*(y+1)*out.Width], r.Pix[src:])
	}
	return out
}

// Planes stores (v·scale - mean)/std of every channel in dst, 3 × height ×
// width; scale is 1/255 for CLIP (torchvision's ToTensor divides by 255, then
// normalises) and 1 for SAM.
func (r *RGB) Planes(dst []float32, unit bool, mean, std [3]float32) {
	n := r.Width * r.Height
	for c := range 3 {
		var table [256]float32
		for v := range table {
			x := float32(v)
			if unit {
				x /= 255
			}
			table[v] = (x - mean[c]) / std[c]
		}
		plane := dst[c*n : (c+1)*n]
		for i := range plane {
			plane[i] = table[r.Pix[3*i+c]]
		}
	}
}
