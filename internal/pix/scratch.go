package pix

import "github.com/clipsurgery/clipsurgery/internal/scratch"

// Scratch is memory that pictures are prepared in, one after another, so that
// the next one allocates next to nothing. What its methods return is valid
// until Reset. The zero Scratch is ready for use, a nil one allocates. It is
// not safe for concurrent use.
type Scratch struct {
	bytes scratch.Arena[uint8]
	ints  scratch.Arena[int32]
	pairs scratch.Arena[int64]
	taps  scratch.Arena[taps]
}

// Reset takes back everything that was returned.
func (s *Scratch) Reset() {
	s.bytes.Reset()
	s.ints.Reset()
	s.pairs.Reset()
	s.taps.Clear() // which point to ints
	s.taps.Reset()
}

func (s *Scratch) newBytes(n int) []uint8 {
	if s == nil {
		return make([]uint8, n)
	}
	return s.bytes.Take(n)
}

func (s *Scratch) newInts(n int) []int32 {
	if s == nil {
		return make([]int32, n)
	}
	return s.ints.Take(n)
}

func (s *Scratch) newPairs(n int) []int64 {
	if s == nil {
		return make([]int64, n)
	}
	return s.pairs.Take(n)
}

func (s *Scratch) newTaps(n int) []taps {
	if s == nil {
		return make([]taps, n)
	}
	return s.taps.Take(n)
}
