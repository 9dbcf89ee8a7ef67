package nn

import (
	"math"

	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// Finite reports whether v is neither NaN nor infinite.
func Finite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }

// NotFinite returns the first row of m that holds a value that is not finite,
// which come of weights or inputs so large that something overflowed; -1 if
// there is none.
func NotFinite(k simd.Kernel, m blas32.General) int {
	for i := range m.Rows {
		if m.Cols == 0 {
			break
		}
		if lo, hi := k.MinMax(m.Data[i*m.Stride:][:m.Cols]); !Finite(lo) || !Finite(hi) {
			return i
		}
	}
	return -1
}
