// Command gemm writes the tiles of the matrix product for amd64.
//
//	go generate ./simd
//
// One function holds a body for every number of rows up to the tile's and for
// one or two vectors of columns, and jumps to the one asked for. A body keeps
// its whole part of c in registers, walks the depth once and writes back.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// isa is what differs between the instruction sets.
type isa struct {
	function string
	rows     int // of the largest body
	lanes    int // floats in a vector
	v        []VecPhysical
	masked   bool // mask registers
	unroll   int  // steps of the depth in one turn of the loop
	ahead    int  // bytes by which the panel is prefetched
	next     int  // bytes of next that one turn brings into the second-level cache
}

var isas = map[string]*isa{
	"avx2": {
		function: "gemmAVX2", rows: 6, lanes: 8, unroll: 4, ahead: 1024, next: 64,
		v: []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15},
	},
	"avx512": {
		function: "gemmAVX512", rows: 14, lanes: 16, unroll: 4, ahead: 2048, next: 128, masked: true,
		v: []VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
			Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31},
	},
}

// General registers, the same in every body. While it walks the depth:
var (
	k    = RAX // steps left
	a    = RSI // rows 0 … 8 of a
	a9   = R8  // rows 9 … 13
	lda  = R9  // bytes between rows of a, and multiples
	lda3 = R10
	lda5 = R11
	lda7 = R12
	b    = RDI // the panel
	next = RCX // what the next call needs
)

// Before and after:
var (
	c    = RDX
	ldc  = RBX
	tmp  = RCX
	rows = RAX
	cols = R13
)

func main() {
	name := flag.String("isa", "avx512", "avx2 or avx512")
	flag.Parse()
	s, ok := isas[*name]
	if !ok {
		log.Fatalf("no instruction set %q", *name)
	}
	ConstraintExpr("!purego,!noasm")
	s.generate()
	os.Args = []string{"go", "generate", "./simd"} // what the files name as their command
	Generate()
}

func (s *isa) generate() {
	if !s.masked {
		GLOBL("gemmMask", attr.RODATA|attr.NOPTR)
		for i := range 2 * s.lanes {
			v := uint32(0)
			if i < s.lanes {
				v = 0xffffffff
			}
			DATA(4*i, U32(v))
		}
	}
	TEXT(s.function, attr.NOSPLIT, "func(rows, cols, k int, a *float32, lda int, b, c *float32, ldc int, in *float32, ldin int, bias *float32, alpha, floor float32, next *float32)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s stores max(alpha·a·b + bias + in, floor) in c, as gemmTile does: a is rows×k with", s.function),
		fmt.Sprintf("rows in [1, %d], b a panel of %d columns where cols is at most that and of %d", s.rows, s.lanes, 2*s.lanes),
		"otherwise, c rows×cols. in and bias may be nil. Leading dimensions are in floats. On the way",
		fmt.Sprintf("it brings %d bytes from next on for every step of k into the second-level cache.", s.next/s.unroll))
	acc := 2 * s.rows
	Comment(
		"Plain Go: gemmTile in gemm_generic.go.",
		fmt.Sprintf("Registers: v0 … v%d rows×2 vectors of c, v%d and v%d of b, v%d and v%d a value of a in every lane.", acc-1, acc, acc+1, acc+2, acc+3),
		"SI row 0 of a, R8 row 9, R9 … R12 one, three, five and seven times its stride; DI b; AX steps left.")
	Load(Param("a"), a)
	Load(Param("lda"), lda)
	SHLQ(Imm(2), lda)
	LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, lda3)
	LEAQ(Mem{Base: lda, Index: lda, Scale: 4}, lda5)
	LEAQ(Mem{Base: lda3, Index: lda, Scale: 4}, lda7)
	LEAQ(Mem{Base: a, Index: lda, Scale: 8}, a9)
	ADDQ(lda, a9)
	Load(Param("b"), b)
	Load(Param("c"), c)
	Load(Param("ldc"), ldc)
	SHLQ(Imm(2), ldc)
	Load(Param("rows"), rows)
	Load(Param("cols"), cols)
	CMPQ(cols, imm(s.lanes))
	JLE(LabelRef("narrow"))
	s.choose(2)
	Label("narrow")
	s.choose(1)
	for vecs := 2; vecs >= 1; vecs-- {
		for rows := s.rows; rows >= 1; rows-- {
			s.body(rows, vecs)
		}
	}
}

func body(rows, vecs int) string { return fmt.Sprintf("rows%dx%d", rows, vecs) }

// choose jumps to the body for the number of rows.
func (s *isa) choose(vecs int) {
	for r := s.rows; r > 1; r-- {
		CMPQ(rows, imm(r))
		JEQ(LabelRef(body(r, vecs)))
	}
	JMP(LabelRef(body(1, vecs)))
}

// row is the address of step u of a row of a.
func row(r, u int) Mem {
	base := a
	if r >= 9 {
		base, r = a9, r-9
	}
	m := Mem{Base: base, Disp: 4 * u}
	switch r {
	case 0:
		return m
	case 1, 2, 4, 8:
		m.Index, m.Scale = lda, uint8(r)
	case 3, 6:
		m.Index, m.Scale = lda3, uint8(r/3)
	case 5:
		m.Index, m.Scale = lda5, 1
	case 7:
		m.Index, m.Scale = lda7, 1
	}
	return m
}

