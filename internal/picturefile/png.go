package picturefile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"strings"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// pngFile is a PNG file taken apart.
type pngFile struct {
	width, height int
	bits, samples int
	mode          pix.Mode
	interlaced    bool
	palette       *pix.Palette
	idat          [][]byte
	exif, xmp     []byte
	rawExif       []byte // of a text chunk, used where there is no eXIf
}

// png reads a PNG file. Of an animation it gives the default picture. What a
// file calls transparent by tRNS keeps its color, 16 bits lose their lower
// byte. Source: https://www.w3.org/TR/png-3/.
func (d *decoder) png() (*pix.Picture, error) {
	f, err := parsePNG(d.data)
	if err != nil {
		return nil, err
	}
	p, err := d.picture(f.mode, f.width, f.height)
	if err != nil {
		return nil, err
	}
	p.Palette = f.palette
	readers := make([]io.Reader, len(f.idat))
	for i, part := range f.idat {
		readers[i] = bytes.NewReader(part)
	}
	z, err := zlib.NewReader(contextReader{d.ctx, io.MultiReader(readers...)})
	if err != nil {
		return nil, truncated("pixel data", err)
	}
	direct := f.bits == 8 && !f.interlaced
	if !direct {
		if err := checkLines(2*f.lineBytes(f.width), p); err != nil {
			return nil, err
		}
	}
	switch {
	case direct:
		err = d.pngDirect(z, p)
	case f.interlaced:
		err = d.adam7(f, z, p)
	default:
		err = d.pngRows(f, z, f.width, f.height, func(y int, line []byte) { f.unpack(p.Row(y), line) })
	}
	if err != nil {
		return nil, truncated("pixel data", err)
	}
	if f.exif == nil {
		f.exif = f.rawExif
	}
	d.orient(f.exif, f.xmp)
	return p, nil
}

// pngModes are the modes of color types and depths.
var pngModes = map[[2]byte]struct {
	mode    pix.Mode
	samples int
}{
	{0, 1}: {pix.ModeBilevel, 1}, {0, 2}: {pix.ModeGray, 1}, {0, 4}: {pix.ModeGray, 1}, {0, 8}: {pix.ModeGray, 1}, {0, 16}: {pix.ModeGray, 1},
	{2, 8}: {pix.ModeRGB, 3}, {2, 16}: {pix.ModeRGB, 3},
	{3, 1}: {pix.ModePalette, 1}, {3, 2}: {pix.ModePalette, 1}, {3, 4}: {pix.ModePalette, 1}, {3, 8}: {pix.ModePalette, 1},
	{4, 8}: {pix.ModeGrayA, 2}, {4, 16}: {pix.ModeGrayA, 2},
	{6, 8}: {pix.ModeRGBA, 4}, {6, 16}: {pix.ModeRGBA, 4},
}

func parsePNG(data []byte) (*pngFile, error) {
	f := new(pngFile)
	for data = data[8:]; len(data) >= 12; {
		length := binary.BigEndian.Uint32(data)
		kind := string(data[4:8])
		if uint64(length)+12 > uint64(len(data)) {
			if kind != "IDAT" || f.width == 0 {
				break
			}
			// The data may suffice; decompression will show.
			f.idat = append(f.idat, data[8:])
			break
		}
		body := data[8 : 8+length]
		intact := binary.BigEndian.Uint32(data[8+length:]) == crc32.ChecksumIEEE(data[4:8+length])
		data = data[12+length:]
		critical := kind[0]&0x20 == 0
		if critical && !intact {
			return nil, broken("the checksum of chunk %q is wrong", kind)
		}
		if f.width == 0 && kind != "IHDR" {
			return nil, broken("the first chunk is %q, want IHDR", kind)
		}
		if kind == "IEND" {
			break
		}
		if !intact {
			continue
		}
		if err := f.chunk(kind, body); err != nil {
			return nil, err
		}
	}
	switch {
	case f.width == 0:
		return nil, broken("there is no header")
	case len(f.idat) == 0:
		return nil, broken("there are no pixels")
	case f.mode == pix.ModePalette && f.palette == nil:
		return nil, broken("there is no palette")
	}
	return f, nil
}

func (f *pngFile) chunk(kind string, body []byte) error {
	switch kind {
	case "IHDR":
		return f.header(body)
	case "PLTE":
		f.palette = new(pix.Palette)
		copy(f.palette[:], body)
	case "IDAT":
		f.idat = append(f.idat, body)
	case "eXIf":
		f.exif = body
	case "tEXt", "zTXt", "iTXt":
		f.text(kind, body)
	}
	return nil
}

func (f *pngFile) header(b []byte) error {
	if len(b) != 13 || f.width != 0 {
		return broken("the header is malformed")
	}
	w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if w == 0 || h == 0 || w > 1<<31-1 || h > 1<<31-1 {
		return broken("%w: %d×%d", pix.ErrSize, w, h)
	}
	m, ok := pngModes[[2]byte{b[9], b[8]}]
	if !ok {
		return unsupported("color type %d of %d bits", b[9], b[8])
	}
	if b[10] != 0 || b[11] != 0 || b[12] > 1 {
		return unsupported("compression %d, filter %d, interlacing %d", b[10], b[11], b[12])
	}
	f.width, f.height, f.bits, f.interlaced = int(w), int(h), int(b[8]), b[12] == 1
	f.mode, f.samples = m.mode, m.samples
	return nil
}

