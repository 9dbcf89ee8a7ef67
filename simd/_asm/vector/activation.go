package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/reg"
)

// bump writes an activation of the form max(x, 0) - u·q(u) with u = |x|, at
// most 64, where q has become zero.
func (s *isa) bump(q func(u Register) Register) {
	x, at := base("x"), GP64()
	top := s.constant("top", 64)
	zero := s.zero()
	s.each("each", length("x"), at, func(masked bool) {
		v, u := s.load(s.at(x, at, 0), masked), s.vec()
		VSUBPS(v, zero, u)
		VMAXPS(v, u, u)
		VMINPS(top, u, u)
		y := q(u)
		VMAXPS(v, zero, v) // a NaN in v stays
		VFNMADD231PS(u, y, v)
		s.store(v, s.at(x, at, 0), masked)
	})
	s.end()
}

// gelu uses log2 Φ(-u) = g(u), a polynomial of degree 10 on [0, 6] with the
// error weighted by √Φ(-u). Beyond 6 it falls faster than the function until
// 2^g is zero.
func (s *isa) gelu() {
	s.text("gelu", "Activation.apply in activation_generic.go", "func(x []float32)",
		"replaces x by x·Φ(x), Φ the normal distribution, within 4.5e-8 for negative and",
		"1.1 units in the last place for positive x.")
	g := s.constants("gelu_", -1.0, -1.1511049270629883, -0.4592161774635315, -0.05245119705796242,
		0.006953674368560314, 2.309184537807596e-06, -0.0002851902099791914, 7.949276914587244e-05,
		-1.1753187209251337e-05, 9.58098326009349e-07, -3.3751060612985384e-08)
	e := s.exp2(6)
	s.bump(func(u Register) Register { return e.of(s.polynomial(g, u)) })
}

func (s *isa) quickGELU() {
	s.text("quickGELU", "Activation.apply in activation_generic.go", "func(x []float32)",
		"replaces x by x·sigmoid(1.702·x).")
	slope := s.constant("slope", -1.702*1.4426950408889634)
	e := s.exp2(6)
	one := s.constant("one", 1)
	s.bump(func(u Register) Register {
		t, below := s.vec(), s.vec()
		VMULPS(slope, u, t)
		y := e.of(t)
		VADDPS(one, y, below)
		VDIVPS(below, y, y)
		return y
	})
}

// geluTanh is x·sigmoid(2y) with y the argument of the hyperbolic tangent.
func (s *isa) geluTanh() {
	s.text("geluTanh", "Activation.apply in activation_generic.go", "func(x []float32)",
		"replaces x by x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2.")
	const slope = -2 * 0.7978845608028654 * 1.4426950408889634
	linear, cubic := s.constant("linear", slope), s.constant("cubic", slope*0.044715)
	e := s.exp2(6)
	one := s.constant("one", 1)
	s.bump(func(u Register) Register {
		t, below := s.vec(), s.vec()
		VMULPS(u, u, t)
		VMULPS(cubic, t, t)
		VADDPS(linear, t, t)
		VMULPS(u, t, t)
		y := e.of(t)
		VADDPS(one, y, below)
		VDIVPS(below, y, y)
		return y
	})
}

func (s *isa) relu() {
	s.text("relu", "Activation.apply in activation_generic.go", "func(x []float32)",
		"replaces x by max(x, 0).")
	x, at := base("x"), GP64()
	zero := s.zero()
	s.each("each", length("x"), at, func(masked bool) {
		v := s.load(s.at(x, at, 0), masked)
		VMAXPS(v, zero, v) // a NaN in v stays
		s.store(v, s.at(x, at, 0), masked)
	})
	s.end()
}
