package chroma

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// djpeg 2.1.5 (libjpeg-turbo), default "fancy" upsampling, of one row of
// chroma samples 0 100 200 next to 100 100 100.
func TestTriangleUpsampling(t *testing.T) {
	near, far := []uint8{0, 100, 200}, []uint8{100, 100, 100}
	out := make([]uint8, 6)
	H2V1(out, near)
	require.Equal(t, []uint8{0, 25, 75, 125, 175, 200}, out)
	H2V2(out, near, far)
	require.Equal(t, []uint8{25, 44, 81, 119, 156, 175}, out)
	H1V2(out[:3], near, far, false)
	require.Equal(t, []uint8{25, 100, 175}, out[:3])
	H1V2(out[:3], []uint8{1, 1, 1}, []uint8{0, 0, 0}, true) // rounds otherwise
	require.Equal(t, []uint8{1, 1, 1}, out[:3])
}

func TestRepeat(t *testing.T) {
	out := make([]uint8, 7)
	Repeat(out, []uint8{1, 2}, 4)
	require.Equal(t, []uint8{1, 1, 1, 1, 2, 2, 2}, out)
}
