package nn

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32()*2 - 1
	}
	return x
}

// convolve is the definition, in float64; scale is the sum of magnitudes.
func convolve(src blas32.General, size image.Point, weight []float32, out int, bias []float32, relu bool) (dst, scale []float64) {
	in := src.Cols
	for p := range src.Rows {
		for o := range out {
			sum := float64(bias[o])
			mag := math.Abs(sum)
			for t := range 9 {
				x, y := p%size.X+t%3-1, p/size.X+t/3-1
				if !image.Pt(x, y).In(image.Rectangle{Max: size}) {
					continue
				}
				for i := range in {
					v := float64(src.Data[(y*size.X+x)*src.Stride+i]) * float64(weight[(o*in+i)*9+t])
					sum += v
					mag += math.Abs(v)
				}
			}
			if relu {
				sum = max(sum, 0)
			}
			dst, scale = append(dst, sum), append(scale, mag)
		}
	}
	return dst, scale
}

func TestConv3x3(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range simd.All() {
		for _, c := range []struct {
			size    image.Point
			in, out int
		}{
			{image.Pt(1, 1), 3, 5}, {image.Pt(2, 1), 1, 1}, {image.Pt(1, 4), 7, 2}, {image.Pt(5, 3), 16, 33},
			{image.Pt(6, 6), 32, 16}, {image.Pt(7, 7), 64, 48}, {image.Pt(64, 9), 9, 17}, {image.Pt(9, 70), 24, 8},
		} {
			weight, bias := random(r, c.out*c.in*9), random(r, c.out)
			n := c.size.X * c.size.Y
			src := Matrix(random(r, n*c.in), n, c.in)
			for _, act := range []simd.Activation{simd.Identity, simd.ReLU} {
				want, scale := convolve(src, c.size, weight, c.out, bias, act == simd.ReLU)
				for method := Patches; method <= Winograd4; method++ {
					conv := NewConv3x3(k, weight, c.out, c.in, bias, method)
					var first []float32
					for _, workers := range []int{1, 2, 5} {
						team := simd.NewTeam(workers)
						dst := Matrix(random(r, n*c.out), n, c.out)
						r := &Call{Exec: Exec{k, team}, Workspace: new(Workspace)}
						conv.Apply(r, dst, src, c.size, act)
						team.Close()
						require.Equal(t, scratch.Mark{}, r.Mark())
						for i, v := range dst.Data {
							if math.Abs(float64(v)-want[i]) > [...]float64{1e-6, 1e-6, 5e-6}[method]*scale[i] {
								t.Fatalf("%v, %v, %d→%d, method %v: entry %d: want %v, got %v", k, c.size, c.in, c.out, method, i, want[i], v)
							}
						}
						if first == nil {
							first = dst.Data
						}
						require.Equal(t, first, dst.Data, "%d workers", workers)
					}
				}
			}
		}
	}
}

func TestAveragePool(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, k := range simd.All() {
		for _, size := range []image.Point{{2, 2}, {3, 2}, {7, 5}, {16, 9}} {
			n, c, half := size.X*size.Y, 19, size.Div(2)
			src := Matrix(random(r, n*c), n, c)
			dst := Matrix(random(r, half.X*half.Y*c), half.X*half.Y, c)
			team := simd.NewTeam(3)
			AveragePool(&Call{Exec: Exec{k, team}, Workspace: new(Workspace)}, dst, src, size)
			team.Close()
			for p := range dst.Rows {
				x, y := 2*(p%half.X), 2*(p/half.X)
				for i := range c {
					var sum float64
					for _, q := range []int{y*size.X + x, y*size.X + x + 1, (y+1)*size.X + x, (y+1)*size.X + x + 1} {
						sum += float64(src.Data[q*c+i])
					}
					require.InDelta(t, sum/4, dst.Data[p*c+i], 3e-7)
				}
			}
		}
	}
}

// The 3×3 convolutions of RN50 on a picture of 224 pixels.
func BenchmarkConv3x3(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	k := simd.Best()
	for _, c := range []struct{ side, in, out int }{
		{112, 32, 32}, {112, 32, 64}, {56, 64, 64}, {56, 128, 128}, {28, 128, 128}, {28, 256, 256}, {14, 256, 256}, {14, 512, 512}, {7, 512, 512},
	} {
		for method, kind := range []string{"patches", "winograd2", "winograd4"} {
			b.Run(fmt.Sprintf("%d²×%d→%d/%s", c.side, c.in, c.out, kind), func(b *testing.B) {
				size := image.Pt(c.side, c.side)
				n := size.X * size.Y
				conv := NewConv3x3(k, random(r, c.out*c.in*9), c.out, c.in, random(r, c.out), Method(method))
				src, dst := Matrix(random(r, n*c.in), n, c.in), Matrix(random(r, n*c.out), n, c.out)
				team := simd.NewTeam(1)
				defer team.Close()
				r := &Call{Exec: Exec{k, team}, Workspace: new(Workspace)}
				b.ReportAllocs()
				for b.Loop() {
					conv.Apply(r, dst, src, size, simd.ReLU)
				}
				b.ReportMetric(2*float64(n*9*c.in*c.out)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
