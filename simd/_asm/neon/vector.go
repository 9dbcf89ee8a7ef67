package main

import "fmt"

// Constants of the powers of two and of e, as for amd64's 256-bit vectors; see
// ../vector/exp.go for their errors.
var (
	exp2of5 = []float32{1, 0.69314700, 0.24022242, 0.055507336, 0.0096715130, 0.0013264727, -126}
	exp2of6 = []float32{1, 0.69314718, 0.24022648, 0.055503324, 0.0096184369, 0.0013398875, 0.00015353362, -126}
	expOfE  = []float32{1, 1, 0.49999994, 0.16666432, 0.041668002, 0.0083741555, 0.0013843654,
		1.44269504, 0.693359375, -2.12194440e-4, -87.33654}
	geluTable = []float32{-1.0, -1.1511049270629883, -0.4592161774635315, -0.05245119705796242,
		0.006953674368560314, 2.309184537807596e-06, -0.0002851902091799914, 7.949276914587244e-05,
		-1.1753187209251337e-05, 9.58098326009349e-07, -3.3751060612985384e-08, 64}
	quickGELUTable = []float32{-1.702 * 1.4426950408889634, 1, 64}
	geluTanhTable  = []float32{tanhSlope, tanhSlope * 0.044715, 1, 64}
)

// tanhSlope is -2·√(2/π)·log2(e).
const tanhSlope = -2 * 0.7978845608028654 * 1.4426950408889634

// Scratch of the exponentials; V0 and V1 are the functions' own.
const p, t, n, r, q v = 2, 3, 4, 5, 6

// exp2 leaves 2^t in p, with the constants of a degree from register c on.
// Below 2^-126 it is zero; a NaN stays.
func (a *assembler) exp2(c v, degree int) {
	a.frintn(n, t)
	a.fsub(r, t, n)
	a.fcmgt(t, c+v(degree+1), t)
	a.fcvtns(n, n)
	a.exponent(n, n)
	a.horner(p, q, r, c, degree)
	a.iadd(p, p, n)
	a.bic(p, p, t)
}

// expE leaves e^t in p, t in [-∞, 88], with the argument reduced in two parts.
func (a *assembler) expE(c v) {
	a.fmul(n, t, c+7)
	a.frintn(n, n)
	a.move(r, t)
	a.fmls(r, n, c+8)
	a.fmls(r, n, c+9)
	a.fcmgt(t, c+10, t)
	a.fcvtns(n, n)
	a.exponent(n, n)
	a.horner(p, q, r, c, 6)
	a.iadd(p, p, n)
	a.bic(p, p, t)
}

