package simd

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

var (
	inf = float32(math.Inf(1))
	nan = float32(math.NaN())
)

// A fence is a slice at some alignment with guard values on either side.
type fence struct {
	x, all []float32
	from   int
}

const fencepost = -7.25e33

func fenced(n, offset int) *fence {
	all := make([]float32, n+64)
	for i := range all {
		all[i] = fencepost
	}
	return &fence{all[16+offset:][:n:n], all, 16 + offset}
}

// holds reports whether all guards are there.
func (f *fence) holds() bool {
	for i, v := range f.all {
		if (i < f.from || i >= f.from+len(f.x)) && v != fencepost {
			return false
		}
	}
	return true
}

// lengths crosses every boundary of the vectors and of their groups of four.
func lengths() []int {
	var n []int
	for i := 1; i <= 70; i++ {
		n = append(n, i)
	}
	return append(n, 77, 127, 128, 129, 196, 197, 257, 768, 1025)
}

// over runs f for every kernel, length and some alignments.
func over(t *testing.T, f func(t *testing.T, k Kernel, n, offset int, r *rand.Rand)) {
	for _, k := range All() {
		t.Run(k.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for _, n := range lengths() {
				for _, offset := range []int{0, 1, 3} {
					f(t, k, n, offset, r)
				}
			}
		})
	}
}

func normal(r *rand.Rand, x []float32, scale float64) {
	for i := range x {
		x[i] = float32(scale * r.NormFloat64())
	}
}

// ulps is the distance of got from want in units in the last place of want.
func ulps(got float32, want float64) float64 {
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e, -125)-24)
}

func TestSoftmax(t *testing.T) {
	over(t, func(t *testing.T, k Kernel, n, offset int, r *rand.Rand) {
		f := fenced(n, offset)
		normal(r, f.x, math.Exp(3*r.Float64()))
		want := softmax64(f.x)
		k.Softmax(f.x)
		require.True(t, f.holds(), "guards, n = %d", n)
		for i, w := range want {
			if w > 1e-25 {
				// The difference from the largest is rounded before it is raised.
				require.Less(t, ulps(f.x[i], w), 4+2*math.Abs(math.Log(w)), "n = %d, entry %d is %g, want %g", n, i, f.x[i], w)
			} else {
				require.InDelta(t, w, f.x[i], 1e-29)
			}
		}
	})
}

