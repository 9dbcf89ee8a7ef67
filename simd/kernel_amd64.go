//go:build !purego && !noasm

package simd

import "github.com/klauspost/cpuid/v2"

// The features of each kernel are all that its assembly uses. cpuid reports a
// feature only where the operating system saves its registers.

var avx2 = impl{
	name:   "avx2",
	gemm:   tile{rows: 6, lanes: 8, depth: 1024, run: gemmAVX2},
	vector: vectorsAVX2,
}

var avx512 = impl{
	name:   "avx512",
	gemm:   tile{rows: 14, lanes: 16, depth: 1024, run: gemmAVX512},
	vector: vectorsAVX512,
}

// machine returns the tables that this machine can run, slowest first.
func machine() []*impl {
	var tables []*impl
	if cpuid.CPU.Supports(cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.F16C) {
		tables = append(tables, &avx2)
		if cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512DQ, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.BMI2) {
			tables = append(tables, &avx512)
		}
	}
	return tables
}
