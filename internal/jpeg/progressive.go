package jpeg

import "encoding/binary"

// coefficients is a block in natural order, two bytes each.
type coefficients []byte

const blockBytes = 128

func (d *decoder) block(c *component, x, y int) coefficients {
	i := y/c.v*d.rowBlocks + c.first + y%c.v*c.stride + x
	return d.coefficients[i*blockBytes:][:blockBytes:blockBytes]
}

func (b coefficients) at(i uint8) int16 { return int16(binary.LittleEndian.Uint16(b[2*int(i):])) }

func (b coefficients) set(i uint8, v int16) { binary.LittleEndian.PutUint16(b[2*int(i):], uint16(v)) }

// load reports whether all but the first are zero.
func (b coefficients) load(dst *[64]int16) (flat bool) {
	rest := int16(0)
	for i := range dst {
		v := int16(binary.LittleEndian.Uint16(b[2*i : 2*i+2]))
		dst[i] = v
		if i > 0 {
			rest |= v
		}
	}
	return rest == 0
}

func (b coefficients) store(src *[64]int16) {
	for i, v := range src {
		binary.LittleEndian.PutUint16(b[2*i:2*i+2], uint16(v))
	}
}

// beginProgressive checks the parameters of a scan and notes what it brings.
// Source: ITU T.81, G.1.1.1; libjpeg-turbo jdphuff.c:start_pass_phuff_decoder.
func (d *decoder) beginProgressive() error {
	s := &d.scan
	bad := s.last > 63 || s.last < s.first || s.shift > 13 || s.before != 0 && s.shift != s.before-1
	if s.first == 0 {
		bad = bad || s.last != 0
	} else {
		bad = bad || len(s.components) != 1
	}
	if bad {
		return invalid("progressive scan of coefficients %d to %d, bits %d to %d", s.first, s.last, s.before, s.shift)
	}
	for _, c := range s.components {
		for k := s.first; k <= s.last; k++ {
			c.bits[k] = int8(s.shift)
		}
	}
	return nil
}

// smoothed reports whether libjpeg would smooth blocks, since of a component with
// DC the low frequencies are not exact.
// Source: libjpeg-turbo jdcoefct.c:smoothing_ok.
func (d *decoder) smoothed() bool {
	useful := false
	for i := range d.components {
		c := &d.components[i]
		if !d.progressive || c.quant == nil || c.bits[0] < 0 {
			return false
		}
		for k := range 10 {
			if c.quant[zigzag[k]] == 0 {
				return false
			}
			useful = useful || k > 0 && c.bits[k] != 0
		}
	}
	return useful
}

// firstDC is ITU T.81, G.1.2.1.
func (s *segments) firstDC(h *huffman, predicted *int32, b coefficients, p *scan) {
	if size := int(s.symbol(h)); size > 0 {
		*predicted += extend(s.bits(size), size)
	}
	b.set(0, int16(*predicted<<uint(p.shift)))
}

// refineDC is ITU T.81, G.1.2.1.
func (s *segments) refineDC(b coefficients, p *scan) {
	if s.bits(1) != 0 {
		b.set(0, b.at(0)|1<<uint(p.shift))
	}
}

// firstAC is ITU T.81, G.1.2.2.
func (s *segments) firstAC(h *huffman, b coefficients, p *scan) {
	for k := p.first; k <= p.last; k++ {
		symbol := s.symbol(h)
		run, size := int(symbol>>4), int(symbol&15)
		if size == 0 {
			if run != 15 {
				s.zeros = 1<<run - 1 + int(s.bits(run))
				return
			}
			k += 15
			continue
		}
		k += run
		b.set(zigzag[k], int16(extend(s.bits(size), size)<<uint(p.shift)))
		s.found = true
	}
}

// refineAC is ITU T.81, G.1.2.3.
// Source: libjpeg-turbo jdphuff.c:decode_mcu_AC_refine.
func (s *segments) refineAC(h *huffman, b coefficients, p *scan) {
	k := p.first
	for ; s.zeros == 0 && k <= p.last; k++ {
		symbol := s.symbol(h)
		run, size := int(symbol>>4), int(symbol&15)
		value := int16(0)
		if size != 0 {
			value = -1 << uint(p.shift)
			if s.bits(1) != 0 {
				value = 1 << uint(p.shift)
			}
		} else if run != 15 {
			s.zeros = 1<<run + int(s.bits(run))
			break
		}
		k = s.refine(b, k, run, p)
		if value != 0 {
			b.set(zigzag[k], value)
			s.found = true
		}
	}
	if s.zeros > 0 {
		s.refine(b, k, 64, p)
		s.zeros--
	}
}

// refine corrects coefficients from k on until it passed run zeros, and returns
// the place of the next zero.
func (s *segments) refine(b coefficients, k, run int, p *scan) int {
	one := int16(1) << uint(p.shift)
	for ; k <= p.last; k++ {
		v := b.at(zigzag[k])
		if v == 0 {
			if run == 0 {
				break
			}
			run--
			continue
		}
		if s.bits(1) != 0 && v&one == 0 {
			if v > 0 {
				v += one
			} else {
				v -= one
			}
			b.set(zigzag[k], v)
		}
	}
	return k
}
