package pix

// Scratch is memory that pictures are prepared in, one after another, so that
// the next one allocates next to nothing. What its methods return is valid
// until Reset. The zero Scratch is ready for use, a nil one allocates. It is
// not safe for concurrent use.
type Scratch struct {
	bytes arena[uint8]
	ints  arena[int32]
	pairs arena[int64]
	taps  arena[taps]
}

// Reset takes back everything that was returned.
func (s *Scratch) Reset() {
	s.bytes.reset()
	s.ints.reset()
	s.pairs.reset()
	s.taps.reset()
}

func (s *Scratch) newBytes(n int) []uint8 {
	if s == nil {
		return make([]uint8, n)
	}
	return s.bytes.take(n)
}

func (s *Scratch) newInts(n int) []int32 {
	if s == nil {
		return make([]int32, n)
	}
	return s.ints.take(n)
}

func (s *Scratch) newPairs(n int) []int64 {
	if s == nil {
		return make([]int64, n)
	}
	return s.pairs.take(n)
}

func (s *Scratch) newTaps(n int) []taps {
	if s == nil {
		return make([]taps, n)
	}
	return s.taps.take(n)
}

const minBlock = 1 << 12

// arena cuts slices of unspecified content from blocks that it keeps.
type arena[T any] struct {
	blocks      [][]T
	block, used int
}

func (a *arena[T]) take(n int) []T {
	for ; a.block < len(a.blocks); a.block, a.used = a.block+1, 0 {
		if b := a.blocks[a.block]; len(b)-a.used >= n {
			a.used += n
			return b[a.used-n : a.used : a.used]
		}
	}
	a.blocks = append(a.blocks, make([]T, max(n, minBlock)))
	a.used = n
	return a.blocks[a.block][:n:n]
}

func (a *arena[T]) reset() { a.block, a.used = 0, 0 }
