package simd

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/clipsurgery/clipsurgery/simd/internal/fmapeak"
	"gonum.org/v1/gonum/blas/blas32"
)

func random(r *rand.Rand, rows, cols int) blas32.General {
	m := blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
	for i := range m.Data {
		m.Data[i] = r.Float32()*2 - 1
	}
	return m
}

// BenchmarkMatMul reports the best run of each shape, because machines are
// shared, and its part of the machine's peak measured in the same breath.
func BenchmarkMatMul(b *testing.B) {
	shapes := []struct {
		m, k, n int
		e       Epilogue
	}{
		{m: 197, k: 768, n: 768},
		{m: 1025, k: 768, n: 3072},
		{m: 1025, k: 3072, n: 768},
		{m: 4096, k: 768, n: 768},
		{m: 12, k: 768, n: 3072},
		{m: 1, k: 768, n: 3072},
		{m: 1024, k: 1024, n: 1024},
	}
	for _, k := range All() {
		for _, s := range shapes {
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/workers=%d", k, s.m, s.k, s.n, workers), func(b *testing.B) {
					r := rand.New(rand.NewPCG(1, 2))
					x, w := random(r, s.m, s.k), Pack(k, random(r, s.n, s.k))
					dst := random(r, s.m, s.n)
					t := NewTeam(workers)
					defer t.Close()
					best := time.Duration(1 << 62)
					peak := fmapeak.Measure(k.Name(), 2*time.Millisecond)
					for b.Loop() {
						from := time.Now()
						k.MatMul(t, dst, x, w, s.e)
						best = min(best, time.Since(from))
					}
					peak = max(peak, fmapeak.Measure(k.Name(), 2*time.Millisecond))
					gflops := 2 * float64(s.m) * float64(s.k) * float64(s.n) / float64(best.Nanoseconds())
					b.ReportMetric(gflops, "GFLOP/s")
					if peak > 0 {
						b.ReportMetric(100*gflops/peak/float64(workers), "%peak")
						b.ReportMetric(peak, "peak")
					}
				})
			}
		}
	}
}
