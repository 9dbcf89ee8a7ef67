package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// exp2 computes powers of two. Minimax polynomials of relative error, the
// constant term held at 1 so that integers are exact:
//
//	avx2    2^r, r in [-½, ½]: t minus its nearest integer
//	avx512  2^r, r in [0, 1): t minus the integer below, as VSCALEFPS has it
//
// Degree 5 is 9.1e-8 and 8.2e-8 off, degree 6 2.0e-9 both. Rounding adds up
// to one unit in the last place. Results below 2^-126 are flushed to zero,
// which keeps subnormal numbers out of what follows; NaN stays NaN.
type exp2 struct {
	s      *isa
	c      []Op
	bottom Op
}

const (
	nearest = 8 // rounding, without raising the inexact exception
	below   = 9
)

// unordered, not less than: the comparison that is true for NaN.
const notLess = 0x15

func (s *isa) exp2(degree int) exp2 {
	symmetric := map[int][]float32{
		5: {1, 0.69314700, 0.24022242, 0.055507336, 0.0096715130, 0.0013264727},
		6: {1, 0.69314718, 0.24022648, 0.055503324, 0.0096184369, 0.0013398875, 0.00015353362},
	}
	upward := map[int][]float32{
		5: {1, 0.69315130, 0.24016444, 0.055799913, 0.0090170298, 0.0018671302},
		6: {1, 0.69314706, 0.24022931, 0.055485282, 0.0096754516, 0.0012467846, 0.00021612915},
	}
	c := symmetric[degree]
	if s.masks {
		c = upward[degree]
	}
	return exp2{s, s.constants(fmt.Sprintf("exp2of%d_", degree), c...), s.constant("bottom", -126)}
}

// of returns 2^t. t is lost.
func (e exp2) of(t Register) Register {
	s := e.s
	r := s.vec()
	if s.masks {
		VREDUCEPS(Imm(below), t, r)
		p := s.polynomial(e.c, r)
		k := K()
		VCMPPS(Imm(notLess), e.bottom, t, k)
		VSCALEFPS_Z(t, p, k, p)
		return p
	}
	n := s.vec()
	VROUNDPS(Imm(nearest), t, n)
	VSUBPS(n, t, r)
	VCVTPS2DQ(n, n)
	VPSLLD(Imm(23), n, n)
	p := s.polynomial(e.c, r)
	VPADDD(n, p, p)
	VCMPPS(Imm(notLess), e.bottom, t, t)
	VANDPS(t, p, p)
	return p
}

// expE computes powers of e for arguments in [-∞, 88], with the argument
// reduced in two parts (Cody and Waite), within one unit in the last place.
type expE struct {
	s                           *isa
	c                           []Op
	log2e, ln2Hi, ln2Lo, bottom Op
}

func (s *isa) expE() expE {
	return expE{s,
		// Minimax on [-½ln 2, ½ln 2], relative error 2.0e-9.
		s.constants("exp_", 1, 1, 0.49999994, 0.16666432, 0.041668002, 0.0083741555, 0.0013843654),
		s.constant("log2e", 1.44269504), s.constant("ln2Hi", 0.693359375), s.constant("ln2Lo", -2.12194440e-4),
		s.constant("expBottom", -87.33654)}
}

// of returns e^x. x is lost.
func (e expE) of(x Register) Register {
	s := e.s
	n, r := s.vec(), s.vec()
	VMULPS(e.log2e, x, n)
	if s.masks {
		VRNDSCALEPS(Imm(nearest), n, n)
	} else {
		VROUNDPS(Imm(nearest), n, n)
	}
	VMOVAPS(x, r)
	VFNMADD231PS(e.ln2Hi, n, r)
	VFNMADD231PS(e.ln2Lo, n, r)
	p := s.polynomial(e.c, r)
	if s.masks {
		k := K()
		VCMPPS(Imm(notLess), e.bottom, x, k)
		VSCALEFPS_Z(n, p, k, p)
		return p
	}
	VCVTPS2DQ(n, n)
	VPSLLD(Imm(23), n, n)
	VPADDD(n, p, p)
	VCMPPS(Imm(notLess), e.bottom, x, x)
	VANDPS(x, p, p)
	return p
}

// largest puts the largest of the n floats at x, n > 0, into all lanes of the
// vector that it returns; start holds what it is compared with. NaN is lost.
func (s *isa) largest(x Register, start Register) Register {
	n, at := GP64(), GP64()
	MOVQ(length("x").(GPVirtual), n)
	m := []Register{start, s.vec(), s.vec(), s.vec()}
	for _, v := range m[1:] {
		VMOVAPS(start, v)
	}
	s.blocks("max", n, at, func(c int, masked bool) {
		v := s.load(s.at(x, at, c), masked)
		s.keep(v, m[c], masked)
		VMAXPS(v, m[c], m[c])
	})
	VMAXPS(m[1], m[0], m[0])
	VMAXPS(m[3], m[2], m[2])
	VMAXPS(m[2], m[0], m[0])
	s.fold(m[0], maxi)
	s.spread(m[0])
	return m[0]
}

func (s *isa) softmax() {
	s.text("softmax", "softmaxGo in vector_generic.go", "func(x []float32)",
		"replaces x, not empty, by exp(x - max)/Σ exp(x - max).")
	x := base("x")
	start := s.vec()
	VBROADCASTSS(Mem{Base: x}, start)
	top := s.largest(x, start)
	e := s.expE()
	sum := s.zero()
	at := GP64()
	s.each("exp", length("x"), at, func(masked bool) {
		v := s.load(s.at(x, at, 0), masked)
		VSUBPS(top, v, v)
		v = e.of(v)
		s.clear(v, masked)
		VADDPS(v, sum, sum)
		s.store(v, s.at(x, at, 0), masked)
	})
	s.fold(sum, add)
	factor := s.vec()
	VDIVSS(low(sum), s.scalar("one", 1), low(factor))
	s.spread(factor)
	s.each("scale", length("x"), at, func(masked bool) {
		v := s.load(s.at(x, at, 0), masked)
		VMULPS(factor, v, v)
		s.store(v, s.at(x, at, 0), masked)
	})
	s.end()
}

func (s *isa) expSum() {
	s.text("expSum", "expSumGo in vector_generic.go", "func(x []float32, floor float32) (top, sum float32)",
		"replaces x, not empty, by 2^(x - top) and returns top, the largest of x and floor, and the sum.")
	x := base("x")
	top := s.largest(x, s.broadcast("floor"))
	e := s.exp2(5)
	sums := []Register{s.zero(), s.zero(), s.zero(), s.zero()}
	at := GP64()
	s.blocks("exp", length("x"), at, func(c int, masked bool) {
		v := s.load(s.at(x, at, c), masked)
		VSUBPS(top, v, v)
		v = e.of(v)
		s.clear(v, masked)
		VADDPS(v, sums[c], sums[c])
		s.store(v, s.at(x, at, c), masked)
	})
	VADDPS(sums[1], sums[0], sums[0])
	VADDPS(sums[3], sums[2], sums[2])
	VADDPS(sums[2], sums[0], sums[0])
	s.fold(sums[0], add)
	s.result(Return("top"), top)
	s.result(Return("sum"), sums[0])
	s.end()
}
