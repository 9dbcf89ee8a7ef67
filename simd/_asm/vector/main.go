// Command vector writes the vector kernels for amd64.
//
//	go generate ./simd
//
// Every function walks its slices a vector at a time and does what is left
// over with the other lanes masked off, so nothing outside a slice is read or
// written. The two instruction sets share the function bodies; isa.go holds
// what differs between them.
package main

import (
	"flag"
	"log"
	"os"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/gotypes"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	name := flag.String("isa", "avx512", "avx2 or avx512")
	flag.Parse()
	s, ok := isas[*name]
	if !ok {
		log.Fatalf("no instruction set %q", *name)
	}
	s.written = map[string]bool{}
	ConstraintExpr("!purego,!noasm")
	s.softmax()
	s.expSum()
	s.gelu()
	s.quickGELU()
	s.geluTanh()
	s.relu()
	s.layerNorm()
	s.add()
	s.lerp()
	s.dot()
	s.minMax()
	s.fromF16()
	s.fromBF16()
	s.scale()
	s.winograd()
	if !s.masks {
		s.addGrid()
		s.transpose()
	}
	os.Args = []string{"go", "generate", "./simd"} // what the files name as their command
	Generate()
}

// text begins a function that implements the plain Go one of that name.
func (s *isa) text(name, plain, signature string, doc ...string) {
	TEXT(name+s.suffix, NOSPLIT, signature)
	Pragma("noescape")
	doc[0] = name + s.suffix + " " + doc[0]
	Doc(doc...)
	Comment("Plain Go: " + plain + ".")
}

func (s *isa) end() {
	VZEROUPPER()
	RET()
}

// each walks n floats: body gets the byte offset register of a step that is
// masked or not. n is consumed.
func (s *isa) each(label string, n, at Register, body func(masked bool)) {
	XORQ(at, at)
	s.resume(label, n, at, body)
}

// resume is each from the offset that at holds.
func (s *isa) resume(label string, n, at Register, body func(masked bool)) {
	SUBQ(Imm(uint64(s.lanes)), n)
	JLT(LabelRef(label + "Tail"))
	Label(label + "Loop")
	body(false)
	ADDQ(Imm(uint64(4*s.lanes)), at)
	SUBQ(Imm(uint64(s.lanes)), n)
	JGE(LabelRef(label + "Loop"))
	Label(label + "Tail")
	ADDQ(Imm(uint64(s.lanes)), n)
	JZ(LabelRef(label + "End"))
	s.setMask(n)
	body(true)
	Label(label + "End")
}

// blocks walks n floats four vectors at a time, so that four chains of a
// reduction run at once, and then one at a time into chain 0.
func (s *isa) blocks(label string, n, at Register, body func(chain int, masked bool)) {
	XORQ(at, at)
	SUBQ(Imm(uint64(4*s.lanes)), n)
	JLT(LabelRef(label + "Rest"))
	Label(label + "Four")
	for c := range 4 {
		body(c, false)
	}
	ADDQ(U32(16*s.lanes), at)
	SUBQ(Imm(uint64(4*s.lanes)), n)
	JGE(LabelRef(label + "Four"))
	Label(label + "Rest")
	ADDQ(Imm(uint64(4*s.lanes)), n)
	s.resume(label, n, at, func(masked bool) { body(0, masked) })
}

// at is the address of vector c after the offset.
func (s *isa) at(base, offset Register, c int) Mem {
	return Mem{Base: base, Index: offset, Scale: 1, Disp: 4 * s.lanes * c}
}

func length(name string) Register { return Load(Param(name).Len(), GP64()) }
func base(name string) Register   { return Load(Param(name).Base(), GP64()) }

// param is the address of a parameter or result, so that nothing but AVX
// moves it.
func param(c Component) Mem {
	b, err := c.Resolve()
	if err != nil {
		log.Fatal(err)
	}
	return b.Addr
}

// broadcast is a float32 parameter in every lane.
func (s *isa) broadcast(name string) Register {
	v := s.vec()
	VBROADCASTSS(param(Param(name)), v)
	return v
}

// result returns the lowest lane of v.
func (s *isa) result(c Component, v Register) { VMOVSS(low(v), param(c)) }
