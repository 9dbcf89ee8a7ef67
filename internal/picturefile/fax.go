package picturefile

import (
	"bufio"
	"io"
	"strings"
	"sync"
)

// newFax returns a reader of rows of w pixels in CCITT's codes for faxes, a bit a
// pixel, 1 where it is black.
func (m *tiffImage) newFax(w int) (*faxReader, error) {
	if m.bits != 1 || m.samples != 1 {
		return nil, broken("CCITT compression of %d samples of %d bits", m.samples, m.bits)
	}
	options, err := m.number(tiffT4Options, 0)
	if err != nil {
		return nil, err
	}
	const twoDimensional, uncompressed = 1, 2
	if m.compression == tiffGroup3 && options&uncompressed != 0 {
		return nil, unsupported("uncompressed mode of CCITT group 3")
	}
	f := &faxReader{r: bufio.NewReader(nil), width: w, compression: m.compression, out: make([]byte, (w+7)/8)}
	f.mixed = m.compression == tiffGroup3 && options&twoDimensional != 0
	return f, nil
}

// faxReader decodes rows of CCITT's group 3 (T.4), in one or two dimensions,
// group 4 (T.6), and TIFF's variant of group 3 without ends of lines.
type faxReader struct {
	r           *bufio.Reader
	width       int
	compression uint64
	mixed       bool // rows of group 3 say in how many dimensions they are coded

	bits  uint32 // what is read ahead, in the upper bits
	count int    // of them
	past  int    // bits that were made up behind the end

	above, row []int // where the color changes, the first time to black
	out        []byte
	rest       []byte // of out, to be returned
}

// reset begins another part.
func (f *faxReader) reset(r io.Reader) {
	f.r.Reset(r)
	f.bits, f.count, f.past = 0, 0, 0
	f.above, f.row, f.rest = f.above[:0], f.row[:0], nil
}

func (f *faxReader) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
		f.paint()
		f.rest = f.out
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// next decodes a row.
func (f *faxReader) next() error {
	f.above, f.row = f.row, f.above[:0]
	flat := true
	switch f.compression {
	case tiffGroup4:
		flat = false
	case tiffGroup3:
		ended, err := f.endOfLine()
		if err != nil {
			return err
		}
		if f.mixed {
			if !ended {
				return broken("a row does not begin with an end of line")
			}
			flat = f.take(1) == 1
		}
	default:
		f.take(f.count % 8) // rows begin with a byte
	}
	if flat {
		return f.oneDimension()
	}
	return f.twoDimensions()
}

// endOfLine skips zeros and the one behind them, if there are enough.
func (f *faxReader) endOfLine() (bool, error) {
	if f.peek(11) != 0 {
		return false, nil
	}
	for f.take(1) == 0 {
		if f.past > 0 {
			return false, io.ErrUnexpectedEOF
		}
	}
	return true, nil
}

// oneDimension reads runs of white and black in turn.
func (f *faxReader) oneDimension() error {
	at := 0
	for black := false; at < f.width; black = !black {
		n, err := f.run(black)
		if err != nil {
			return err
		}
		if at += n; at > f.width {
			return broken("a run ends at %d of %d pixels", at, f.width)
		}
		f.change(at)
	}
	return nil
}

// twoDimensions reads how the row differs from the one above.
func (f *faxReader) twoDimensions() error {
	at, black := -1, false
	next := 0 // where in above to look on
	for at < f.width {
		first, second := f.changesAbove(&next, at, black)
		code := f.peek(7)
		switch {
		case code>>3 == 1: // pass
			f.take(4)
			at = second
			continue
		case code>>4 == 1: // horizontal
			f.take(3)
			at = max(at, 0)
			for range 2 {
				n, err := f.run(black)
				if err != nil {
					return err
				}
				if at += n; at > f.width {
					return broken("a run ends at %d of %d pixels", at, f.width)
				}
				f.change(at)
				black = !black
			}
			continue
		}
		shift, n, ok := vertical(code)
		if !ok {
			if f.past > 0 || f.peek(12) == 1 {
				return io.ErrUnexpectedEOF
			}
			return broken("unknown code %07b", code)
		}
		f.take(n)
		to := first + shift
		if to < max(at, 0) || to > f.width {
			return broken("a run ends at %d of %d pixels, behind %d", to, f.width, at)
		}
		at = to
		f.change(at)
		black = !black
		next = max(next-2, 0) // a step to the left may pass a change again
	}
	return nil
}

// vertical tells how far a change lies from the one above, and the length of
// the code.
func vertical(code uint32) (shift, n int, ok bool) {
	switch {
	case code>>6 == 1:
		return 0, 1, true
	case code>>4 == 3:
		return 1, 3, true
	case code>>4 == 2:
		return -1, 3, true
	case code>>1 == 3:
		return 2, 6, true
	case code>>1 == 2:
		return -2, 6, true
	case code == 3:
		return 3, 7, true
	case code == 2:
		return -3, 7, true
	}
	return 0, 0, false
}

