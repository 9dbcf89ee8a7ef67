package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMatMulStrassen(t *testing.T) {
	for _, k := range All() {
		t.Run(k.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for _, m := range []int{0, 1, 2, 3, 27, 28, 29, 223, 224, 225, 226, 449} {
				for _, s := range [][2]int{{2, 2}, {4, 30}, {62, 64}, {66, 98}, {130, 1540}} {
					n, depth := s[0], s[1]
					if depth > 1000 && m > 30 {
						continue
					}
					a, b := newGuarded(r, m, depth, depth+r.IntN(3)), newGuarded(r, n, depth, depth+r.IntN(3))
					packed := PackStrassen(k, b.General)
					for _, e := range []Epilogue{{}, {Alpha: -0.5, Act: ReLU, Bias: newGuarded(r, 1, n, n).Data}} {
						dst := newGuarded(r, m, n, n+r.IntN(3))
						k.MatMulStrassen(nil, dst.General, a.General, packed, e)
						a.unchanged(t, "a")
						b.unchanged(t, "b")
						dst.checkGuards(t)
						checkStrassen(t, dst, a, b, e)

						again := newGuarded(r, m, n, n)
						for _, workers := range []int{2, 5} {
							team := NewTeam(workers)
							k.MatMulStrassen(team, again.General, a.General, packed, e)
							team.Close()
							for i := range m {
								require.Equal(t, dst.Data[i*dst.Stride:][:n], again.Data[i*n:][:n], "%d workers", workers)
							}
						}
					}
				}
			}
		})
	}
	require.Panics(t, func() { PackStrassen(Best(), random(rand.New(rand.NewPCG(1, 2)), 3, 4)) })
}

// checkStrassen compares dst with the exact product by the bound of
// MatMulStrassen; operands are at most 1.
func checkStrassen(t *testing.T, dst, a, b *guarded, e Epilogue) {
	t.Helper()
	alpha, bound := 1.0, 4.5*float64(a.Cols)*float64(a.Cols+16)*eps
	if e.Alpha != 0 {
		alpha = float64(e.Alpha)
	}
	for i := range dst.Rows {
		for j := range dst.Cols {
			var sum float64
			for p := range a.Cols {
				sum += float64(a.Data[i*a.Stride+p]) * float64(b.Data[j*b.Stride+p])
			}
			sum *= alpha
			slack := bound * math.Abs(alpha)
			if e.Bias != nil {
				sum += float64(e.Bias[j])
				slack += 2 * eps * float64(a.Cols+2) // the bias rides through up to two more sums
			}
			if e.Act == ReLU {
				sum = max(sum, 0)
			}
			if got := float64(dst.Data[i*dst.Stride+j]); !(math.Abs(got-sum) <= slack) {
				t.Fatalf("%d×%d×%d, entry %d, %d: got %v, want %v ± %.3g", dst.Rows, a.Cols, dst.Cols, i, j, got, sum, slack)
			}
		}
	}
}

func TestMatMulStrassenAllocations(t *testing.T) {
	if raced {
		return
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range All() {
		if k.table().gemm.run == nil {
			continue
		}
		a, b, dst := random(r, 301, 64), PackStrassen(k, random(r, 64, 64)), random(r, 301, 64)
		require.Zero(t, testing.AllocsPerRun(20, func() { k.MatMulStrassen(nil, dst, a, b, Epilogue{Act: GELU}) }), k)
	}
}

// BenchmarkStrassen alternates both ways and reports the best run of each.
func BenchmarkStrassen(b *testing.B) {
	for _, k := range All() {
		if k.table().gemm.run == nil {
			continue
		}
		for _, s := range [][3]int{{4096, 768, 768}, {4096, 768, 3072}, {4096, 3072, 768}, {1025, 768, 3072}} {
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/workers=%d", k, s[0], s[1], s[2], workers), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 2))
					x, w, dst := random(r, s[0], s[1]), random(r, s[2], s[1]), random(r, s[0], s[2])
					plain, strassen := Pack(k, w), PackStrassen(k, w)
					team := NewTeam(workers)
					defer team.Close()
					times := [2]time.Duration{math.MaxInt64, math.MaxInt64}
					for b.Loop() {
						from := time.Now()
						k.MatMul(team, dst, x, plain, Epilogue{})
						middle := time.Now()
						k.MatMulStrassen(team, dst, x, strassen, Epilogue{})
						times[0], times[1] = min(times[0], middle.Sub(from)), min(times[1], time.Since(middle))
					}
					b.ReportMetric(float64(times[0])/float64(times[1]), "×MatMul")
				})
			}
		}
	}
}
