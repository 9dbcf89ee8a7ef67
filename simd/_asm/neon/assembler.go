package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
)

// v is a vector register of four floats.
type v int

// assembler writes one file of Go assembly. Go's assembler lacks most vector
// instructions on floats: they are written as words, with the instruction in
// the syntax of the architecture manual beside them.
type assembler struct {
	bytes.Buffer
	stubs bytes.Buffer
	name  string
}

func (a *assembler) line(format string, args ...any) {
	fmt.Fprintf(a, "\t"+format+"\n", args...)
}

func (a *assembler) label(name string) { fmt.Fprintf(a, "%s:\n", name) }

// text begins a function.
func (a *assembler) text(name, params string, size int, doc ...string) {
	a.name = name
	fmt.Fprintf(&a.stubs, "\n// %s %s\n//\n//go:noescape\nfunc %s%s\n", name, strings.Join(doc, "\n// "), name, params)
	fmt.Fprintf(a, "\n// func %s%s\n// Requires: ASIMD\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", name, params, name, size)
	if plain, ok := specification[name]; ok {
		fmt.Fprintf(a, "\t// Plain Go: %s.\n", plain)
	}
}

func (a *assembler) word(code uint32, format string, args ...any) {
	a.line("WORD $0x%08x // %s", code, fmt.Sprintf(format, args...))
}

func (a *assembler) three(code uint32, name string, d, n, m v) {
	a.word(code|uint32(m)<<16|uint32(n)<<5|uint32(d), "%s v%d.4s, v%d.4s, v%d.4s", name, d, n, m)
}

func (a *assembler) two(code uint32, name string, d, n v) {
	a.word(code|uint32(n)<<5|uint32(d), "%s v%d.4s, v%d.4s", name, d, n)
}

// Destination first, as in the manual.
func (a *assembler) fadd(d, n, m v)  { a.three(0x4e20d400, "fadd", d, n, m) }
func (a *assembler) fsub(d, n, m v)  { a.three(0x4ea0d400, "fsub", d, n, m) }
func (a *assembler) fmul(d, n, m v)  { a.three(0x6e20dc00, "fmul", d, n, m) }
func (a *assembler) fdiv(d, n, m v)  { a.three(0x6e20fc00, "fdiv", d, n, m) }
func (a *assembler) fmax(d, n, m v)  { a.three(0x4e20f400, "fmax", d, n, m) } // of a NaN: NaN
func (a *assembler) fmin(d, n, m v)  { a.three(0x4ea0f400, "fmin", d, n, m) } // of a NaN: NaN
func (a *assembler) fmla(d, n, m v)  { a.three(0x4e20cc00, "fmla", d, n, m) }
func (a *assembler) fmls(d, n, m v)  { a.three(0x4ea0cc00, "fmls", d, n, m) }
func (a *assembler) fcmgt(d, n, m v) { a.three(0x6ea0e400, "fcmgt", d, n, m) }
func (a *assembler) iadd(d, n, m v)  { a.three(0x4ea08400, "add", d, n, m) }
func (a *assembler) faddp(d, n, m v) { a.three(0x6e20d400, "faddp", d, n, m) }

func (a *assembler) bic(d, n, m v) { // n without the bits of m
	a.word(0x4e601c00|uint32(m)<<16|uint32(n)<<5|uint32(d), "bic v%d.16b, v%d.16b, v%d.16b", d, n, m)
}

func (a *assembler) frintn(d, n v) { a.two(0x4e218800, "frintn", d, n) } // to nearest, ties to even
func (a *assembler) fcvtns(d, n v) { a.two(0x4e21a800, "fcvtns", d, n) } // the same, as integers
func (a *assembler) fabs(d, n v)   { a.two(0x4ea0f800, "fabs", d, n) }

// exponent moves integers into the place of the exponent.
func (a *assembler) exponent(d, n v) {
	a.word(0x4f375400|uint32(n)<<5|uint32(d), "shl v%d.4s, v%d.4s, #23", d, n)
}

// fmlaLane adds n times one value of m.
func (a *assembler) fmlaLane(d, n, m v, lane int) {
	l := uint32(lane)
	a.word(0x4f801000|l&1<<21|uint32(m)<<16|l>>1<<11|uint32(n)<<5|uint32(d), "fmla v%d.4s, v%d.4s, v%d.s[%d]", d, n, m, lane)
}

func (a *assembler) fmaxv(d, n v) {
	a.word(0x6e30f800|uint32(n)<<5|uint32(d), "fmaxv s%d, v%d.4s", d, n)
}

func (a *assembler) fminv(d, n v) {
	a.word(0x6eb0f800|uint32(n)<<5|uint32(d), "fminv s%d, v%d.4s", d, n)
}