// changesAbove returns the first change to the other color behind a place, and
// the change after it.
func (f *faxReader) changesAbove(next *int, at int, black bool) (first, second int) {
	i := *next
	if odd := i%2 == 1; odd != black {
		if i++; i > 1 {
			i -= 2
		}
	}
	for i < len(f.above) && f.above[i] <= at {
		i += 2
	}
	*next = i
	first, second = f.width, f.width
	if i < len(f.above) {
		first = f.above[i]
	}
	if i+1 < len(f.above) {
		second = f.above[i+1]
	}
	return first, second
}

// change notes that the color changes; two changes at one place are none.
func (f *faxReader) change(at int) {
	if n := len(f.row); n > 0 && f.row[n-1] == at {
		f.row = f.row[:n-1]
		return
	}
	f.row = append(f.row, at)
}

// paint sets the bits of the black runs.
func (f *faxReader) paint() {
	clear(f.out)
	for i := 0; i < len(f.row); i += 2 {
		end := f.width
		if i+1 < len(f.row) {
			end = f.row[i+1]
		}
		for x := f.row[i]; x < end; {
			if x%8 == 0 && end-x >= 8 {
				f.out[x/8] = 0xff
				x += 8
				continue
			}
			f.out[x/8] |= 0x80 >> (x % 8)
			x++
		}
	}
}

// run reads the length of a run: any number of codes for multiples of 64, then
// one for the rest.
func (f *faxReader) run(black bool) (int, error) {
	table := &faxCodes()[0]
	if black {
		table = &faxCodes()[1]
	}
	for total := 0; ; {
		c := table[f.peek(faxBits)]
		if c.bits == 0 {
			if f.past > 0 {
				return 0, io.ErrUnexpectedEOF
			}
			return 0, broken("unknown code %013b of a run", f.peek(faxBits))
		}
		f.take(int(c.bits))
		if f.past > 0 {
			return 0, io.ErrUnexpectedEOF
		}
		total += int(c.run)
		if c.run < 64 || total > f.width {
			return total, nil
		}
	}
}

// peek returns the next bits; behind the end they are zeros.
func (f *faxReader) peek(n int) uint32 {
	for f.count < n {
		b, err := f.r.ReadByte()
		if err != nil {
			return f.bits >> (32 - n) // the missing ones are zero
		}
		f.bits |= uint32(b) << (24 - f.count)
		f.count += 8
	}
	return f.bits >> (32 - n)
}

func (f *faxReader) take(n int) uint32 {
	if n == 0 {
		return 0
	}
	v := f.peek(n)
	f.bits <<= n
	if f.count -= n; f.count < 0 {
		f.past -= f.count
		f.count = 0
	}
	return v
}

const faxBits = 13 // of the longest code

type faxCode struct {
	run  int16
	bits uint8
}

// faxCodes are the codes of white and of black runs by the bits that begin with
// them. Source: ITU-T T.4, tables 2, 3a and 3b.
var faxCodes = sync.OnceValue(func() *[2][1 << faxBits]faxCode {
	var all [2][1 << faxBits]faxCode
	for i, codes := range []string{faxWhite, faxBlack} {
		for run, code := range strings.Fields(codes + faxLong) {
			length := run
			if run >= 64 {
				length = (run - 63) * 64
			}
			first := 0
			for _, bit := range code {
				first = first<<1 | int(bit-'0')
			}
			spare := faxBits - len(code)
			for j := range 1 << spare {
				all[i][first<<spare|j] = faxCode{int16(length), uint8(len(code))}
			}
		}
	}
	return &all
})

// Codes of runs of 0 to 63, then of 64, 128 … 1728.
const (
	faxWhite = `
00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101
101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010 00000011 00011010
00011011 00010010 00010011 00010100 00010101 00010110 00010111 00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010
00001011 01010010 01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 00110010 00110011 00110100
11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010 011010011 011010100 011010101
011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000 010011011
`
	faxBlack = `
0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 000011000
0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 00000101000 00000010111 00000011000 000011001010 000011001011 000011001100 000011001101 000001101000 000001101001
000001101010 000001101011 000011010010 000011010011 000011010100 000011010101 000011010110 000011010111 000001101100 000001101101 000011011010 000011011011 000001010100 000001010101 000001010110 000001010111
000001100100 000001100101 000001010010 000001010011 000000100100 000000110111 000000111000 000000100111 000000101000 000001011000 000001011001 000000101011 000000101100 000001011010 000001100110 000001100111
0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 0000001101101 0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 0000001110100
0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 0000001010101 0000001011010 0000001011011 0000001100100 0000001100101
`
	// Of both colors: 1792, 1856 … 2560.
	faxLong = `
00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 000000010111 000000011100 000000011101 000000011110 000000011111
`
)