func softmax64(x []float32) []float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, float64(v))
	}
	p, sum := make([]float64, len(x)), 0.0
	for i, v := range x {
		p[i] = math.Exp(float64(v) - top)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func TestSoftmaxOfSpecialValues(t *testing.T) {
	over(t, func(t *testing.T, k Kernel, n, offset int, r *rand.Rand) {
		x := fenced(n, offset).x
		at := r.IntN(n)
		k.Softmax(x[:0])

		normal(r, x, 3)
		x[at] = nan
		k.Softmax(x)
		requireAll(t, x, nan)
		normal(r, x, 3)
		x[at] = inf
		k.Softmax(x)
		requireAll(t, x, nan)
		for i := range x {
			x[i] = -inf
		}
		k.Softmax(x)
		requireAll(t, x, nan)
		for i := range x {
			x[i] = -inf
		}
		x[at] = -1e30
		k.Softmax(x)
		for i, v := range x {
			want := float32(0)
			if i == at {
				want = 1
			}
			require.Equal(t, want, v, "masked, n = %d", n)
		}
		for i := range x {
			x[i] = 1e30
		}
		k.Softmax(x)
		requireAll(t, x, 1/float32(n))
	})
}

func requireAll(t *testing.T, x []float32, want float32) {
	t.Helper()
	for i, v := range x {
		if want != want {
			require.True(t, v != v, "entry %d of %d is %g, want NaN", i, len(x), v)
		} else {
			require.InEpsilon(t, want, v, 3e-7, "entry %d of %d", i, len(x))
		}
	}
}

// TestExp2 bounds the error of expSum's exponential over its whole range.
func TestExp2(t *testing.T) {
	for _, k := range All() {
		t.Run(k.Name(), func(t *testing.T) {
			worst := 0.0
			x, y := make([]float32, 1024), make([]float32, 1024)
			for lo := -126.0; lo < 0; lo += 0.25 {
				for i := range x {
					x[i] = float32(lo + 0.25*float64(i)/1024)
				}
				copy(y, x)
				top, _ := k.table().vector.expSum(y, 0)
				require.Zero(t, top)
				for i, v := range x {
					worst = max(worst, ulps(y[i], math.Exp2(float64(v))))
				}
			}
			t.Logf("2^x within %.2f ulp", worst)
			require.Less(t, worst, 2.0)
		})
	}
}

func TestExpSum(t *testing.T) {
	over(t, func(t *testing.T, k Kernel, n, offset int, r *rand.Rand) {
		f := fenced(n, offset)
		normal(r, f.x, 5)
		x := append([]float32(nil), f.x...)
		floor := float32(5 * r.NormFloat64())
		top, sum := k.table().vector.expSum(f.x, floor)
		require.True(t, f.holds())
		wantTop, wantSum := float64(floor), 0.0
		for _, v := range x {
			wantTop = max(wantTop, float64(v))
		}
		require.Equal(t, float32(wantTop), top)
		for i, v := range x {
			e := math.Exp2(float64(v) - wantTop)
			wantSum += e
			require.InDelta(t, e, f.x[i], 4e-6*e, "n = %d, entry %d", n, i)
		}
		require.InEpsilon(t, wantSum, sum, 3e-6)

		for i := range x {
			x[i] = -inf
		}
		top, sum = k.table().vector.expSum(x, -math.MaxFloat32)
		require.Equal(t, float32(-math.MaxFloat32), top)
		require.Zero(t, sum)
		x[r.IntN(n)] = nan
		_, sum = k.table().vector.expSum(x, -math.MaxFloat32)
		require.True(t, sum != sum, "NaN is lost")
	})
}

func activation64(f Activation, v float32) float64 {
	x := float64(v)
	switch f {
	case QuickGELU:
		return x / (1 + math.Exp(-1.702*x))
	case GELU:
		return 0.5 * x * math.Erfc(-x/math.Sqrt2)
	case GELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case ReLU:
		return max(x, 0)
	}
	return x
}

func TestActivate(t *testing.T) {
	over(t, func(t *testing.T, k Kernel, n, offset int, r *rand.Rand) {
		for f := Identity; f <= GELUTanh; f++ {
			g := fenced(n, offset)
			normal(r, g.x, 2)
			x := append([]float32(nil), g.x...)
			k.Activate(f, g.x)
			require.True(t, g.holds())
			for i, v := range x {
				require.InDelta(t, activation64(f, v), g.x[i], 1e-7*max(1, math.Abs(float64(v))), "activation %d of %g", f, v)
			}
			x[r.IntN(n)] = nan
			k.Activate(f, x)
			count := 0
			for _, v := range x {
				if v != v {
					count++
				}
			}
			require.Equal(t, 1, count, "activation %d, n = %d: NaN stays where it is", f, n)
		}
		k.Activate(GELU, nil)
	})
}

// TestActivationError walks the functions densely.
func TestActivationError(t *testing.T) {
	for _, k := range All() {
		for f := QuickGELU; f <= GELUTanh; f++ {
			var above, below float64
			x, y := make([]float32, 1000), make([]float32, 1000)
			for lo := -20.0; lo < 20; lo += 0.125 {
				for i := range x {
					x[i] = float32(lo + 0.125*float64(i)/1000)
				}
				copy(y, x)
				k.Activate(f, y)
				for i, v := range x {
					if want := activation64(f, v); v > 0 {
						above = max(above, ulps(y[i], want))
					} else {
						below = max(below, math.Abs(float64(y[i])-want))
					}
				}
			}
			t.Logf("%s, activation %d: %.2f ulp above zero, %.2g below", k, f, above, below)
			assert.LessOrEqual(t, above, 2.0)
			assert.LessOrEqual(t, below, 1e-7)
		}
	}
}

func TestActivateSpecialValues(t *testing.T) {
	for _, k := range All() {
		for f := QuickGELU; f <= GELUTanh; f++ {
			x := []float32{0, inf, -inf, math.MaxFloat32, -math.MaxFloat32, 1e-40, 100, -100}
			k.Activate(f, x)
			for i, want := range []float32{0, inf, 0, math.MaxFloat32, 0, x[5], 100, 0} {
				require.Equal(t, want, x[i]+0, "%s, activation %d, entry %d", k, f, i)
			}
			require.InDelta(t, activation64(f, 1e-40), x[5], 2e-45)
		}
	}
}

func TestLayerNorm(t *testing.T) {
	over(t, func(t *testing.T, k Kernel, n, offset int, r *rand.Rand) {
		const rows = 3
		src, dst := fenced(rows*(n+5)-5, offset), fenced(rows*(n+2)-2, offset)
		mean := 30 * r.NormFloat64() // far larger than the deviation
		for i := range src.x {
			src.x[i] = float32(mean + r.NormFloat64())
		}
		weight, bias := make([]float32, n), make([]float32, n)
		normal(r, weight, 1)
		normal(r, bias, 1)
		const eps = 1e-5
		x := blas32.General{Rows: rows, Cols: n, Stride: n + 5, Data: src.x}
		y := blas32.General{Rows: rows, Cols: n, Stride: n + 2, Data: dst.x}
		k.LayerNorm(nil, y, x, weight, bias, eps)
		require.True(t, src.holds() && dst.holds())
		for i := range rows {
			want := layerNorm64(x.Data[i*x.Stride:][:n], weight, bias, eps)
			for j, w := range want {
				require.InDelta(t, w, y.Data[i*y.Stride+j], 4e-6*(1+math.Abs(mean))*math.Sqrt(float64(n)/float64(max(n-1, 1))), "row %d, column %d of %d", i, j, n)
			}
			for j := n; j < y.Stride && i+1 < rows; j++ {
				require.Equal(t, float32(fencepost), y.Data[i*y.Stride+j], "between rows")
			}
		}
		k.LayerNorm(nil, x, x, weight, bias, eps)
		for i := range rows {
			require.Equal(t, y.Data[i*y.Stride:][:n], x.Data[i*x.Stride:][:n], "in place")
		}
	})
}

func layerNorm64(x, weight, bias []float32, eps float64) []float64 {
	var sum, squares float64
	for _, v := range x {
		sum += float64(v)
	}
	mean := sum / float64(len(x))
	for _, v := range x {
		squares += (float64(v) - mean) * (float64(v) - mean)
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = (float64(v)-mean)/math.Sqrt(squares/float64(len(x))+eps)*float64(weight[i]) + float64(bias[i])
	}
	return y
}

func TestLayerNormWorkers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x := random(r, 197, 768)
	w := random(r, 2, 768)
	for _, k := range All() {
		one, two := random(r, 197, 768), random(r, 197, 768)
		k.LayerNorm(NewTeam(1), one, x, w.Data[:768], w.Data[768:], 1e-6)
		team := NewTeam(2)
		k.LayerNorm(team, two, x, w.Data[:768], w.Data[768:], 1e-6)
		require.Equal(t, one.Data, two.Data)
		require.Zero(t, testing.AllocsPerRun(10, func() { k.LayerNorm(team, two, x, w.Data[:768], w.Data[768:], 1e-6) }))
		team.Close()
	}
}

