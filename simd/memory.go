package simd

import (
	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"github.com/klauspost/cpuid/v2"
)

const cacheLine = 64 // bytes

// secondLevelFloats is the size of the second-level cache, in floats.
func secondLevelFloats() int {
	if l2 := cpuid.CPU.Cache.L2; l2 >= 128<<10 {
		return l2 / 4
	}
	return 512 << 10 / 4 // unknown: as most have it, or more
}

// grow makes *s hold n floats, the old ones lost where it held fewer.
func grow(s *[]float32, n int) []float32 {
	if cap(*s) < n {
		*s = scratch.Aligned[float32](n)
	}
	*s = (*s)[:n]
	return *s
}