func (a *assembler) zero(d v) { a.line("VEOR V%d.B16, V%d.B16, V%d.B16", d, d, d) }
func (a *assembler) move(d, n v) {
	a.line("VORR V%d.B16, V%d.B16, V%d.B16", n, n, d)
}
func (a *assembler) spread(d v) { a.line("VDUP V%d.S[0], V%d.S4", d, d) }

// sum4 leaves the sum of the lanes of n in the lowest of d.
func (a *assembler) sum4(d, n v) {
	a.faddp(d, n, n)
	a.faddp(d, d, d)
}

// table loads constants into registers from first on, through R9.
func (a *assembler) table(name string, first v, c ...float32) {
	a.line("MOVD $%s<>(SB), R9", name)
	for i := range c {
		a.line("VLD1R.P 4(R9), [V%d.S4]", int(first)+i)
	}
}

// data writes the constants of a table.
func (a *assembler) data(name string, c ...float32) {
	fmt.Fprintln(a)
	for i, f := range c {
		fmt.Fprintf(a, "DATA %s<>+%d(SB)/4, $0x%08x // %g\n", name, 4*i, math.Float32bits(f), f)
	}
	fmt.Fprintf(a, "GLOBL %s<>(SB), RODATA|NOPTR, $%d\n", name, 4*len(c))
}

// horner evaluates Σ c[i]·x^i in d, with two registers that take turns.
func (a *assembler) horner(d, other, x, c v, degree int) {
	p, q := d, other
	if degree%2 == 1 {
		p, q = q, p
	}
	a.move(p, c+v(degree))
	for i := degree - 1; i >= 0; i-- {
		a.move(q, c+v(i))
		a.fmla(q, p, x)
		p, q = q, p
	}
	if p != d {
		panic("neon: polynomial in the wrong register")
	}
}

// load and store move the vector at a pointer and step on.
func (a *assembler) load(from string, d v) { a.line("VLD1.P 16(%s), [V%d.S4]", from, d) }
func (a *assembler) store(d v, to string)  { a.line("VST1.P [V%d.S4], 16(%s)", d, to) }

// quads runs body for every four floats of the n that R1 counts, a positive
// multiple of four.
func (a *assembler) quads(label string, body func()) {
	a.label(label)
	body()
	a.line("SUBS $4, R1, R1")
	a.line("BNE %s", label)
}

// pointers loads the parameters p…, pointers from the first on, into R2, R3, ….
func (a *assembler) pointers(p ...string) {
	for i, name := range p {
		a.line("MOVD %s+%d(FP), R%d", name, 8*i, 2+i)
	}
}

// scalar loads a float32 parameter into all lanes.
func (a *assembler) scalar(name string, offset int, d v) {
	a.line("FMOVS %s+%d(FP), F%d", name, offset, d)
	a.spread(d)
}

func (a *assembler) result(d v, offset int) {
	a.line("FMOVS F%d, ret+%d(FP)", d, offset)
	a.line("RET")
}

// specification names the plain Go of the functions that have one of their
// own; tileNEON names its registers too.
var specification = map[string]string{
	"maxNEON":             "the largest of minMaxGo in vector_generic.go",
	"minNEON":             "the smallest of minMaxGo in vector_generic.go",
	"exp2SumNEON":         "the sum of expSumGo in vector_generic.go",
	"expSumNEON":          "the first half of softmaxGo in vector_generic.go",
	"geluNEON":            "Activation.apply in activation_generic.go",
	"quickGELUNEON":       "Activation.apply in activation_generic.go",
	"geluTanhNEON":        "Activation.apply in activation_generic.go",
	"reluNEON":            "Activation.apply in activation_generic.go",
	"sumNEON":             "the mean of layerNormGo in vector_generic.go",
	"squaresNEON":         "the variance of layerNormGo in vector_generic.go",
	"normalizeNEON":       "the last loop of layerNormGo in vector_generic.go",
	"addNEON":             "addGo in vector_generic.go",
	"lerpNEON":            "lerpGo in vector_generic.go",
	"scaleNEON":           "scaleGo in vector_generic.go",
	"addRowNEON":          "one row of addGridGo in vector_generic.go",
	"transposeNEON":       "transposeGo in vector_generic.go",
	"dotNEON":             "dot in gemm_generic.go",
	"winogradInput2NEON":  "winogradInput2Go in winograd_generic.go",
	"winogradInput4NEON":  "winogradInput4Go in winograd_generic.go",
	"winogradOutput2NEON": "winogradOutput2Go in winograd_generic.go",
	"winogradOutput4NEON": "winogradOutput4Go in winograd_generic.go",
	"fromF16NEON":         "fromF16Go in convert_generic.go",
	"fromBF16NEON":        "fromBF16Go in convert_generic.go",
}