func TestAddLerpDot(t *testing.T) {
	over(t, func(t *testing.T, k Kernel, n, offset int, r *rand.Rand) {
		a, b, c := fenced(n, offset), fenced(n, (offset+2)%5), fenced(n, 0)
		normal(r, a.x, 1)
		normal(r, b.x, 1)
		k.Add(c.x, a.x, b.x)
		for i, v := range c.x {
			require.Equal(t, a.x[i]+b.x[i], v)
		}
		wa, wb := r.Float32(), r.Float32()
		k.Lerp(c.x, a.x, b.x, wa, wb)
		exact, magnitude := 0.0, 0.0
		for i, v := range c.x {
			require.Equal(t, float32(wa*a.x[i])+float32(wb*b.x[i]), v)
			exact += float64(a.x[i]) * float64(b.x[i])
			magnitude += math.Abs(float64(a.x[i]) * float64(b.x[i]))
		}
		require.InDelta(t, exact, k.Dot(a.x, b.x), float64(n)*0x1p-23*magnitude)
		require.True(t, a.holds() && b.holds() && c.holds())
		k.Add(c.x, a.x, b.x)
		k.Add(a.x, a.x, b.x)
		require.Equal(t, c.x, a.x, "in place")
		at := r.IntN(n)
		a.x[at], b.x[at] = inf, 0
		require.True(t, math.IsNaN(float64(k.Dot(a.x, b.x))), "∞·0 is lost")
		require.Zero(t, k.Dot(nil, nil))
	})
}

