package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

const eps = 1.0 / (1 << 24) // half the distance from 1 to the next float32

// guarded is a random matrix in a larger array whose other values no kernel
// may touch.
type guarded struct {
	blas32.General
	all  []float32
	copy []float32
}

const (
	guard       = 1e30
	guardMargin = 19 // odd, so that rows start at every alignment
)

func newGuarded(r *rand.Rand, rows, cols, stride int) *guarded {
	const margin = guardMargin
	g := &guarded{all: make([]float32, margin+rows*stride+margin)}
	for i := range g.all {
		g.all[i] = guard
	}
	g.General = blas32.General{Rows: rows, Cols: cols, Stride: stride, Data: g.all[margin : margin+rows*stride]}
	for i := range rows {
		for j := range cols {
			g.Data[i*stride+j] = r.Float32()*2 - 1
		}
	}
	g.copy = append([]float32(nil), g.all...)
	return g
}

func (g *guarded) unchanged(t *testing.T, what string) {
	t.Helper()
	require.True(t, slices.Equal(g.copy, g.all), "%s was written to", what)
}

// guarded fails if anything outside the matrix changed.
func (g *guarded) checkGuards(t *testing.T) {
	t.Helper()
	const margin = guardMargin
	for i, v := range g.all {
		at := i - margin
		inside := at >= 0 && at < g.Rows*g.Stride && at%g.Stride < g.Cols
		if !inside && v != guard {
			t.Fatalf("value %d outside the destination became %v", at, v)
		}
	}
}

// checkProduct compares dst with e(a·bᵀ) in float64.
func checkProduct(t *testing.T, dst *guarded, before blas32.General, a, b blas32.General, e Epilogue) {
	t.Helper()
	dst.checkGuards(t)
	alpha := float64(e.Alpha)
	if alpha == 0 {
		alpha = 1
	}
	for i := range dst.Rows {
		for j := range dst.Cols {
			var sum, mag float64
			for p := range a.Cols {
				v := float64(a.Data[i*a.Stride+p]) * float64(b.Data[j*b.Stride+p])
				sum += v
				mag += math.Abs(v)
			}
			sum *= alpha
			mag *= math.Abs(alpha) * float64(max(a.Cols, 1))
			if e.Bias != nil {
				sum += float64(e.Bias[j])
				mag += math.Abs(sum)
			}
			if e.Residual.Data != nil {
				sum += float64(before.Data[i*before.Stride+j])
				mag += math.Abs(sum)
			}
			switch e.Act {
			case QuickGELU:
				sum = sum / (1 + math.Exp(-1.702*sum))
			case GELU:
				sum = 0.5 * sum * (1 + math.Erf(sum/math.Sqrt2))
			case GELUTanh:
				sum = activation64(GELUTanh, float32(sum))
			case ReLU:
				sum = max(sum, 0)
			}
			bound := 2 * eps * (1.2*mag + 4*math.Abs(sum)) // activations have slopes up to 1.13
			got := float64(dst.Data[i*dst.Stride+j])
			if !(math.Abs(got-sum) <= bound) {
				t.Fatalf("entry %d, %d: got %v, want %v ± %.3g", i, j, got, sum, bound)
			}
		}
	}
}

// TestTile runs every body of every tile.
func TestTile(t *testing.T) {
	for _, k := range All() {
		tile := &k.table().gemm
		if tile.run == nil {
			continue
		}
		t.Run(k.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for rows := 1; rows <= tile.rows; rows++ {
				for cols := 1; cols <= 2*tile.lanes; cols++ {
					for _, depth := range []int{1, 3, 4, 5, 11} {
						_, width := newPacked(k, cols, depth).panel(0)
						a, b := newGuarded(r, rows, depth, depth+r.IntN(3)), newGuarded(r, depth, width, width)
						c, in, bias := newGuarded(r, rows, cols, cols+r.IntN(3)), newGuarded(r, rows, cols, cols+r.IntN(3)), newGuarded(r, 1, cols, cols)
						floor, want := float32(0), make([]float32, rows*cols)
						inp, biasp := in.Data, bias.Data
						switch r.IntN(4) {
						case 0:
							inp = nil
						case 1:
							biasp = nil
						case 2:
							floor = -inf
						}
						first := func(x []float32) *float32 {
							if x == nil {
								return nil
							}
							return &x[0]
						}
						gemmTile(rows, cols, depth, a.Data, a.Stride, b.Data, width, want, cols, inp, in.Stride, biasp, 1.5, floor)
						tile.run(rows, cols, depth, &a.Data[0], a.Stride, &b.Data[0], &c.Data[0], c.Stride, first(inp), in.Stride, first(biasp), 1.5, floor, &b.Data[0])
						for _, g := range []*guarded{a, b, in, bias} {
							g.unchanged(t, "an operand")
						}
						c.checkGuards(t)
						for i := range rows {
							for j := range cols {
								if got := c.Data[i*c.Stride+j]; math.Abs(float64(got-want[i*cols+j])) > 4*eps*float64(depth*(depth+2)+4) {
									t.Fatalf("%d×%d×%d: entry %d, %d is %v, want %v", rows, depth, cols, i, j, got, want[i*cols+j])
								}
							}
						}
					}
				}
			}
		})
	}
}

