package simd

import (
	"fmt"
	"os"
)

// Kernel is one implementation of the package's operations. The zero Kernel
// is the plain Go one. Kernels are comparable.
type Kernel struct {
	impl *impl
}

// impl is the table of one kernel.
type impl struct {
	name   string
	gemm   tile
	vector vectors
}

// plain is the zero Kernel's table.
var plain = impl{name: "generic", vector: goVectors}

// gonum leaves products to gonum's BLAS.
var gonum = impl{name: "gonum", vector: goVectors}

func (k Kernel) table() *impl {
	if k.impl == nil {
		return &plain
	}
	return k.impl
}

// Name is generic, gonum, avx2, avx512 or neon.
func (k Kernel) Name() string { return k.table().name }

// String is Name, so that kernels print well.
func (k Kernel) String() string { return k.Name() }

// All returns the kernels that run on this machine, slowest first.
func All() []Kernel {
	all := []Kernel{{}, {&gonum}}
	for _, i := range machine() {
		all = append(all, Kernel{i})
	}
	return all
}

// Best returns the fastest kernel of this machine, or the one that the
// environment variable CLIPSURGERY_KERNEL names where this machine has it.
func Best() Kernel {
	k, _ := choose()
	return k
}

// choose returns Best and its reason.
func choose() (k Kernel, why string) {
	all := All()
	k, why = all[len(all)-1], "fastest"
	if name := os.Getenv("CLIPSURGERY_KERNEL"); name != "" {
		named, err := Select(name)
		if err != nil {
			return k, fmt.Sprintf("fastest, as there is no CLIPSURGERY_KERNEL=%s", name)
		}
		k, why = named, "CLIPSURGERY_KERNEL"
	}
	return k, why
}

// Select returns the kernel of that name, or an error that lists the ones
// this machine has.
func Select(name string) (Kernel, error) {
	for _, k := range All() {
		if k.Name() == name {
			return k, nil
		}
	}
	return Kernel{}, fmt.Errorf("simd: no kernel %q here; this machine has %v", name, All())
}

// tile is the matrix product of a kernel on a part of the destination that
// registers hold. A nil run is plain Go.
type tile struct {
	rows  int // largest number of rows
	lanes int // a panel of b has twice as many columns, the last one this many if they suffice
	depth int // longest walk over k before the sums are written back
	run   tileFunc
}

// tileFunc stores max(alpha·a·b + bias + in, floor) in c: a is rows×k, b a
// panel, c rows×cols. in and bias may be nil. Leading dimensions are in floats.
// On the way it may bring a quarter of a panel, which begins at next, into the
// second-level cache.
type tileFunc func(rows, cols, k int, a *float32, lda int, b, c *float32, ldc int,
	in *float32, ldin int, bias *float32, alpha, floor float32, next *float32)
