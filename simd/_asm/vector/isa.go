package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// isa is an instruction set. lanes is the number of floats in a vector; the
// lanes of a remainder are those of a mask register (avx512) or of a vector
// (avx2).
type isa struct {
	suffix string
	lanes  int
	masks  bool

	k Register // mask register or vector
}

var isas = map[string]*isa{
	"avx2":   {suffix: "AVX2", lanes: 8},
	"avx512": {suffix: "AVX512", lanes: 16, masks: true},
}

func (s *isa) vec() Register {
	if s.masks {
		return ZMM()
	}
	return YMM()
}

// low is the part of a vector that scalar instructions take.
func low(v Register) Register { return v.(VecVirtual).AsX() }

// half is the lower half of a vector.
func half(v Register) Register {
	if v.Size() == 64 {
		return v.(VecVirtual).AsY()
	}
	return v.(VecVirtual).AsX()
}

func (s *isa) zero() Register {
	v := s.vec()
	if s.masks {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
	return v
}

// constant is f in every lane.
func (s *isa) constant(name string, f float32) Register {
	v := s.vec()
	VBROADCASTSS(ConstData(name, F32(f)), v)
	return v
}

// setMask chooses the first n lanes, n in (0, lanes).
func (s *isa) setMask(n Register) {
	if s.masks {
		bits := GP32()
		MOVL(U32(0xffffffff), bits)
		BZHIL(n.(GPVirtual).As32(), bits, bits)
		s.k = K()
		KMOVW(bits, s.k)
		return
	}
	table := GLOBL("lanes", 0)
	if !lanesWritten {
		for i := range 16 {
			v := uint32(0)
			if i < 8 {
				v = 0xffffffff
			}
			DATA(4*i, U32(v))
		}
		lanesWritten = true
	}
	p := GP64()
	LEAQ(table, p)
	NEGQ(n)
	s.k = YMM()
	VMOVUPS(Mem{Base: p, Index: n, Scale: 4, Disp: 32}, s.k)
	NEGQ(n)
}

var lanesWritten bool

// load reads a vector, zeros where lanes are masked off.
func (s *isa) load(m Mem, masked bool) Register {
	v := s.vec()
	switch {
	case !masked:
		VMOVUPS(m, v)
	case s.masks:
		VMOVUPS_Z(m, s.k, v)
	default:
		VMASKMOVPS(m, s.k, v)
	}
	return v
}

func (s *isa) store(v Register, m Mem, masked bool) {
	switch {
	case !masked:
		VMOVUPS(v, m)
	case s.masks:
		VMOVUPS(v, s.k, m)
	default:
		VMASKMOVPS(v, s.k, m)
	}
}

// clear zeroes the lanes of v that are masked off.
func (s *isa) clear(v Register, masked bool) {
	switch {
	case !masked:
	case s.masks:
		VMOVAPS_Z(v, s.k, v)
	default:
		VANDPS(s.k, v, v)
	}
}

// keep puts other into the lanes of v that are masked off.
func (s *isa) keep(v, other Register, masked bool) {
	switch {
	case !masked:
	case s.masks:
		VBLENDMPS(v, other, s.k, v)
	default:
		VBLENDVPS(s.k, v, other, v)
	}
}

// fold reduces v to one value in every lane of its lowest quarter or half.
func (s *isa) fold(v Register, op func(a, b, dst Op)) {
	x := low(v)
	if s.masks {
		y := YMM()
		VEXTRACTF64X4(Imm(1), v, y)
		op(y, half(v), half(v))
	}
	other := XMM()
	VEXTRACTF128(Imm(1), v.(VecVirtual).AsY(), other)
	op(other, x, x)
	VPERMILPS(Imm(0x4e), x, other)
	op(other, x, x)
	VPERMILPS(Imm(0xb1), x, other)
	op(other, x, x)
}

func add(a, b, dst Op)  { VADDPS(a, b, dst) }
func mini(a, b, dst Op) { VMINPS(a, b, dst) }
func maxi(a, b, dst Op) { VMAXPS(a, b, dst) }

// spread puts the lowest lane of v into all.
func (s *isa) spread(v Register) { VBROADCASTSS(low(v), v) }

// polynomial evaluates Σ c[i]·x^i by Horner's rule.
func (s *isa) polynomial(name string, x Register, c []float32) Register {
	p := s.vec()
	n := len(c) - 1
	VMOVAPS(s.coefficient(name, n, c[n]), p)
	for i := n - 1; i >= 0; i-- {
		VFMADD213PS(s.coefficient(name, i, c[i]), x, p)
	}
	return p
}

// coefficients holds the vectors that a function keeps in registers.
var coefficients = map[string]Register{}

func (s *isa) coefficient(name string, i int, c float32) Register {
	return coefficients[fmt.Sprint(name, i)]
}

// keepPolynomial loads coefficients for polynomial.
func (s *isa) keepPolynomial(name string, c []float32) {
	for i, v := range c {
		coefficients[fmt.Sprint(name, i)] = s.constant(fmt.Sprint(name, i), v)
	}
}
