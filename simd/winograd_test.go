package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The transforms by their matrices; all kernels give the same numbers and touch
// nothing else.
func TestWinograd(t *testing.T) {
	input := map[int][][]float64{
		2: {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}},
		4: {{4, 0, -5, 0, 1, 0}, {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0}, {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}},
	}
	output := map[int][][]float64{
		2: {{1, 1, 1, 0}, {0, 1, -1, -1}},
		4: {{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}},
	}
	for _, k := range All() {
		for m := range input {
			for _, n := range []int{1, 3, 4, 5, 8, 15, 16, 17, 32, 67} {
				for _, act := range []Activation{QuickGELU, Identity, ReLU} { // the first for the input
					matrix, what := output[m], "output"
					if act == QuickGELU {
						matrix, what = input[m], "input"
					}
					t.Run(fmt.Sprint(k, m, n, what, act), func(t *testing.T) {
						r := rand.New(rand.NewPCG(uint64(n), uint64(m)))
						const count = 3
						// Neighboring items of src share vectors, those of dst lie apart.
						src := newGuarded(r, m*count+2, n, n+2)
						dst := newGuarded(r, count*len(matrix), n, n+1)
						from := Spaced{src.Data, src.Stride, m * src.Stride}
						to := Spaced{dst.Data, dst.Stride, len(matrix) * dst.Stride}
						if what == "input" {
							k.WinogradInput(m, to, from, n, count)
						} else {
							k.WinogradOutput(m, to, from, n, count, act)
						}
						src.unchanged(t, "src")
						dst.checkGuards(t)
						for item := range count {
							for i, row := range matrix {
								for j := range n {
									var sum, mag float64
									for v, w := range row {
										x := w * float64(src.Data[(m*item+v)*src.Stride+j])
										sum, mag = sum+x, mag+math.Abs(x)
									}
									if act == ReLU {
										sum = max(sum, 0)
									}
									require.InDelta(t, sum, dst.Data[(item*len(matrix)+i)*dst.Stride+j], 4*eps*mag)
								}
							}
						}
						plain := newGuarded(r, count*len(matrix), n, n+1)
						to.Data = plain.Data
						if what == "input" {
							Kernel{}.WinogradInput(m, to, from, n, count)
						} else {
							Kernel{}.WinogradOutput(m, to, from, n, count, act)
						}
						require.Equal(t, plain.all, dst.all)
						src.Data[0] = nan
						if what == "output" { // which the first row takes
							k.WinogradOutput(m, to, from, n, count, act)
							require.True(t, math.IsNaN(float64(plain.Data[0])))
						}
						require.Panics(t, func() { k.WinogradInput(3, to, from, n, count) })
						require.Panics(t, func() { k.WinogradInput(m, to, Spaced{from.Data[:n], 0, n}, n, count) })
					})
				}
			}
		}
	}
}
