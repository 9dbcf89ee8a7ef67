package jpeg

import "encoding/binary"

const lookBits = 9

// huffman decodes one table's codes.
type huffman struct {
	look    [1 << lookBits]uint16 // length<<8 | symbol of short codes; 0 is none
	maxCode [17]int32             // largest code of each length, -1 is none
	offset  [17]int32             // from a code to its symbol
	symbols []uint8
	bad     bool // codes do not fit their lengths
	wide    bool // has symbols that are no size of a DC difference
}

// newHuffman derives the codes of ITU T.81, annex C.2.
func newHuffman(counts, symbols []byte) *huffman {
	h := &huffman{symbols: append([]byte(nil), symbols...)}
	code, k := int32(0), int32(0)
	for n := 1; n <= 16; n++ {
		h.offset[n] = k - code
		h.maxCode[n] = -1
		for range counts[n-1] {
			if code >= 1<<n {
				h.bad = true
				return h
			}
			h.wide = h.wide || symbols[k] > 15
			if n <= lookBits {
				from := code << (lookBits - n)
				for i := range int32(1) << (lookBits - n) {
					h.look[from+i] = uint16(n)<<8 | uint16(symbols[k])
				}
			}
			h.maxCode[n] = code
			code++
			k++
		}
		code <<= 1
	}
	return h
}

// long finds the symbol of a code that is longer than lookBits at the front of
// acc. A bad code is a zero of 17 bits, as in libjpeg-turbo
// jdhuff.c:jpeg_huff_decode.
func (h *huffman) long(acc uint64) (symbol uint8, length int) {
	for n := lookBits + 1; n <= 16; n++ {
		if code := int32(acc >> (64 - n)); code <= h.maxCode[n] {
			return h.symbols[h.offset[n]+code], n
		}
	}
	return 0, 17
}

// bitReader reads entropy-coded data up to a marker, then zeros.
type bitReader struct {
	data   []byte
	pos    int
	acc    uint64 // next bits, from the top
	n      int    // of bits in acc; below zero once zeros behind the data were read
	marker uint8  // that ended the data
	ended  bool   // the file ended without one
}

// fill makes 57 bits available, or all there are.
func (r *bitReader) fill() {
	if r.marker != 0 || r.ended {
		return
	}
	if len(r.data)-r.pos >= 8 {
		v := binary.BigEndian.Uint64(r.data[r.pos:])
		if ((^v)-0x0101010101010101)&v&0x8080808080808080 == 0 { // no 0xff
			r.acc |= v >> uint(r.n)
			k := (64 - r.n) >> 3
			r.pos += k
			r.n += 8 * k
			return
		}
	}
	for r.n <= 56 {
		if r.pos == len(r.data) {
			r.ended = true
			break
		}
		b := r.data[r.pos]
		r.pos++
		if b == 0xff && !r.stuffed() {
			break
		}
		r.acc |= uint64(b) << (56 - uint(r.n))
		r.n += 8
	}
	r.acc &= ^(^uint64(0) >> uint(r.n))
}

// stuffed reports whether a 0xff is data; else the marker is read.
func (r *bitReader) stuffed() bool {
	for r.pos < len(r.data) && r.data[r.pos] == 0xff {
		r.pos++
	}
	if r.pos == len(r.data) {
		r.ended = true
		return false
	}
	r.marker = r.data[r.pos]
	r.pos++
	return r.marker == 0
}

// bits reads up to 16 bits.
func (r *bitReader) bits(n int) int32 {
	if r.n < n {
		r.fill()
	}
	v := int32(r.acc >> (64 - uint(n)))
	r.acc <<= uint(n)
	r.n -= n
	return v
}

func (r *bitReader) symbol(h *huffman) uint8 {
	if r.n < 17 {
		r.fill()
	}
	if e := h.look[r.acc>>(64-lookBits)]; e != 0 {
		r.acc <<= e >> 8
		r.n -= int(e >> 8)
		return uint8(e)
	}
	s, n := h.long(r.acc)
	r.acc <<= uint(n)
	r.n -= n
	return s
}

// extend is ITU T.81, F.2.2.1.
func extend(v int32, size int) int32 {
	if v < 1<<size>>1 {
		v += -1<<size + 1
	}
	return v
}

// block decodes a block of a sequential scan, in natural order, and tells
// whether any coefficient but the first was coded.
// Source: ITU T.81, F.2.2; libjpeg-turbo jdhuff.c:decode_mcu_slow.
func (r *bitReader) block(dc, ac *huffman, predicted *int32, coefficients *[64]int16) (flat bool) {
	if size := int(r.symbol(dc)); size > 0 {
		*predicted += extend(r.bits(size), size)
	}
	coefficients[0] = int16(*predicted)
	acc, n := r.acc, r.n
	flat = true
	for k := 1; k < 64; k++ {
		if n < 33 {
			r.acc, r.n = acc, n
			r.fill()
			acc, n = r.acc, r.n
		}
		var symbol uint8
		if e := ac.look[acc>>(64-lookBits)]; e != 0 {
			symbol = uint8(e)
			acc <<= e >> 8
			n -= int(e >> 8)
		} else {
			s, length := ac.long(acc)
			symbol = s
			acc <<= uint(length)
			n -= length
		}
		run, size := int(symbol>>4), uint(symbol&15)
		if size == 0 {
			if run != 15 {
				break
			}
			k += 15
			continue
		}
		k += run
		v := int32(acc >> (64 - size))
		acc <<= size
		n -= int(size)
		coefficients[zigzag[k]] = int16(extend(v, int(size)))
		flat = false
	}
	r.acc, r.n = acc, n
	return flat
}