func TestScaleAndGrid(t *testing.T) {
	over(t, func(t *testing.T, k Kernel, n, offset int, r *rand.Rand) {
		v := &k.table().vector
		a, dst := fenced(n, offset), fenced(n, (offset+2)%5)
		normal(r, a.x, 1)
		w := float32(r.NormFloat64())
		at := r.IntN(n)
		a.x[at] = inf
		v.scale(dst.x, a.x, w)
		for i, x := range a.x {
			require.Equal(t, w*x, dst.x[i], "n = %d, entry %d", n, i)
		}
		a.x[at] = nan
		v.scale(a.x, a.x, w)
		require.True(t, a.x[at] != a.x[at], "NaN is lost")
		require.True(t, a.holds() && dst.holds())

		const rows = 3
		x, row, col := fenced(rows*n, offset), fenced(rows, 0), fenced(n, (offset+1)%5)
		normal(r, x.x, 1)
		normal(r, row.x, 1)
		normal(r, col.x, 1)
		want := append([]float32(nil), x.x...)
		addGridGo(want, row.x, col.x, w)
		v.addGrid(x.x, row.x, col.x, w)
		for i, y := range want { // one rounding or two
			require.InDelta(t, y, x.x[i], 4*eps*(math.Abs(float64(y))+10), "n = %d, entry %d", n, i)
		}
		require.True(t, x.holds() && row.holds() && col.holds())
	})
}

func TestTranspose(t *testing.T) {
	for _, k := range All() {
		r := rand.New(rand.NewPCG(5, 6))
		for _, rows := range []int{1, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33} {
			for _, cols := range []int{1, 2, 4, 7, 8, 9, 15, 16, 17, 33, 64, 67} {
				src, dst := newGuarded(r, rows, cols, cols+r.IntN(4)), newGuarded(r, cols, rows, rows+r.IntN(4))
				k.table().vector.transpose(dst.Data, dst.Stride, src.Data, src.Stride, rows, cols)
				src.unchanged(t, "src")
				dst.checkGuards(t)
				for i := range rows {
					for j := range cols {
						if src.Data[i*src.Stride+j] != dst.Data[j*dst.Stride+i] {
							t.Fatalf("%s: %d×%d, entry %d, %d", k, rows, cols, i, j)
						}
					}
				}
			}
		}
	}
}

func TestMinMax(t *testing.T) {
	over(t, func(t *testing.T, k Kernel, n, offset int, r *rand.Rand) {
		f := fenced(n, offset)
		normal(r, f.x, 1)
		for range 3 {
			wantLo, wantHi := minMaxGo(f.x)
			lo, hi := k.MinMax(f.x)
			require.Equal(t, []float32{wantLo, wantHi}, []float32{lo, hi}, "n = %d", n)
			f.x[r.IntN(n)] = inf
			f.x[r.IntN(n)] = -inf
		}
		f.x[r.IntN(n)] = nan
		lo, hi := k.MinMax(f.x)
		require.True(t, lo != lo && hi != hi, "NaN is lost, n = %d", n)
		require.Panics(t, func() { k.MinMax(nil) })
	})
}

