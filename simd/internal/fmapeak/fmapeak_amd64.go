//go:build !purego && !noasm

package fmapeak

import "github.com/klauspost/cpuid/v2"

//go:noescape
func avx2(turns int)

//go:noescape
func avx512(turns int)

func loop(kernel string) (run func(turns int), flops int) {
	switch {
	case kernel == "avx2" && cpuid.CPU.Supports(cpuid.AVX, cpuid.FMA3):
		return avx2, 12 * 8 * 2
	case kernel == "avx512" && cpuid.CPU.Supports(cpuid.AVX512F):
		return avx512, 12 * 16 * 2
	}
	return nil, 0
}