// vectors writes the vector kernels. They take n floats at every pointer, n a
// positive multiple of four; vector_arm64.go looks after the rest.
func (a *assembler) vectors() {
	a.extreme("max", "largest", a.fmax, a.fmaxv)
	a.extreme("min", "smallest", a.fmin, a.fminv)

	a.sumOf("exp2Sum", "replaces x by 2^(x - top) and returns the sum.", "exp2of5", exp2of5, func(c v) { a.exp2(c, 5) })
	a.sumOf("expSum", "replaces x by e^(x - top), x - top at most 88, and returns the sum.", "expOfE", expOfE, a.expE)

	a.bump("gelu", "x·Φ(x), Φ the normal distribution.", "geluTable", geluTable, func(c, u v) {
		a.horner(t, q, u, c, 10)
		a.exp2(24, 6)
	})
	a.bump("quickGELU", "x·sigmoid(1.702·x).", "quickGELUTable", quickGELUTable, func(c, u v) {
		a.fmul(t, u, c)
		a.exp2(24, 6)
		a.fadd(q, p, c+1)
		a.fdiv(p, p, q)
	})
	a.bump("geluTanh", "x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2.", "geluTanhTable", geluTanhTable, func(c, u v) {
		a.fmul(t, u, u)
		a.fmul(t, t, c+1)
		a.fadd(t, t, c)
		a.fmul(t, t, u)
		a.exp2(24, 6)
		a.fadd(q, p, c+2)
		a.fdiv(p, p, q)
	})
	a.text("reluNEON", "(x *float32, n int)", 16, "replaces x by max(x, 0); a NaN stays.")
	a.pointers("x")
	a.line("MOVD n+8(FP), R1")
	a.zero(1)
	a.quads("loop", func() {
		a.line("VLD1 (R2), [V0.S4]")
		a.fmax(0, 0, 1)
		a.store(0, "R2")
	})
	a.line("RET")

	a.text("sumNEON", "(x *float32, n int) float32", 20, "is Σ x.")
	a.pointers("x")
	a.line("MOVD n+8(FP), R1")
	a.zero(1)
	a.quads("loop", func() {
		a.load("R2", 0)
		a.fadd(1, 1, 0)
	})
	a.sum4(0, 1)
	a.result(0, 16)

	a.text("squaresNEON", "(x *float32, n int, mean float32) float32", 28, "is Σ (x - mean)².")
	a.pointers("x")
	a.line("MOVD n+8(FP), R1")
	a.scalar("mean", 16, 2)
	a.zero(1)
	a.quads("loop", func() {
		a.load("R2", 0)
		a.fsub(0, 0, 2)
		a.fmla(1, 0, 0)
	})
	a.sum4(0, 1)
	a.result(0, 24)

	a.text("normalizeNEON", "(dst, x, weight, bias *float32, n int, mean, scale float32)", 48,
		"stores (x - mean)·scale·weight + bias in dst, which may be x.")
	a.pointers("dst", "x", "weight", "bias")
	a.line("MOVD n+32(FP), R1")
	a.scalar("mean", 40, 4)
	a.scalar("scale", 44, 5)
	a.quads("loop", func() {
		a.load("R3", 0)
		a.load("R4", 1)
		a.load("R5", 2)
		a.fsub(0, 0, 4)
		a.fmul(0, 0, 5)
		a.fmla(2, 0, 1)
		a.store(2, "R2")
	})
	a.line("RET")

	a.text("addNEON", "(dst, a, b *float32, n int)", 32, "stores a + b in dst, which may be either.")
	a.pointers("dst", "a", "b")
	a.line("MOVD n+24(FP), R1")
	a.quads("loop", func() {
		a.load("R3", 0)
		a.load("R4", 1)
		a.fadd(0, 0, 1)
		a.store(0, "R2")
	})
	a.line("RET")

	a.text("lerpNEON", "(dst, a, b *float32, n int, wa, wb float32)", 40, "stores wa·a + wb·b, rounded thrice, in dst.")
	a.pointers("dst", "a", "b")
	a.line("MOVD n+24(FP), R1")
	a.scalar("wa", 32, 2)
	a.scalar("wb", 36, 3)
	a.quads("loop", func() {
		a.load("R3", 0)
		a.load("R4", 1)
		a.fmul(0, 0, 2)
		a.fmul(1, 1, 3)
		a.fadd(0, 0, 1)
		a.store(0, "R2")
	})
	a.line("RET")

	a.text("scaleNEON", "(dst, a *float32, n int, w float32)", 28, "stores w·a in dst, which may be a.")
	a.pointers("dst", "a")
	a.line("MOVD n+16(FP), R1")
	a.scalar("w", 24, 1)
	a.quads("loop", func() {
		a.load("R3", 0)
		a.fmul(0, 0, 1)
		a.store(0, "R2")
	})
	a.line("RET")

	a.text("addRowNEON", "(x, col *float32, n int, r, w float32)", 32, "adds w·(r + col) to x, each operation rounded.")
	a.pointers("x", "col")
	a.line("MOVD n+16(FP), R1")
	a.scalar("r", 24, 2)
	a.scalar("w", 28, 3)
	a.quads("loop", func() {
		a.line("VLD1 (R2), [V0.S4]")
		a.load("R3", 1)
		a.fadd(1, 1, 2)
		a.fmul(1, 1, 3)
		a.fadd(0, 0, 1)
		a.store(0, "R2")
	})
	a.line("RET")
	a.transpose()

	a.text("dotNEON", "(a, b *float32, n int) float32", 28, "is Σ a·b.")
	a.pointers("a", "b")
	a.line("MOVD n+16(FP), R1")
	a.zero(2)
	a.quads("loop", func() {
		a.load("R2", 0)
		a.load("R3", 1)
		a.fmla(2, 0, 1)
	})
	a.sum4(0, 2)
	a.result(0, 24)

	a.conversion("fromF16", "half precision", func() {
		a.word(0x0e217801, "fcvtl v1.4s, v0.4h")
		a.word(0x4e217802, "fcvtl2 v2.4s, v0.8h")
	})
	a.conversion("fromBF16", "bfloat16", func() {
		a.word(0x2e613801, "shll v1.4s, v0.4h, #16")
		a.word(0x6e613802, "shll2 v2.4s, v0.8h, #16")
	})
}

