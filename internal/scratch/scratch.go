// Package scratch keeps memory between calls. An [Arena] is the memory of one
// call, a [Pool] the arenas of a model or an operation. In the steady state
// neither allocates; after a burst both shrink to what one call of the largest
// recent size needs.
package scratch

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// Pool keeps values for the next call: one for good, the others, which calls
// at the same time needed, until the second garbage collection that finds them
// unused. The one survives because scratch is needed again a moment later, and
// a megabyte of new memory costs hundreds of page faults. The zero Pool is
// ready for use. It is safe for concurrent use.
type Pool[T any] struct {
	one    atomic.Pointer[T]
	others sync.Pool
}

// Get returns a value that Put left, or a zero one.
func (p *Pool[T]) Get() *T {
	if v := p.one.Swap(nil); v != nil {
		return v
	}
	if v, ok := p.others.Get().(*T); ok {
		return v
	}
	return new(T)
}

// Put keeps v, which the caller has reset and does not use any more.
func (p *Pool[T]) Put(v *T) {
	if !p.one.CompareAndSwap(nil, v) {
		p.others.Put(v)
	}
}

const (
	// recent is how many calls an Arena remembers.
	recent = 8
	// minBytes is the least size of a block.
	minBytes = 16 << 10
	// line is the size of a cache line in bytes, which slices begin on.
	line = 64
)

// Arena cuts slices from blocks of memory that it keeps for the next call. A
// call ends with Reset, which replaces several blocks by one, and one that is
// larger than recent calls needed by a smaller one. The zero Arena is ready for
// use. It is not safe for concurrent use.
type Arena[T any] struct {
	blocks [][]T
	at     Mark
	peak   int         // most elements that the call had in use at once
	peaks  [recent]int // of the last calls
	call   int         // whose peak is stored next
}

// Mark is a state of an Arena, to return to by Release.
type Mark struct {
	block int // the block being cut
	used  int // elements of it
	live  int // elements in use, of all blocks
}

// Take returns n elements of unspecified content, valid until Reset or the
// Release of an earlier Mark. The slice begins on a cache line where a whole
// number of elements fills one.
func (a *Arena[T]) Take(n int) []T {
	whole := roundUp[T](n)
	a.peak = max(a.peak, a.at.live+whole)
	for a.at.block < len(a.blocks) {
		if b := a.blocks[a.at.block]; len(b)-a.at.used >= whole {
			s := b[a.at.used:][:n:n]
			a.at.used += whole
			a.at.live += whole
			return s
		}
		a.at.block++
		a.at.used = 0
	}
	held := a.Size()
	a.grow(max(whole, a.recentPeak()-held, held/4, minBlock[T]()))
	a.at.used = whole
	a.at.live += whole
	return a.blocks[a.at.block][:n:n]
}

func (a *Arena[T]) grow(n int) { a.blocks = append(a.blocks, Aligned[T](n)) }

// Mark returns the present state.
func (a *Arena[T]) Mark() Mark { return a.at }

// Release takes back everything cut since the mark.
func (a *Arena[T]) Release(m Mark) { a.at = m }

// Reserve makes an arena from which nothing is cut hold n elements in one
// block, without others beside it.
func (a *Arena[T]) Reserve(n int) {
	n = roundUp[T](n)
	a.peak = max(a.peak, n)
	if len(a.blocks) != 1 || len(a.blocks[0]) < n {
		a.blocks = nil // before the new block, so that both need not be held
		a.grow(n)
	}
}

// Size is how many elements the arena holds, in use or not.
func (a *Arena[T]) Size() int {
	n := 0
	for _, b := range a.blocks {
		n += len(b)
	}
	return n
}

// Reset ends a call: it takes back everything that was cut, and gives up
// memory that the last calls would not have needed.
func (a *Arena[T]) Reset() {
	a.peaks[a.call] = a.peak
	a.call = (a.call + 1) % recent
	a.at, a.peak = Mark{}, 0
	need := a.recentPeak()
	if len(a.blocks) > 1 || a.Size() > max(need+need/4, minBlock[T]()) {
		a.blocks = nil
		a.grow(max(need, minBlock[T]()))
	}
}

// Clear zeroes everything, so that pointers in it keep nothing alive.
func (a *Arena[T]) Clear() {
	for _, b := range a.blocks {
		clear(b)
	}
}

// recentPeak is the largest peak of the last calls.
func (a *Arena[T]) recentPeak() int {
	n := 0
	for _, p := range a.peaks {
		n = max(n, p)
	}
	return n
}

func minBlock[T any]() int {
	var v T
	return max(1, minBytes/int(max(unsafe.Sizeof(v), 1)))
}

// perLine is how many elements fill a cache line, 1 if no whole number does.
func perLine[T any]() int {
	var v T
	if size := int(unsafe.Sizeof(v)); size > 0 && line%size == 0 {
		return line / size
	}
	return 1
}

// roundUp is the multiple of perLine that n elements take.
func roundUp[T any](n int) int {
	unit := perLine[T]()
	return n + (unit-n%unit)%unit
}

// Aligned returns n elements that start on a cache line where a whole number of
// elements fills one.
func Aligned[T any](n int) []T {
	var v T
	unit := perLine[T]()
	s := make([]T, n+unit-1)
	skip := 0
	if unit > 1 {
		skip = int(-uintptr(unsafe.Pointer(unsafe.SliceData(s)))%line) / int(unsafe.Sizeof(v))
	}
	return s[skip:][:n:n]
}
