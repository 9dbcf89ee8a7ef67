package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// gather adds up four chains into the lowest lane of the first.
func (s *isa) gather(v []Register, op func(a, b, dst Op)) Register {
	op(v[1], v[0], v[0])
	op(v[3], v[2], v[2])
	op(v[2], v[0], v[0])
	s.fold(v[0], op)
	return v[0]
}

func (s *isa) chains() []Register { return []Register{s.zero(), s.zero(), s.zero(), s.zero()} }

func (s *isa) layerNorm() {
	s.text("layerNorm", "layerNormGo in vector_generic.go", "func(dst, x, weight, bias []float32, eps float32)",
		"stores (x - mean)/sqrt(variance + eps)·weight + bias in dst, which may be x.")
	x, at := base("x"), GP64()
	one, count := s.scalar("one", 1), XMM()
	VXORPS(count, count, count)
	VCVTSI2SSQ(length("x"), count, count)

	sums := s.chains()
	s.blocks("sum", length("x"), at, func(c int, masked bool) {
		if masked {
			VADDPS(s.load(s.at(x, at, c), true), sums[c], sums[c])
		} else {
			VADDPS(s.at(x, at, c), sums[c], sums[c])
		}
	})
	mean := s.gather(sums, add)
	VDIVSS(count, low(mean), low(mean))
	s.spread(mean)

	squares := s.chains()
	s.blocks("square", length("x"), at, func(c int, masked bool) {
		v := s.load(s.at(x, at, c), masked)
		VSUBPS(mean, v, v)
		s.clear(v, masked)
		VFMADD231PS(v, v, squares[c])
	})
	scale := s.gather(squares, add)
	VDIVSS(count, low(scale), low(scale))
	VADDSS(param(Param("eps")), low(scale), low(scale))
	VSQRTSS(low(scale), low(scale), low(scale))
	VDIVSS(low(scale), one, low(scale))
	s.spread(scale)

	dst, weight, bias := base("dst"), base("weight"), base("bias")
	s.each("norm", length("x"), at, func(masked bool) {
		v := s.load(s.at(x, at, 0), masked)
		VSUBPS(mean, v, v)
		VMULPS(scale, v, v)
		w, b := s.load(s.at(weight, at, 0), masked), s.load(s.at(bias, at, 0), masked)
		VFMADD213PS(b, w, v)
		s.store(v, s.at(dst, at, 0), masked)
	})
	s.end()
}

func (s *isa) add() {
	s.text("add", "addGo in vector_generic.go", "func(dst, a, b []float32)",
		"stores a + b in dst, which may be either; all are as long as dst.")
	dst, a, b, at := base("dst"), base("a"), base("b"), GP64()
	s.each("each", length("dst"), at, func(masked bool) {
		v, w := s.load(s.at(a, at, 0), masked), s.load(s.at(b, at, 0), masked)
		VADDPS(w, v, v)
		s.store(v, s.at(dst, at, 0), masked)
	})
	s.end()
}

func (s *isa) lerp() {
	s.text("lerp", "lerpGo in vector_generic.go", "func(dst, a, b []float32, wa, wb float32)",
		"stores wa·a + wb·b, rounded thrice, in dst; all are as long as dst.")
	dst, a, b, at := base("dst"), base("a"), base("b"), GP64()
	wa, wb := s.broadcast("wa"), s.broadcast("wb")
	s.each("each", length("dst"), at, func(masked bool) {
		v, w := s.load(s.at(a, at, 0), masked), s.load(s.at(b, at, 0), masked)
		VMULPS(wa, v, v)
		VMULPS(wb, w, w)
		VADDPS(w, v, v)
		s.store(v, s.at(dst, at, 0), masked)
	})
	s.end()
}

func (s *isa) dot() {
	s.text("dot", "dot in gemm_generic.go", "func(a, b []float32) float32",
		"is Σ a·b; b is as long as a.")
	a, b, at := base("a"), base("b"), GP64()
	sums := s.chains()
	s.blocks("sum", length("a"), at, func(c int, masked bool) {
		v := s.load(s.at(a, at, c), masked)
		if masked {
			VFMADD231PS(s.load(s.at(b, at, c), true), v, sums[c])
		} else {
			VFMADD231PS(s.at(b, at, c), v, sums[c])
		}
	})
	s.result(ReturnIndex(0), s.gather(sums, add))
	s.end()
}

func (s *isa) minMax() {
	s.text("minMax", "minMaxGo in vector_generic.go", "func(x []float32) (lo, hi float32)",
		"returns the smallest and the largest of x, not empty, both NaN where there is one.")
	x, at := base("x"), GP64()
	lo, hi := make([]Register, 4), make([]Register, 4)
	for c := range 4 {
		lo[c], hi[c] = s.vec(), s.vec()
		VBROADCASTSS(Mem{Base: x}, lo[c])
		VMOVAPS(lo[c], hi[c])
	}
	nan := s.unordered()
	s.blocks("each", length("x"), at, func(c int, masked bool) {
		v := s.load(s.at(x, at, c), masked)
		s.keep(v, lo[c], masked)
		VMINPS(v, lo[c], lo[c])
		VMAXPS(v, hi[c], hi[c])
		nan.collect(v)
	})
	s.gather(lo, mini)
	s.gather(hi, maxi)
	nan.jumpIfNone("ordered")
	VMOVSS(s.data("nan", U32(0x7fc00000), 1), low(lo[0]))
	VMOVAPS(low(lo[0]), low(hi[0]))
	Label("ordered")
	s.result(Return("lo"), lo[0])
	s.result(Return("hi"), hi[0])
	s.end()
}

func (s *isa) fromF16() {
	s.text("fromF16", "fromF16Go in convert_generic.go", "func(dst []float32, src []byte)",
		"converts half precision, two bytes a number, least significant first.")
	s.convert(func(from Mem, v Register) { VCVTPH2PS(from, v) })
}

func (s *isa) fromBF16() {
	s.text("fromBF16", "fromBF16Go in convert_generic.go", "func(dst []float32, src []byte)",
		"converts bfloat16, two bytes a number, least significant first.")
	s.convert(func(from Mem, v Register) {
		VPMOVZXWD(from, v)
		VPSLLD(Imm(16), v, v)
	})
}

// convert converts whole vectors, at least one: dst is a multiple of them.
func (s *isa) convert(body func(from Mem, v Register)) {
	dst, src, n, at := base("dst"), base("src"), length("dst"), GP64()
	XORQ(at, at)
	Label("loop")
	v := s.vec()
	body(Mem{Base: src, Index: at, Scale: 2}, v)
	VMOVUPS(v, Mem{Base: dst, Index: at, Scale: 4})
	ADDQ(Imm(uint64(s.lanes)), at)
	CMPQ(at, n)
	JLT(LabelRef("loop"))
	s.end()
}
