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

	k       Register        // mask register or vector
	written map[string]bool // constants of the file
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

// data is n copies of a 32-bit constant.
func (s *isa) data(name string, c Constant, n int) Mem {
	if !s.written[name] {
		s.written[name] = true
		GLOBL(name, RODATA|NOPTR)
		for i := range n {
			DATA(4*i, c)
		}
	}
	return NewDataAddr(NewStaticSymbol(name), 0)
}

// constant is f in every lane, as an operand: of the many registers of avx512
// one is spent on it, with avx2 it stays in memory.
func (s *isa) constant(name string, f float32) Op {
	if !s.masks {
		return s.data(name, F32(f), s.lanes)
	}
	v := s.vec()
	VBROADCASTSS(s.data(name, F32(f), 1), v)
	return v
}

// scalar is f in the lowest lane.
func (s *isa) scalar(name string, f float32) Register {
	v := XMM()
	VMOVSS(s.data(name+"_", F32(f), 1), v)
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
	if !s.written["lanes"] {
		s.data("lanes", U32(0xffffffff), s.lanes)
		for i := range s.lanes {
			DATA(4*(s.lanes+i), U32(0))
		}
	}
	p := GP64()
	LEAQ(NewDataAddr(NewStaticSymbol("lanes"), 0), p)
	NEGQ(n)
	s.k = YMM()
	VMOVUPS(Mem{Base: p, Index: n, Scale: 4, Disp: 32}, s.k)
	NEGQ(n)
}

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

// nans remembers whether a NaN was seen.
type nans struct {
	s   *isa
	any Register
}

func (s *isa) unordered() nans {
	if !s.masks {
		return nans{s, s.zero()}
	}
	k := K()
	KXORW(k, k, k)
	return nans{s, k}
}

func (n nans) collect(v Register) {
	const unordered = 3
	if n.s.masks {
		k := K()
		VCMPPS(Imm(unordered), v, v, k)
		KORW(k, n.any, n.any)
		return
	}
	w := YMM()
	VCMPPS(Imm(unordered), v, v, w)
	VORPS(w, n.any, n.any)
}

func (n nans) jumpIfNone(label string) {
	bits := GP32()
	if n.s.masks {
		KMOVW(n.any, bits)
	} else {
		VMOVMSKPS(n.any, bits)
	}
	TESTL(bits, bits)
	JZ(LabelRef(label))
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
func (s *isa) polynomial(c []Op, x Register) Register {
	p := s.vec()
	VMOVUPS(c[len(c)-1], p)
	for i := len(c) - 2; i >= 0; i-- {
		VFMADD213PS(c[i], x, p)
	}
	return p
}

func (s *isa) constants(name string, c ...float32) []Op {
	ops := make([]Op, len(c))
	for i, f := range c {
		ops[i] = s.constant(fmt.Sprint(name, i), f)
	}
	return ops
}