func TestMatMul(t *testing.T) {
	sizes := func(tile int) []int { return []int{1, 2, 3, 5, tile - 1, tile, tile + 1, 2*tile + 1} }
	for _, k := range All() {
		t.Run(k.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for _, m := range append(sizes(6), sizes(14)...) {
				for _, n := range append(sizes(8), 15, 16, 17, 24, 31, 32, 33, 48, 49, 63, 64, 65) {
					depth := []int{1, 3, 4, 7, 8, 33}[r.IntN(6)]
					if r.IntN(40) == 0 {
						depth = 767 + r.IntN(3)
					}
					team := NewTeam(1 + r.IntN(2))
					a, b := newGuarded(r, m, depth, depth+r.IntN(3)), newGuarded(r, n, depth, depth+r.IntN(3))
					dst := newGuarded(r, m, n, n+r.IntN(3))
					e := Epilogue{Act: Activation(r.IntN(4))}
					if r.IntN(2) == 0 {
						e.Alpha = 1.5
					}
					if r.IntN(2) == 0 {
						e.Bias = newGuarded(r, 1, n, n).Data
					}
					before := blas32.General{Rows: m, Cols: n, Stride: dst.Stride, Data: append([]float32(nil), dst.Data...)}
					switch r.IntN(4) {
					case 0:
						e.Residual = dst.General
					case 1:
						e.Residual = newGuarded(r, m, n, n+1).General
						before = e.Residual
					}
					name := fmt.Sprintf("%d×%d×%d %+v", m, depth, n, e.Act)
					packed := Pack(k, b.General)
					if r.IntN(2) == 0 {
						bt := newGuarded(r, depth, n, n+r.IntN(3))
						for i := range depth {
							for j := range n {
								bt.Data[i*bt.Stride+j] = b.Data[j*b.Stride+i]
							}
						}
						packed = PackTransposed(k, bt.General)
					}
					k.MatMul(team, dst.General, a.General, packed, e)
					team.Close()
					t.Log(name)
					checkProduct(t, dst, before, a.General, b.General, e)
					a.unchanged(t, "a")
					b.unchanged(t, "b")
				}
			}
		})
	}
}

// TestMatMulDepths crosses the boundaries of the unrolled steps and of the
// depth after which sums are written back.
func TestMatMulDepths(t *testing.T) {
	for _, k := range All() {
		t.Run(k.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			for _, depth := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 767, 768, 769, 1023, 1024, 1025, 2047, 2049, 3072} {
				for _, e := range []Epilogue{{}, {Alpha: -0.5, Act: ReLU}} {
					const m, n = 16, 35
					a, b := newGuarded(r, m, depth, depth+1), newGuarded(r, n, depth, depth+2)
					dst := newGuarded(r, m, n, n+1)
					e.Bias = newGuarded(r, 1, n, n).Data
					t.Log(depth)
					k.MatMul(nil, dst.General, a.General, Pack(k, b.General), e)
					checkProduct(t, dst, blas32.General{}, a.General, b.General, e)
					a.unchanged(t, "a")
					b.unchanged(t, "b")
				}
			}
		})
	}
}