// text keeps the texts that hold an orientation.
func (f *pngFile) text(kind string, body []byte) {
	key, rest, _ := bytes.Cut(body, []byte{0})
	isXMP, isExif := string(key) == "XML:com.adobe.xmp", string(key) == "Raw profile type exif"
	if !isXMP && !isExif {
		return
	}
	packed := kind == "zTXt"
	if packed && len(rest) > 0 {
		rest = rest[1:]
	}
	if kind == "iTXt" {
		if len(rest) < 2 {
			return
		}
		packed = rest[0] != 0
		_, rest, _ = bytes.Cut(rest[2:], []byte{0})
		_, rest, _ = bytes.Cut(rest, []byte{0})
	}
	if packed {
		z, err := zlib.NewReader(bytes.NewReader(rest))
		if err != nil {
			return
		}
		const maxText = 1 << 20
		if rest, err = io.ReadAll(io.LimitReader(z, maxText)); err != nil {
			return
		}
	}
	if isXMP {
		f.xmp = rest
		return
	}
	// A name, a length and the bytes in hexadecimal, each on lines of its own.
	if lines := strings.Split(string(rest), "\n"); len(lines) > 3 {
		f.rawExif, _ = hex.DecodeString(strings.Join(lines[3:], ""))
	}
}

// lineBytes is the length of a row of samples.
func (f *pngFile) lineBytes(width int) int64 {
	return (int64(width)*int64(f.samples*f.bits) + 7) / 8
}

// pngDirect reads rows whose bytes are the picture's into the picture.
func (d *decoder) pngDirect(r io.Reader, p *pix.Picture) error {
	var filter [1]byte
	above := make([]byte, p.Stride)
	for y := range p.Rect.Dy() {
		if err := d.worked(p.Rect.Dx()); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, filter[:]); err != nil {
			return err
		}
		line := p.Row(y)
		if _, err := io.ReadFull(r, line); err != nil {
			return err
		}
		if err := unfilter(filter[0], line, above, p.Mode.Channels()); err != nil {
			return err
		}
		above = line
	}
	return nil
}

// pngRows reads and unfilters rows.
func (d *decoder) pngRows(f *pngFile, r io.Reader, width, height int, each func(y int, line []byte)) error {
	n := f.lineBytes(width)
	step := max(f.samples*f.bits/8, 1) // bytes to the pixel on the left
	line, above := make([]byte, 1+n), make([]byte, 1+n)
	for y := range height {
		if err := d.worked(width); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, line); err != nil {
			return err
		}
		if err := unfilter(line[0], line[1:], above[1:], step); err != nil {
			return err
		}
		each(y, line[1:])
		line, above = above, line
	}
	return nil
}

func unfilter(kind byte, line, above []byte, step int) error {
	switch kind {
	case 0:
	case 1:
		for i := step; i < len(line); i++ {
			line[i] += line[i-step]
		}
	case 2:
		for i, v := range above {
			line[i] += v
		}
	case 3:
		for i := range line {
			left := 0
			if i >= step {
				left = int(line[i-step])
			}
			line[i] += uint8((left + int(above[i])) / 2)
		}
	case 4:
		for i := range line {
			var left, corner int
			if i >= step {
				left, corner = int(line[i-step]), int(above[i-step])
			}
			line[i] += paeth(left, int(above[i]), corner)
		}
	default:
		return broken("filter %d of a row", kind)
	}
	return nil
}

func paeth(left, up, corner int) uint8 {
	a, b := up-corner, left-corner
	c := a + b
	a, b, c = max(a, -a), max(b, -b), max(c, -c)
	switch {
	case a <= b && a <= c:
		return uint8(left)
	case b <= c:
		return uint8(up)
	}
	return uint8(corner)
}

// adam7 reads the seven passes of an interlaced picture.
func (d *decoder) adam7(f *pngFile, r io.Reader, p *pix.Picture) error {
	n := f.mode.Channels()
	for _, pass := range [7][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}} {
		x0, y0, dx, dy := pass[0], pass[1], pass[2], pass[3]
		w, h := (f.width-x0+dx-1)/dx, (f.height-y0+dy-1)/dy
		if w == 0 || h == 0 {
			continue
		}
		pixels := make([]uint8, w*n)
		err := d.pngRows(f, r, w, h, func(y int, line []byte) {
			f.unpack(pixels, line)
			dst := p.Row(y0 + y*dy)
			for x := range w {
				copy(dst[(x0+x*dx)*n:][:n], pixels[x*n:])
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// unpack turns a row of samples into bytes.
func (f *pngFile) unpack(dst, line []byte) {
	switch {
	case f.bits == 8:
		copy(dst, line)
	case f.bits == 16:
		for i := range dst {
			dst[i] = line[2*i]
		}
	case f.mode == pix.ModePalette:
		unpackBits(dst, line, f.bits, 1)
	default:
		unpackBits(dst, line, f.bits, uint8(255/(1<<f.bits-1)))
	}
}
