package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func (s *isa) scale() {
	s.text("scale", "scaleGo in vector_generic.go", "func(dst, a []float32, w float32)",
		"stores w·a in dst, which may be a and is as long.")
	dst, a, at := base("dst"), base("a"), GP64()
	w := s.broadcast("w")
	s.each("each", length("dst"), at, func(masked bool) {
		v := s.load(s.at(a, at, 0), masked)
		VMULPS(w, v, v)
		s.store(v, s.at(dst, at, 0), masked)
	})
	s.end()
}

// addGrid is for both instruction sets: loads that follow the masked stores of
// AVX-512 wait for them, and those of AVX2 are slow on many machines, so what
// fills no vector goes by four, two and one.
func (s *isa) addGrid() {
	s.text("addGrid", "addGridGo in vector_generic.go", "func(x, row, col []float32, w float32)",
		"adds w·(row[i] + col[j]) to x[i·len(col)+j]. row and col are not empty.")
	x, row, rows := base("x"), base("row"), length("row")
	col, cols, w := base("col"), length("col"), s.broadcast("w")
	at, full, r := GP64(), GP64(), s.vec()
	from, to := s.at(col, at, 0), s.at(x, at, 0)
	step := func(v, r, w Register) {
		VADDPS(from, r, v)
		VFMADD213PS(to, w, v)
		VMOVUPS(v, to)
	}
	MOVQ(cols, full)
	ANDQ(I32(-s.lanes), full)
	SHLQ(Imm(2), full)
	Label("row")
	VBROADCASTSS(Mem{Base: row}, r)
	XORQ(at, at)
	CMPQ(at, full)
	JEQ(LabelRef("four"))
	Label("eight")
	step(s.vec(), r, w)
	ADDQ(Imm(32), at)
	CMPQ(at, full)
	JLT(LabelRef("eight"))
	Label("four")
	TESTQ(I32(4), cols)
	JZ(LabelRef("two"))
	step(XMM(), low(r), low(w))
	ADDQ(Imm(16), at)
	Label("two")
	TESTQ(I32(2), cols)
	JZ(LabelRef("one"))
	v, add := XMM(), XMM()
	VMOVSD(from, add)
	VMOVSD(to, v)
	VADDPS(add, low(r), add)
	VFMADD231PS(add, low(w), v)
	VMOVSD(v, to)
	ADDQ(Imm(8), at)
	Label("one")
	TESTQ(I32(1), cols)
	JZ(LabelRef("next"))
	VADDSS(from, low(r), v)
	VFMADD213SS(to, low(w), v)
	VMOVSS(v, to)
	Label("next")
	LEAQ(Mem{Base: x, Index: cols, Scale: 4}, x)
	ADDQ(Imm(4), row)
	DECQ(rows)
	JNZ(LabelRef("row"))
	s.end()
}

// transpose moves blocks of 8×8, each as four vectors of the rows' first four
// columns and four of their last: the lower half of a vector has row i, the
// upper row i+4. Both instruction sets use it.
func (s *isa) transpose() {
	s.text("transpose", "transposeGo in vector_generic.go", "func(dst *float32, ldd int, src *float32, lds int, rows, cols int)",
		"stores the transpose of src, rows×cols, both positive multiples of 8, in dst.",
		"Leading dimensions are in floats.")
	load := func(name string) Register { return Load(Param(name), GP64()) }
	dst, ldd, src, lds := load("dst"), load("ldd"), load("src"), load("lds")
	rows, cols := load("rows"), load("cols")
	SHLQ(Imm(2), ldd)
	SHLQ(Imm(2), lds)
	ldd3, lds3 := GP64(), GP64()
	LEAQ(Mem{Base: ldd, Index: ldd, Scale: 2}, ldd3)
	LEAQ(Mem{Base: lds, Index: lds, Scale: 2}, lds3)
	Label("row")
	from, to, left := GP64(), GP64(), GP64()
	MOVQ(src, from)
	MOVQ(dst, to)
	MOVQ(cols, left)
	Label("block")
	below := GP64() // row 4
	LEAQ(Mem{Base: from, Index: lds, Scale: 4}, below)
	line := func(base, ld, ld3 Register, i int) Mem {
		switch i {
		case 0:
			return Mem{Base: base}
		case 3:
			return Mem{Base: base, Index: ld3, Scale: 1}
		}
		return Mem{Base: base, Index: ld, Scale: uint8(i)}
	}
	for half := range 2 {
		var a, t [4]VecVirtual
		for i := range a {
			a[i] = YMM()
			upper, lower := line(from, lds, lds3, i), line(below, lds, lds3, i)
			upper.Disp, lower.Disp = 16*half, 16*half
			VMOVUPS(upper, a[i].AsX())
			VINSERTF128(Imm(1), lower, a[i], a[i])
		}
		for i := range t {
			t[i] = YMM()
		}
		VUNPCKLPS(a[1], a[0], t[0])
		VUNPCKHPS(a[1], a[0], t[1])
		VUNPCKLPS(a[3], a[2], t[2])
		VUNPCKHPS(a[3], a[2], t[3])
		for i := range a {
			if i%2 == 0 {
				VUNPCKLPD(t[2+i/2], t[i/2], a[i])
			} else {
				VUNPCKHPD(t[2+i/2], t[i/2], a[i])
			}
			VMOVUPS(a[i], line(to, ldd, ldd3, i))
		}
		LEAQ(Mem{Base: to, Index: ldd, Scale: 4}, to)
	}
	ADDQ(Imm(32), from)
	SUBQ(Imm(8), left)
	JNZ(LabelRef("block"))
	LEAQ(Mem{Base: src, Index: lds, Scale: 8}, src)
	ADDQ(Imm(32), dst)
	SUBQ(Imm(8), rows)
	JNZ(LabelRef("row"))
	s.end()
}
