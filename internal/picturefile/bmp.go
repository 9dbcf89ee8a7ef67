package picturefile

import (
	"encoding/binary"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// bmpFile is the header of a BMP file.
type bmpFile struct {
	width, height int
	topDown       bool
	bits          int
	compression   uint32
	colors        int // of the palette
	entry         int // bytes of a color
	pixels        []byte
	position      int // of pixels in the file
	mode          pix.Mode
	palette       *pix.Palette
	order         []int // which byte of a pixel is red, green, blue and alpha
	green         uint8 // bits of green in pixels of 16 bits
}

const (
	bmpRaw = iota
	bmpRLE8
	bmpRLE4
	bmpBitfields
)

// bmp reads a BMP file of 1, 4, 8, 16, 24 or 32 bits, run-length coded or not. A
// palette whose colors are their own indices is gray, one of black and white
// bilevel.
// Source: Pillow's BmpImagePlugin.
func (d *decoder) bmp() (*pix.Picture, error) {
	f, err := parseBMP(d.data)
	if err != nil {
		return nil, err
	}
	p, err := d.picture(f.mode, f.width, f.height)
	if err != nil {
		return nil, err
	}
	p.Palette = f.palette
	row := func(y int) []uint8 {
		if !f.topDown {
			y = f.height - 1 - y
		}
		return p.Row(y)
	}
	if f.compression == bmpRLE4 || f.compression == bmpRLE8 {
		err = d.bmpRuns(f, row)
	} else {
		err = d.bmpRows(f, row)
	}
	if err != nil || f.mode != pix.ModeBilevel {
		return p, err
	}
	for i, v := range p.Pix {
		p.Pix[i] = min(v, 1) * 255
	}
	return p, nil
}

func parseBMP(data []byte) (*bmpFile, error) {
	const fileHeader = 14
	le := binary.LittleEndian
	if len(data) < fileHeader+4 {
		return nil, broken("the header ends early")
	}
	size := int64(le.Uint32(data[fileHeader:]))
	if size != 12 && size != 40 && size != 52 && size != 56 && size != 64 && size != 108 && size != 124 {
		return nil, unsupported("header of %d bytes", size)
	}
	if int64(len(data)) < fileHeader+size {
		return nil, broken("the header ends early")
	}
	h, rest := data[fileHeader:fileHeader+size], data[fileHeader+size:]
	f := &bmpFile{entry: 4}
	var width, height int64
	if size == 12 {
		f.entry = 3
		width, height, f.bits = int64(le.Uint16(h[4:])), int64(le.Uint16(h[6:])), int(le.Uint16(h[10:]))
	} else {
		width, height, f.bits = int64(int32(le.Uint32(h[4:]))), int64(int32(le.Uint32(h[8:]))), int(le.Uint16(h[14:]))
		f.compression = le.Uint32(h[16:])
		f.colors = int(min(le.Uint32(h[32:]), 1<<17))
		if f.topDown = height < 0; f.topDown {
			height = -height
		}
	}
	if width < 1 || height < 1 || height > 1<<31-1 {
		return nil, broken("%w: %d×%d", pix.ErrSize, width, height)
	}
	f.width, f.height = int(width), int(height)
	var err error
	switch f.bits {
	case 1, 4, 8:
		rest, err = f.readPalette(rest)
	case 16, 24, 32:
		rest, err = f.readMasks(h, rest)
	default:
		err = unsupported("depth of %d bits", f.bits)
	}
	if err != nil {
		return nil, err
	}
	offset := int64(le.Uint32(data[10:]))
	if offset == fileHeader+size && f.bits <= 8 {
		offset += int64(f.entry * f.colors) // files that leave the palette out
	}
	if offset == 0 {
		offset = int64(len(data) - len(rest))
	}
	if offset > int64(len(data)) {
		return nil, broken("pixels begin at %d of %d bytes", offset, len(data))
	}
	f.pixels, f.position = data[offset:], int(offset)
	return f, nil
}

// readPalette reads the colors and decides the mode.
func (f *bmpFile) readPalette(rest []byte) ([]byte, error) {
	rle := f.compression == bmpRLE8 && f.bits == 8 || f.compression == bmpRLE4 && f.bits == 4
	if f.compression != bmpRaw && !rle {
		return nil, unsupported("compression %d of %d bits", f.compression, f.bits)
	}
	if f.colors == 0 {
		f.colors = 1 << f.bits
	}
	if f.colors > 1<<16 {
		return nil, unsupported("palette of %d colors", f.colors)
	}
	n := f.colors * f.entry
	if n > len(rest) {
		return nil, broken("the palette ends early")
	}
	f.palette = new(pix.Palette)
	gray := true
	for i := range f.colors {
		c := rest[i*f.entry:]
		want := uint8(i)
		if f.colors == 2 {
			want = uint8(i * 255)
		}
		gray = gray && i < 256 && c[0] == want && c[1] == want && c[2] == want
		if i < 256 {
			f.palette[3*i], f.palette[3*i+1], f.palette[3*i+2] = c[2], c[1], c[0]
		}
	}
	f.mode = pix.ModePalette
	if gray {
		f.palette, f.mode = nil, pix.ModeGray
		if f.colors <= 2 {
			f.mode = pix.ModeBilevel
		}
	}
	return rest[n:], nil
}

// readMasks decides where in a pixel the colors are.
func (f *bmpFile) readMasks(h, rest []byte) ([]byte, error) {
	f.mode, f.order, f.green = pix.ModeRGB, []int{2, 1, 0}, 5
	if f.compression == bmpRaw {
		return rest, nil
	}
	if f.compression != bmpBitfields {
		return nil, unsupported("compression %d of %d bits", f.compression, f.bits)
	}
	masks := h
	if len(h) >= 52 {
		masks = h[40:]
	} else {
		if len(rest) < 12 {
			return nil, broken("the masks end early")
		}
		masks, rest = rest[:12], rest[12:]
	}
	var m [4]uint32
	for i := range min(len(masks)/4, 4) {
		m[i] = binary.LittleEndian.Uint32(masks[4*i:])
	}
	if len(h) == 52 {
		m[3] = 0
	}
	switch f.bits {
	case 32:
		if m == [4]uint32{} {
			m = [4]uint32{0xff0000, 0xff00, 0xff, 0xff000000}
		}
		f.order = nil
		for i, mask := range m {
			at := map[uint32]int{0xff: 0, 0xff00: 1, 0xff0000: 2, 0xff000000: 3}
			byteAt, ok := at[mask]
			if !ok && (mask != 0 || i < 3) {
				return nil, unsupported("bitfields %#x", m)
			}
			if ok {
				f.order = append(f.order, byteAt)
			}
		}
		if len(f.order) == 4 {
			f.mode = pix.ModeRGBA
		}
		return rest, nil
	case 24:
		if m[0] == 0xff0000 && m[1] == 0xff00 && m[2] == 0xff {
			return rest, nil
		}
	case 16:
		if m[0] == 0xf800 && m[1] == 0x7e0 && m[2] == 0x1f {
			f.green = 6
			return rest, nil
		}
		if m[0] == 0x7c00 && m[1] == 0x3e0 && m[2] == 0x1f {
			return rest, nil
		}
	}
	return nil, unsupported("bitfields %#x", m)
}

// bmpRows reads pixels that are not compressed; rows end at multiples of four
// bytes.
func (d *decoder) bmpRows(f *bmpFile, row func(int) []uint8) error {
	stride := (int64(f.width)*int64(f.bits) + 31) / 32 * 4
	used := (int64(f.width)*int64(f.bits) + 7) / 8
	if have := int64(len(f.pixels)); have < (int64(f.height)-1)*stride+used {
		return broken("pixel data ends early")
	}
	for y := range f.height {
		if err := d.worked(f.width); err != nil {
			return err
		}
		f.unpack(row(y), f.pixels[int64(y)*stride:][:used])
	}
	return nil
}

func (f *bmpFile) unpack(dst, src []uint8) {
	switch f.bits {
	case 1, 4:
		unpackBits(dst, src, f.bits, 1)
	case 8:
		copy(dst, src)
	case 16:
		g := uint16(1)<<f.green - 1
		for x := range len(dst) / 3 {
			v := binary.LittleEndian.Uint16(src[2*x:])
			b, v := v&31, v>>5
			dst[3*x+1], v = uint8(v&g*255/g), v>>f.green
			dst[3*x], dst[3*x+2] = uint8(v&31*255/31), uint8(b*255/31)
		}
	default:
		n, m := f.bits/8, len(f.order)
		for x := range len(dst) / m {
			for c, at := range f.order {
				dst[x*m+c] = src[x*n+at]
			}
		}
	}
}

// bmpRuns reads run-length coded pixels, one row behind the other; what is left
// out is index 0.
func (d *decoder) bmpRuns(f *bmpFile, row func(int) []uint8) error {
	data := f.pixels
	total := int64(f.width) * int64(f.height)
	at, x := int64(0), 0 // the next pixel, and its column as far as runs count it
	put := func(v uint8) {
		if at < total {
			row(int(at / int64(f.width)))[at%int64(f.width)] = v
			at++
		}
	}
	index := func(b byte, i int) uint8 { // pixel i of those in a byte, repeated
		if f.bits == 8 {
			return b
		}
		if i%2 == 0 {
			return b >> 4
		}
		return b & 15
	}
	for at < total {
		if len(data) < 2 {
			return broken("pixel data ends early")
		}
		count, value := int(data[0]), data[1]
		data = data[2:]
		if err := d.worked(1 + count); err != nil {
			return err
		}
		switch {
		case count > 0:
			count = max(min(count, f.width-x), 0)
			for i := range count {
				put(index(value, i))
			}
			x += count
		case value == 0: // end of the row
			if rest := at % int64(f.width); rest != 0 {
				at += int64(f.width) - rest
			}
			x = 0
		case value == 1: // end of the picture
			return nil
		case value == 2: // a step to the right and up
			if len(data) < 2 {
				return broken("pixel data ends early")
			}
			at = min(at+int64(data[0])+int64(data[1])*int64(f.width), total)
			x = int(at % int64(f.width))
			data = data[2:]
		default: // pixels as they are, padded to words
			count = int(min(total-at, int64(value)))
			n := (count*f.bits + 7) / 8
			if len(data) < n {
				return broken("pixel data ends early")
			}
			for i := range count {
				put(index(data[i*f.bits/8], i))
			}
			x += int(value)
			data = data[n:]
			if position := f.position + len(f.pixels) - len(data); position%2 != 0 && len(data) > 0 {
				data = data[1:]
			}
		}
	}
	return nil
}