// transpose moves blocks of 4×4.
func (a *assembler) transpose() {
	a.text("transposeNEON", "(dst *float32, ldd int, src *float32, lds, rows, cols int)", 48,
		"stores the transpose of src, rows×cols, both positive multiples of 4, in dst.",
		"Leading dimensions are in floats.")
	fmt.Fprint(a, "\t// R6 … R9 rows of src, R10 of dst, R11 columns left; V0 … V3 a block, V4 … V7 its pairs.\n")
	for i, name := range []string{"dst", "ldd", "src", "lds", "rows", "cols"} {
		a.line("MOVD %s+%d(FP), R%d", name, 8*i, i)
	}
	a.line("LSL $2, R1")
	a.line("LSL $2, R3")
	a.label("rows")
	a.line("MOVD R2, R6")
	for r := 7; r <= 9; r++ {
		a.line("ADD R3, R%d, R%d", r-1, r)
	}
	a.line("ADD R3, R9, R2")
	a.line("MOVD R0, R10")
	a.line("MOVD R5, R11")
	a.label("cols")
	for i := range 4 {
		a.load(fmt.Sprint("R", 6+i), v(i))
	}
	trn := func(code uint32, name, lanes string, d, n, m v) {
		a.word(code|uint32(m)<<16|uint32(n)<<5|uint32(d), "%s v%d.%s, v%d.%s, v%d.%s", name, d, lanes, n, lanes, m, lanes)
	}
	trn(0x4e802800, "trn1", "4s", 4, 0, 1)
	trn(0x4e806800, "trn2", "4s", 5, 0, 1)
	trn(0x4e802800, "trn1", "4s", 6, 2, 3)
	trn(0x4e806800, "trn2", "4s", 7, 2, 3)
	trn(0x4ec02800, "trn1", "2d", 0, 4, 6)
	trn(0x4ec02800, "trn1", "2d", 1, 5, 7)
	trn(0x4ec06800, "trn2", "2d", 2, 4, 6)
	trn(0x4ec06800, "trn2", "2d", 3, 5, 7)
	for i := range 4 {
		a.line("VST1 [V%d.S4], (R10)", i)
		a.line("ADD R1, R10")
	}
	a.line("SUBS $4, R11, R11")
	a.line("BNE cols")
	a.line("ADD $16, R0")
	a.line("SUBS $4, R4, R4")
	a.line("BNE rows")
	a.line("RET")
}

func (a *assembler) extreme(name, which string, op func(d, n, m v), across func(d, n v)) {
	a.text(name+"NEON", "(x *float32, n int) float32", 20, "is the "+which+" of x, NaN where there is one.")
	a.pointers("x")
	a.line("MOVD n+8(FP), R1")
	a.line("VLD1 (R2), [V0.S4]")
	a.quads("loop", func() {
		a.load("R2", 1)
		op(0, 0, 1)
	})
	across(0, 0)
	a.result(0, 16)
}

func (a *assembler) sumOf(name, doc, table string, c []float32, exp func(c v)) {
	a.text(name+"NEON", "(x *float32, n int, top float32) float32", 28, doc)
	a.pointers("x")
	a.line("MOVD n+8(FP), R1")
	a.scalar("top", 16, 0)
	a.table(table, 16, c...)
	a.zero(1)
	a.quads("loop", func() {
		a.line("VLD1 (R2), [V%d.S4]", t)
		a.fsub(t, t, 0)
		exp(16)
		a.fadd(1, 1, p)
		a.store(p, "R2")
	})
	a.sum4(0, 1)
	a.result(0, 24)
}

// bump writes an activation of the form max(x, 0) - u·q(u) with u = |x|, at
// most 64, where q has become zero. Its constants, the last of them 64, lie
// from V12 on, those of 2^t from V24.
func (a *assembler) bump(name, doc, table string, c []float32, q func(c, u v)) {
	a.text(name+"NEON", "(x *float32, n int)", 16, "replaces x by "+doc)
	a.pointers("x")
	a.line("MOVD n+8(FP), R1")
	a.table(table, 12, c...)
	a.table("exp2of6", 24, exp2of6...)
	a.zero(7)
	const u = v(8)
	a.quads("loop", func() {
		a.line("VLD1 (R2), [V0.S4]")
		a.fabs(u, 0)
		a.fmin(u, u, 12+v(len(c)-1))
		q(12, u)
		a.fmax(0, 0, 7) // a NaN stays
		a.fmls(0, u, p)
		a.store(0, "R2")
	})
	a.line("RET")
}

func (a *assembler) conversion(name, doc string, body func()) {
	a.text(name+"NEON", "(dst *float32, src *byte, n int)", 24, "converts n numbers in "+doc+", n a positive multiple of 8.")
	a.pointers("dst", "src")
	a.line("MOVD n+16(FP), R1")
	a.label("loop")
	a.line("VLD1.P 16(R3), [V0.H8]")
	body()
	a.line("VST1.P [V1.S4, V2.S4], 32(R2)")
	a.line("SUBS $8, R1, R1")
	a.line("BNE loop")
	a.line("RET")
}
