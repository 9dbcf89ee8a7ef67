package simd

import "unsafe"

const cacheLine = 64 // bytes

// aligned returns n floats that start on a cache line.
func aligned(n int) []float32 {
	const floats = cacheLine / 4
	s := make([]float32, n+floats)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(s))) % cacheLine / 4)
	return s[skip : skip+n : skip+n]
}
