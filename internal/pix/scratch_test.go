package pix

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestScratchShrinks: pictures of growing size leave the memory of the largest,
// and small ones after them almost nothing.
func TestScratchShrinks(t *testing.T) {
	var s Scratch
	size := func() int { return s.bytes.Size() + 4*s.ints.Size() + 8*s.pairs.Size() }
	picture := func(n int) {
		s.newBytes(3 * n)
		s.newBytes(3 * n)
		s.newPairs(n)
		s.newInts(n)[0] = 1
		s.newTaps(100)[99].weights = s.newInts(5)
		s.Reset()
	}
	const largest = 24 * 10_000
	for i := range 24 {
		picture((i + 1) * largest / 24)
	}
	require.LessOrEqual(t, size(), 18*largest+4096)
	require.Nil(t, s.newTaps(100)[99].weights, "no pointer is left")
	s.Reset()
	for range 8 {
		picture(10)
	}
	require.Less(t, size(), 100_000)
}
