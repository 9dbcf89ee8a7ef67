//go:build !purego && !noasm

package simd

import "github.com/klauspost/cpuid/v2"

// neon is the vector unit that every arm64 machine has: 128 bits.
var neon = impl{
	name:   "neon",
	gemm:   tile{rows: 8, lanes: 4, depth: 768, run: gemmNEON},
	vector: vectorsNEON,
}

// machine returns the tables that this machine can run, slowest first.
func machine() []*impl {
	if cpuid.CPU.Supports(cpuid.ASIMD, cpuid.FP) {
		return []*impl{&neon}
	}
	return nil
}