func (s *isa) body(rows, vecs int) {
	name := body(rows, vecs)
	width := 4 * s.lanes // bytes of a vector
	acc := func(r, v int) VecPhysical { return s.v[r*vecs+v] }
	vb, va := s.v[2*s.rows:2*s.rows+2], s.v[2*s.rows+2:2*s.rows+4]

	Label(name)
	Comment("Bring in what is written back.")
	MOVQ(c, tmp)
	for r := range rows {
		PREFETCHT0(Mem{Base: tmp})
		if vecs*width > 64 {
			PREFETCHT0(Mem{Base: tmp, Disp: 64})
		}
		if r+1 < rows {
			ADDQ(ldc, tmp)
		}
	}
	for r := range rows {
		for v := range vecs {
			s.zero(acc(r, v))
		}
	}
	step := func(u int) {
		for v := range vecs {
			VMOVUPS(Mem{Base: b, Disp: (u*vecs + v) * width}, vb[v])
		}
		for r := range rows {
			VBROADCASTSS(row(r, u), va[r%2])
			for v := range vecs {
				VFMADD231PS(vb[v], va[r%2], acc(r, v))
			}
		}
	}
	advance := func(steps int) {
		ADDQ(imm(4*steps), a)
		if rows > 9 {
			ADDQ(imm(4*steps), a9)
		}
		ADDQ(imm(steps*vecs*width), b)
	}
	Load(Param("k"), k)
	Load(Param("next"), next)
	SUBQ(imm(s.unroll), k)
	JLT(LabelRef(name + "rest"))
	Label(name + "loop")
	for u := range s.unroll {
		for at := 0; at < vecs*width; at += 64 {
			PREFETCHT0(Mem{Base: b, Disp: s.ahead + u*vecs*width + at})
		}
		if at := u * 64; at < s.next {
			PREFETCHT1(Mem{Base: next, Disp: at})
		}
		step(u)
	}
	ADDQ(imm(s.next), next)
	advance(s.unroll)
	SUBQ(imm(s.unroll), k)
	JGE(LabelRef(name + "loop"))
	Label(name + "rest")
	ADDQ(imm(s.unroll), k)
	JEQ(LabelRef(name + "done"))
	Label(name + "one")
	step(0)
	advance(1)
	DECQ(k)
	JNE(LabelRef(name + "one"))
	Label(name + "done")
	s.writeBack(name, rows, vecs)
}

func (s *isa) zero(v VecPhysical) {
	if s.masked {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

// writeBack finishes a body: all vectors above the accumulators are free.
func (s *isa) writeBack(name string, rows, vecs int) {
	width := 4 * s.lanes
	acc := func(r, v int) VecPhysical { return s.v[r*vecs+v] }
	free := s.v[2*s.rows:]
	last := vecs - 1
	ptr, stride := a, lda

	load := func(at Mem, v int, dst VecPhysical, full bool) {
		at.Disp += v * width
		switch {
		case v < last || full:
			VMOVUPS(at, dst)
		case s.masked:
			VMOVUPS_Z(at, K1, dst)
		default:
			VMASKMOVPS(at, free[3], dst)
		}
	}
	store := func(src VecPhysical, v int, at Mem, full bool) {
		at.Disp += v * width
		switch {
		case v < last || full:
			VMOVUPS(src, at)
		case s.masked:
			VMOVUPS(src, K1, at)
		default:
			VMASKMOVPS(src, free[3], at)
		}
	}
	finish := func(name string, full bool) {
		VBROADCASTSS(param("alpha"), free[0])
		for v := range vecs {
			s.zero(free[1+v])
		}
		Load(Param("bias"), ptr)
		TESTQ(ptr, ptr)
		JEQ(LabelRef(name + "scale"))
		for v := range vecs {
			load(Mem{Base: ptr}, v, free[1+v], full)
		}
		Label(name + "scale")
		for r := range rows {
			for v := range vecs {
				VFMADD213PS(free[1+v], free[0], acc(r, v))
			}
		}
		Load(Param("in"), ptr)
		TESTQ(ptr, ptr)
		JEQ(LabelRef(name + "store"))
		Load(Param("ldin"), stride)
		SHLQ(Imm(2), stride)
		for r := range rows {
			for v := range vecs {
				load(Mem{Base: ptr}, v, free[v], full)
				VADDPS(free[v], acc(r, v), acc(r, v))
			}
			if r+1 < rows {
				ADDQ(stride, ptr)
			}
		}
		Label(name + "store")
		VBROADCASTSS(param("floor"), free[0])
		for r := range rows {
			for v := range vecs {
				VMAXPS(acc(r, v), free[0], acc(r, v)) // a NaN in acc stays
				store(acc(r, v), v, Mem{Base: c}, full)
			}
			if r+1 < rows {
				ADDQ(ldc, c)
			}
		}
		VZEROUPPER()
		RET()
	}
	if last > 0 {
		SUBQ(imm(last*s.lanes), cols)
	}
	CMPQ(cols, imm(s.lanes))
	JLT(LabelRef(name + "tail"))
	finish(name, true)
	Label(name + "tail")
	if s.masked {
		MOVQ(cols, RCX)
		MOVL(U32(1), k.As32())
		SHLL(CL, k.As32())
		DECL(k.As32())
		KMOVW(k.As32(), K1)
	} else {
		LEAQ(NewDataAddr(Symbol{Name: "gemmMask", Static: true}, 4*s.lanes), ptr)
		SHLQ(Imm(2), cols)
		SUBQ(cols, ptr)
		VMOVUPS(Mem{Base: ptr}, free[3])
	}
	finish(name+"tail", false)
}

func param(name string) Mem {
	c, err := Param(name).Resolve()
	if err != nil {
		log.Fatal(err)
	}
	return c.Addr
}

// imm is n as the smallest constant that arithmetic takes.
func imm(n int) Constant {
	if n < 128 {
		return U8(n)
	}
	return U32(n)
}
