package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// step turns vectors x into those that store takes; c are constants.
type step func(x []Register, c []Op, store func(v Register, i int))

func (s *isa) winograd() {
	s.transform("winogradInput2", 4, false, nil, "stores Bᵀ·d of count items d, 4 vectors of n floats, in dst.", func(x []Register, c []Op, store func(v Register, i int)) {
		store(minus(x[0], x[2], x[0]), 0)
		store(plus(x[1], x[2], x[0]), 1)
		store(minus(x[2], x[1], x[2]), 2)
		store(minus(x[1], x[3], x[1]), 3)
	})
	s.transform("winogradInput4", 6, false, []float32{4}, "stores Bᵀ·d of count items d, 6 vectors of n floats, in dst.", func(x []Register, c []Op, store func(v Register, i int)) {
		four := c[0]
		a, b := minus(x[4], x[2], s.vec()), minus(x[3], x[1], s.vec())
		minus(x[0], x[2], x[0])
		minus(x[5], x[3], x[5])
		VFNMADD132PS(four, x[4], x[2]) // even
		VFNMADD132PS(four, x[3], x[1]) // odd
		VFMADD132PS(four, a, x[0])
		store(x[0], 0)
		store(plus(x[2], x[1], x[3]), 1)
		store(minus(x[2], x[1], x[2]), 2)
		twice := plus(b, b, x[4])
		store(plus(a, twice, x[1]), 3)
		store(minus(a, twice, a), 4)
		VFNMADD132PS(four, x[5], b)
		store(b, 5)
	})
	const output = "stores max(Aᵀ·x, floor) of count items x, "
	s.transform("winogradOutput2", 4, true, nil, output+"4 vectors of n floats, in dst.", func(x []Register, c []Op, store func(v Register, i int)) {
		store(plus(plus(x[0], x[1], x[0]), x[2], x[0]), 0)
		store(minus(minus(x[1], x[2], x[1]), x[3], x[1]), 1)
	})
	s.transform("winogradOutput4", 6, true, []float32{4, 8}, output+"6 vectors of n floats, in dst.", func(x []Register, c []Op, store func(v Register, i int)) {
		a, b := plus(x[1], x[2], s.vec()), minus(x[1], x[2], x[1])
		e, f := plus(x[3], x[4], x[2]), minus(x[3], x[4], x[3])
		store(plus(plus(x[0], a, x[0]), e, x[0]), 0)
		store(plus(b, plus(f, f, x[4]), x[4]), 1)
		VFMADD132PS(c[0], a, e)
		store(e, 2)
		VFMADD132PS(c[1], b, f)
		store(plus(f, x[5], f), 3)
	})
}

// plus and minus leave a+b and a-b in dst.
func plus(a, b, dst Register) Register {
	VADDPS(b, a, dst)
	return dst
}

func minus(a, b, dst Register) Register {
	VSUBPS(b, a, dst)
	return dst
}

// transform writes a function that takes items of several vectors to others.
// Pointers walk along vectors 0 and 3: the others are one and two strides from
// them.
func (s *isa) transform(name string, inputs int, floor bool, constants []float32, doc string, body step) {
	signature := "func(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int"
	if floor {
		signature += ", floor float32"
	}
	s.text(name, name+"Go in winograd_generic.go", signature+")", doc)
	bytes := func(name string) Register {
		r := Load(Param(name), GP64())
		SHLQ(Imm(2), r)
		return r
	}
	dst, src, count := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("count"), GP64())
	ldd, stepd, lds, steps := bytes("ldd"), bytes("stepd"), bytes("lds"), bytes("steps")
	var bound Register
	if floor {
		bound = s.broadcast("floor")
	}
	var c []Op
	for _, f := range constants {
		c = append(c, s.constant(fmt.Sprint("times", f), f))
	}
	to, from := [2]Register{GP64(), GP64()}, [2]Register{GP64(), GP64()}
	vector := func(p [2]Register, stride Register, i int) Mem {
		m := Mem{Base: p[i/3]}
		if i%3 > 0 {
			m.Index, m.Scale = stride, uint8(i%3)
		}
		return m
	}
	vectors := func(masked bool) {
		x := make([]Register, inputs)
		for i := range x {
			x[i] = s.load(vector(from, lds, i), masked)
		}
		body(x, c, func(v Register, i int) {
			if floor {
				VMAXPS(v, bound, v) // a NaN stays
			}
			s.store(v, vector(to, ldd, i), masked)
		})
	}
	n := GP64()
	Label("item")
	MOVQ(dst, to[0])
	LEAQ(Mem{Base: dst, Index: ldd, Scale: 2}, to[1])
	ADDQ(ldd, to[1])
	MOVQ(src, from[0])
	LEAQ(Mem{Base: src, Index: lds, Scale: 2}, from[1])
	ADDQ(lds, from[1])
	Load(Param("n"), n)
	SUBQ(Imm(uint64(s.lanes)), n)
	JLT(LabelRef("tail"))
	Label("loop")
	vectors(false)
	for _, p := range []Register{to[0], to[1], from[0], from[1]} {
		ADDQ(Imm(uint64(4*s.lanes)), p)
	}
	SUBQ(Imm(uint64(s.lanes)), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(uint64(s.lanes)), n)
	JZ(LabelRef("next"))
	s.setMask(n)
	vectors(true)
	Label("next")
	ADDQ(stepd, dst)
	ADDQ(steps, src)
	DECQ(count)
	JNZ(LabelRef("item"))
	s.end()
}