// TestMatMulBlocks multiplies matrices of several blocks in rows, in columns
// and over k, with more panels than are activated together.
func TestMatMulBlocks(t *testing.T) {
	for _, k := range All() {
		t.Run(k.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			team := NewTeam(2)
			defer team.Close()
			for _, s := range []struct {
				m, k, n int
				act     Activation
			}{
				{421, 1030, 70, Identity},
				{403, 64, 33, ReLU},
				{37, 2101, 330, QuickGELU},
				{9, 40, 701, GELU},
			} {
				a, b, residual := newGuarded(r, s.m, s.k, s.k+3), newGuarded(r, s.n, s.k, s.k), newGuarded(r, s.m, s.n, s.n+1)
				dst := newGuarded(r, s.m, s.n, s.n+2)
				e := Epilogue{Bias: newGuarded(r, 1, s.n, s.n).Data, Residual: residual.General, Act: s.act}
				t.Logf("%+v", s)
				k.MatMul(team, dst.General, a.General, Pack(k, b.General), e)
				checkProduct(t, dst, residual.General, a.General, b.General, e)
			}
		})
	}
}

// TestMatMulSpecialValues has a NaN or Inf reach what depends on it and
// nothing else, in every row and column of a tile.
func TestMatMulSpecialValues(t *testing.T) {
	const m, n = 31, 67
	for _, k := range All() {
		t.Run(k.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 8))
			for _, depth := range []int{5, 800} {
				for _, e := range []Epilogue{{}, {Act: ReLU}} {
					a, b, dst := random(r, m, depth), random(r, n, depth), random(r, m, n)
					product := func() { k.MatMul(nil, dst, a, Pack(k, b), e) }
					only := func(what string, bad float32, hit func(i, j int) bool) {
						t.Helper()
						product()
						for i, v := range dst.Data {
							same := v == bad || v != v && bad != bad
							if hit(i/n, i%n) != same {
								t.Fatalf("%s: entry %d, %d is %v", what, i/n, i%n, v)
							}
						}
					}
					for i := range m {
						at := i*depth + r.IntN(depth)
						keep := a.Data[at]
						a.Data[at] = nan
						only("NaN in a", nan, func(row, _ int) bool { return row == i })
						a.Data[at] = keep
					}
					for j := range n {
						at := j*depth + r.IntN(depth)
						keep := b.Data[at]
						b.Data[at] = nan
						only("NaN in b", nan, func(_, col int) bool { return col == j })
						b.Data[at] = keep
					}
					for i := range a.Data {
						a.Data[i] = float32(math.Abs(float64(a.Data[i]))) + 0.5
					}
					b.Data[3*depth+depth-1] = inf
					only("Inf in b", inf, func(_, col int) bool { return col == 3 })
					a.Data[2*depth+depth-1] = 0
					only("0·Inf", nan, func(row, col int) bool { return row == 2 && col == 3 })
				}
			}
		})
	}
}

func TestMatMulWorkers(t *testing.T) {
	for _, k := range All() {
		r := rand.New(rand.NewPCG(9, 10))
		for _, s := range [][3]int{{1, 900, 300}, {12, 100, 500}, {197, 900, 70}, {500, 64, 33}, {400, 1030, 70}} {
			a, w := random(r, s[0], s[1]), Pack(k, random(r, s[2], s[1]))
			e := Epilogue{Bias: random(r, 1, s[2]).Data, Act: QuickGELU}
			want := random(r, s[0], s[2])
			k.MatMul(nil, want, a, w, e)
			for _, workers := range []int{1, 2, 5, 13} {
				team := NewTeam(workers)
				for range 2 {
					dst := random(r, s[0], s[2])
					k.MatMul(team, dst, a, w, e)
					require.Equal(t, want.Data, dst.Data, "%s, %v, %d workers", k, s, workers)
				}
				team.Close()
			}
		}
	}
}

func TestMatMulAllocatesNothing(t *testing.T) {
	if raced {
		return
	}
	r := rand.New(rand.NewPCG(11, 12))
	a, b, dst := random(r, 50, 800), random(r, 70, 800), random(r, 50, 70)
	for _, k := range All() {
		if k.table().gemm.run == nil {
			continue
		}
		w := Pack(k, b)
		for _, workers := range []int{1, 2} {
			team := NewTeam(workers)
			for _, e := range []Epilogue{{Act: GELU}, {Residual: dst}} {
				require.Zero(t, testing.AllocsPerRun(20, func() { k.MatMul(team, dst, a, w, e) }), "%s, %d workers", k, workers)
			}
			team.Close()
		}
	}
}