// TestConversions converts every number there is.
func TestConversions(t *testing.T) {
	src := make([]byte, 2<<16)
	for i := range 1 << 16 {
		binary.LittleEndian.PutUint16(src[2*i:], uint16(i))
	}
	for _, k := range All() {
		t.Run(k.Name(), func(t *testing.T) {
			dst := make([]float32, 1<<16)
			k.FromF16(dst, src)
			for i, got := range dst {
				sign, e, m := float64(1-2*(i>>15)), i>>10&31, float64(i&1023)
				want := sign * math.Ldexp(1+m/1024, e-15)
				switch {
				case e == 0:
					want = sign * math.Ldexp(m/1024, -14)
				case e == 31 && m == 0:
					want = math.Inf(int(sign))
				case e == 31:
					require.True(t, got != got, "%#04x", i)
					continue
				}
				require.Equal(t, math.Float64bits(want), math.Float64bits(float64(got)), "%#04x", i)
			}
			k.FromBF16(dst, src)
			for i, got := range dst {
				require.Equal(t, uint32(i)<<16, math.Float32bits(got), "%#04x", i)
			}
		})
	}
	over(t, func(t *testing.T, k Kernel, n, offset int, r *rand.Rand) {
		f := fenced(n, offset)
		from := src[2*r.IntN(1000)+1:][:2*n]
		k.FromF16(f.x, from)
		require.True(t, f.holds())
		for i, v := range f.x {
			require.Equal(t, math.Float32bits(f16(binary.LittleEndian.Uint16(from[2*i:]))), math.Float32bits(v))
		}
	})
	//lint:ignore SA5012 half a number is what is tested
	require.Panics(t, func() { Best().FromF16(make([]float32, 2), src[:3]) })
}

func BenchmarkVector(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const n = 3072
	x, y, z := make([]float32, n), make([]float32, n), make([]float32, n)
	half := make([]byte, 2*n)
	for _, k := range All() {
		v := k.table().vector
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"softmax/1025", func() { v.softmax(x[:1025]) }},
			{"softmax/197", func() { v.softmax(x[:197]) }},
			{"expSum/197", func() { v.expSum(x[:197], 0) }},
			{"expSum/1025", func() { v.expSum(x[:1025], 0) }},
			{"gelu/3072", func() { v.gelu(x) }},
			{"quickGELU/3072", func() { v.quickGELU(x) }},
			{"relu/3072", func() { v.relu(x) }},
			{"layerNorm/768", func() { v.layerNorm(y[:768], x[:768], z[:768], z[:768], 1e-5) }},
			{"add/3072", func() { v.add(y, x, z) }},
			{"dot/768", func() { v.dot(y[:768], z[:768]) }},
			{"minMax/3072", func() { v.minMax(x) }},
			{"fromF16/3072", func() { v.fromF16(x, half) }},
			{"fromBF16/3072", func() { v.fromBF16(x, half) }},
		} {
			b.Run(fmt.Sprintf("%s/%s", c.name, k), func(b *testing.B) {
				normal(r, x, 1)
				normal(r, y, 1)
				normal(r, z, 1)
				best := shortest(b, c.f)
				b.ReportMetric(best, "ns/best")
			})
		}
	}
}

// shortest is the time of one call in ns, the best of many groups, because
// machines are shared.
func shortest(b *testing.B, f func()) float64 {
	const group = 64
	best := math.Inf(1)
	for b.Loop() {
		from := time.Now()
		for range group {
			f()
		}
		best = min(best, float64(time.Since(from).Nanoseconds())/group)
	}
	return best
}
