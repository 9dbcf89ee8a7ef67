package simd

import (
	"sync"
	"unsafe"

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

// aligned returns n floats that start on a cache line.
func aligned(n int) []float32 {
	const floats = cacheLine / 4
	s := make([]float32, n+floats)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(s))) % cacheLine / 4)
	return s[skip : skip+n : skip+n]
}

// pool keeps scratch memory for the next call, as many pieces as were ever in
// use at once. Unlike a sync.Pool it survives garbage collection: scratch is
// needed again a moment later, and a megabyte anew is a thousand page faults.
type pool[T any] struct {
	mu   sync.Mutex
	free []*T
}

// get returns a piece, or a zero one where none is left.
func (p *pool[T]) get() *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.free) - 1
	if last < 0 {
		return new(T)
	}
	v := p.free[last]
	p.free = p.free[:last]
	return v
}

func (p *pool[T]) put(v *T) {
	p.mu.Lock()
	p.free = append(p.free, v)
	p.mu.Unlock()
}
