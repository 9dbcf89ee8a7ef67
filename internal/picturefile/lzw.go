package picturefile

import (
	"bufio"
	"io"
)

// tiffLZWReader undoes TIFF's compression 5: codes of 9 to 12 bits, the upper
// bits first, whose width grows one code early. It is used for strip after strip.
// Source: TIFF 6.0, section 13.
type tiffLZWReader struct {
	r     *bufio.Reader
	bits  uint32
	count uint
	err   error

	width    uint
	next     int // the code to be defined
	last     int // the code before, or -1 behind a clear code
	prefix   [1 << 12]uint16
	suffix   [1 << 12]uint8
	expanded [1 << 12]uint8 // of a code, written from the back
	rest     []uint8        // of expanded
}

const (
	lzwClear = 256
	lzwEnd   = 257
	lzwFirst = 258
)

func (z *tiffLZWReader) reset(r io.Reader) {
	if z.r == nil {
		z.r = bufio.NewReader(r)
	}
	z.r.Reset(r)
	z.bits, z.count, z.err, z.rest = 0, 0, nil, nil
	z.clear()
}

func (z *tiffLZWReader) clear() { z.width, z.next, z.last = 9, lzwFirst, -1 }

func (z *tiffLZWReader) Read(p []byte) (int, error) {
	for len(z.rest) == 0 {
		if z.err == nil {
			z.err = z.expand()
		}
		if z.err != nil {
			return 0, z.err
		}
	}
	n := copy(p, z.rest)
	z.rest = z.rest[n:]
	return n, nil
}

// expand reads a code and stores what it stands for.
func (z *tiffLZWReader) expand() error {
	for z.count < z.width {
		b, err := z.r.ReadByte()
		if err != nil {
			return err
		}
		z.bits = z.bits<<8 | uint32(b)
		z.count += 8
	}
	z.count -= z.width
	code := int(z.bits >> z.count & (1<<z.width - 1))
	switch {
	case code == lzwClear:
		z.clear()
		return nil
	case code == lzwEnd:
		return io.EOF
	case code > z.next || code == z.next && z.last < 0 || z.last < 0 && code > 255:
		return broken("code %d of LZW is not defined", code)
	}
	at := len(z.expanded)
	c := code
	if code == z.next { // the one that this very code defines
		at--
		c = z.last
	}
	for ; c >= lzwFirst; c = int(z.prefix[c]) {
		at--
		z.expanded[at] = z.suffix[c]
	}
	at--
	first := uint8(c)
	z.expanded[at] = first
	if code == z.next {
		z.expanded[len(z.expanded)-1] = first
	}
	z.rest = z.expanded[at:]
	if z.last >= 0 && z.next < 1<<12 {
		z.prefix[z.next], z.suffix[z.next] = uint16(z.last), first
		z.next++
		if z.next+1 >= 1<<z.width && z.width < 12 {
			z.width++
		}
	}
	z.last = code
	return nil
}
