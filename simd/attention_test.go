package simd

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/clipsurgery/clipsurgery/simd/internal/fmapeak"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// attend64 computes a in float64, and for every entry a bound of what float32
// may be off: with u the rounding unit,
//
//	u·Σ p|v|·|Weight|·(2·max δ + keys + 16)
//
// where δ bounds the error of a score in units of u: the depth of the product
// plus the roundings of the scaling, the terms and the difference from the
// largest score.
func attend64(a *Attention) (want, bound []float64) {
	batch := max(a.Batch, 1)
	nq, nk, d := a.Q.Rows/batch, a.K.Rows/batch, a.HeadDim
	weight := float64(a.Weight)
	if weight == 0 {
		weight = 1
	}
	want, bound = make([]float64, a.Q.Rows*a.Q.Cols), make([]float64, a.Q.Rows*a.Q.Cols)
	at := func(m blas32.General, i, j int) float64 { return float64(m.Data[i*m.Stride+j]) }
	for row := range a.Q.Rows {
		b, i := row/nq, row%nq
		for h := range a.Heads {
			seen := nk
			if a.Causal {
				seen = i + nk - nq + 1
			}
			s := make([]float64, seen)
			top, delta := math.Inf(-1), 0.0
			for j := range s {
				var mag float64
				for c := range d {
					v := at(a.Q, row, h*d+c) * at(a.K, b*nk+j, h*d+c)
					s[j] += v
					mag += math.Abs(v)
				}
				s[j] *= float64(a.Scale)
				mag *= math.Abs(float64(a.Scale)) * float64(d+3)
				add := func(v float64) {
					s[j] += v
					if !math.IsInf(v, 0) {
						mag += 4 * math.Abs(v)
					}
				}
				if a.Mask.Data != nil {
					add(at(a.Mask, i, j))
				}
				if a.RelRow.Data != nil {
					add(at(a.RelRow, row, h*a.Grid.Y+j/a.Grid.X))
					add(at(a.RelCol, row, h*a.Grid.X+j%a.Grid.X))
				}
				if !math.IsInf(s[j], 0) {
					mag += 4 * math.Abs(s[j])
				}
				top, delta = max(top, s[j]), max(delta, mag)
			}
			var sum float64
			for j := range s {
				s[j] = math.Exp(s[j] - top)
				sum += s[j]
			}
			for c := range d {
				var y, mag float64
				for j, p := range s {
					v := p / sum * at(a.V, b*nk+j, h*d+c)
					y += v
					mag += math.Abs(v)
				}
				want[row*a.Q.Cols+h*d+c] = weight * y
				bound[row*a.Q.Cols+h*d+c] = eps * math.Abs(weight) * mag * (2*delta + float64(nk) + 16)
			}
		}
	}
	return want, bound
}

// attentionCase is an attention on guarded matrices.
type attentionCase struct {
	Attention
	operands []*guarded
	dst      *guarded
}

func newAttentionCase(r *rand.Rand, batch, heads, d, nq, nk int) *attentionCase {
	c := &attentionCase{Attention: Attention{Batch: batch, Heads: heads, HeadDim: d, Scale: float32(2 / math.Sqrt(float64(d)))}}
	for _, m := range []struct {
		to   *blas32.General
		rows int
	}{{&c.Q, nq}, {&c.K, nk}, {&c.V, nk}} {
		*m.to = c.operand(r, max(batch, 1)*m.rows, heads*d)
	}
	c.dst = newGuarded(r, c.Q.Rows, c.Q.Cols, c.Q.Cols+r.IntN(3))
	return c
}

func (c *attentionCase) operand(r *rand.Rand, rows, cols int) blas32.General {
	g := newGuarded(r, rows, cols, cols+r.IntN(4))
	c.operands = append(c.operands, g)
	return g.General
}

func (c *attentionCase) mask(r *rand.Rand) {
	batch := max(c.Batch, 1)
	c.Mask = c.operand(r, c.Q.Rows/batch, c.K.Rows/batch)
	for i := range c.Mask.Rows {
		for j := range c.Mask.Cols {
			if j != i%c.Mask.Cols && r.IntN(3) == 0 { // some keys remain
				c.Mask.Data[i*c.Mask.Stride+j] = -inf
			}
		}
	}
	g := c.operands[len(c.operands)-1]
	copy(g.copy, g.all)
}

func (c *attentionCase) positions(r *rand.Rand, grid image.Point) {
	c.Grid = grid
	c.RelRow, c.RelCol = c.operand(r, c.Q.Rows, c.Heads*grid.Y), c.operand(r, c.Q.Rows, c.Heads*grid.X)
}

func (c *attentionCase) check(t *testing.T, k Kernel, workers int) {
	t.Helper()
	before := append([]float32(nil), c.dst.Data...)
	team := NewTeam(workers)
	defer team.Close()
	k.Attend(team, c.dst.General, &c.Attention)
	c.dst.checkGuards(t)
	for i, o := range c.operands {
		o.unchanged(t, fmt.Sprint("operand ", i))
	}
	want, bound := attend64(&c.Attention)
	for i := range c.dst.Rows {
		for j := range c.dst.Cols {
			at := i*c.dst.Cols + j
			w, slack := want[at], bound[at]
			if c.Accumulate {
				w += float64(before[i*c.dst.Stride+j])
				slack += 2 * eps * math.Abs(w)
			}
			got := float64(c.dst.Data[i*c.dst.Stride+j])
			if !(math.Abs(got-w) <= slack) {
				t.Fatalf("%s, row %d, column %d: got %v, want %v ± %.3g", k, i, j, got, w, slack)
			}
		}
	}
}

func TestAttend(t *testing.T) {
	for _, k := range All() {
		t.Run(k.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			run := func(name string, c *attentionCase, change func(c *attentionCase)) {
				t.Helper()
				t.Run(name, func(t *testing.T) {
					if change != nil {
						change(c)
					}
					c.check(t, k, 1+r.IntN(2))
				})
			}
			for _, d := range []int{1, 3, 8, 16, 17, 32, 33, 64, 80, 128} {
				for _, n := range [][2]int{{1, 1}, {2, 7}, {7, 50}, {13, 15}, {14, 16}, {15, 17}, {29, 33}, {57, 31}, {64, 65}, {85, 97}} {
					run(fmt.Sprintf("d=%d,%d×%d", d, n[0], n[1]), newAttentionCase(r, r.IntN(3), 1+r.IntN(3), d, n[0], n[1]), nil)
				}
			}
			// Blocks of keys, of one and of many rows of queries.
			run("long", newAttentionCase(r, 1, 1, 64, 30, 1800), nil)
			run("long and wide", newAttentionCase(r, 1, 1, 256, 9, 500), nil)
			run("many queries", newAttentionCase(r, 1, 1, 16, 2100, 40), nil)

			run("weight", newAttentionCase(r, 1, 2, 16, 20, 20), func(c *attentionCase) { c.Weight = -0.25 })
			run("accumulate", newAttentionCase(r, 2, 2, 24, 20, 20), func(c *attentionCase) { c.Accumulate, c.Weight = true, 0.5 })
			run("one matrix", newAttentionCase(r, 1, 3, 16, 40, 40), func(c *attentionCase) {
				c.operands = nil
				qkv := c.operand(r, 40, 3*48)
				for i, m := range []*blas32.General{&c.Q, &c.K, &c.V} {
					*m = blas32.General{Rows: 40, Cols: 48, Stride: qkv.Stride, Data: qkv.Data[48*i:]}
				}
			})
			run("same operands", newAttentionCase(r, 1, 2, 64, 100, 100), func(c *attentionCase) { c.Q, c.K = c.V, c.V })
			for _, n := range [][2]int{{1, 1}, {5, 5}, {3, 9}, {77, 77}, {100, 130}, {900, 1700}} {
				run(fmt.Sprintf("causal,%d×%d", n[0], n[1]), newAttentionCase(r, 1, 1, 64, n[0], n[1]), func(c *attentionCase) { c.Causal = true })
			}
			run("mask", newAttentionCase(r, 2, 2, 16, 30, 70), func(c *attentionCase) { c.mask(r) })
			run("long mask", newAttentionCase(r, 1, 1, 64, 16, 1700), func(c *attentionCase) { c.mask(r) })
			run("first block masked", newAttentionCase(r, 1, 1, 64, 16, 1700), func(c *attentionCase) {
				c.mask(r)
				for i := range c.Mask.Rows {
					for j := range 1500 {
						c.Mask.Data[i*c.Mask.Stride+j] = -inf
					}
					c.Mask.Data[i*c.Mask.Stride+1600] = 0
				}
				g := c.operands[len(c.operands)-1]
				copy(g.copy, g.all)
			})
			for _, g := range []image.Point{{1, 1}, {1, 20}, {3, 5}, {7, 6}, {8, 8}, {14, 14}, {16, 9}, {33, 7}, {50, 50}, {4, 500}} {
				n := g.X * g.Y
				run(fmt.Sprintf("positions,%v", g), newAttentionCase(r, 2, 2, 32, min(n, 60), n), func(c *attentionCase) { c.positions(r, g) })
			}
			run("all terms", newAttentionCase(r, 1, 2, 64, 196, 196), func(c *attentionCase) {
				c.positions(r, image.Pt(14, 14))
				c.mask(r)
				c.Causal, c.Accumulate, c.Weight = true, true, 2
				for i := range c.Mask.Rows {
					c.Mask.Data[i*c.Mask.Stride] = 0
				}
				g := c.operands[len(c.operands)-1]
				copy(g.copy, g.all)
			})
		})
	}
}

// TestAttendGrowingScores has later keys that outweigh all before them.
func TestAttendGrowingScores(t *testing.T) {
	for _, k := range All() {
		r := rand.New(rand.NewPCG(7, 8))
		c := newAttentionCase(r, 1, 1, 64, 20, 2500)
		for j := range c.K.Rows {
			for x := range 64 {
				c.K.Data[j*c.K.Stride+x] *= 1 + float32(j)/100
			}
		}
		copy(c.operands[1].copy, c.operands[1].all)
		c.check(t, k, 1)
	}
}

func TestAttendSpecialValues(t *testing.T) {
	for _, k := range All() {
		t.Run(k.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(9, 10))
			for _, nk := range []int{40, 1700} {
				c := newAttentionCase(r, 1, 2, 64, 20, nk)
				run := func() { k.Attend(nil, c.dst.General, &c.Attention) }
				head := func(row, h int) []float32 { return c.dst.Data[row*c.dst.Stride+64*h:][:64] }

				c.Q.Data[3*c.Q.Stride+64] = nan
				run()
				requireAll(t, head(3, 1), nan)
				requireFinite(t, head(3, 0), head(2, 1), head(4, 1))
				c.Q.Data[3*c.Q.Stride+64] = 0

				for _, v := range []float32{nan, inf} {
					c.K.Data[(nk-2)*c.K.Stride+5] = v
					run()
					for row := range 20 {
						if v == inf && c.Q.Data[row*c.Q.Stride+5] < 0 { // the score is -Inf
							requireFinite(t, head(row, 0))
						} else {
							requireAll(t, head(row, 0), nan)
						}
						requireFinite(t, head(row, 1))
					}
				}
				c.K.Data[(nk-2)*c.K.Stride+5] = 0

				c.V.Data[7*c.V.Stride+9] = nan
				run()
				require.True(t, math.IsNaN(float64(head(0, 0)[9])))
				requireFinite(t, head(0, 0)[:9], head(0, 0)[10:], head(0, 1))
				c.V.Data[7*c.V.Stride+9] = 0

				c.mask(r)
				for j := range nk {
					c.Mask.Data[5*c.Mask.Stride+j] = -inf
				}
				run()
				requireAll(t, head(5, 0), nan)
				requireFinite(t, head(4, 0), head(6, 1))
			}
		})
	}
}

func requireFinite(t *testing.T, rows ...[]float32) {
	t.Helper()
	for _, x := range rows {
		for i, v := range x {
			require.False(t, math.IsNaN(float64(v)) || math.IsInf(float64(v), 0), "entry %d is %v", i, v)
		}
	}
}

func TestAttendRepeats(t *testing.T) {
	for _, k := range All() {
		r := rand.New(rand.NewPCG(11, 12))
		for _, causal := range []bool{false, true} {
			c := newAttentionCase(r, 1, 3, 64, 1100, 1100)
			c.Causal = causal
			k.Attend(nil, c.dst.General, &c.Attention)
			want := append([]float32(nil), c.dst.Data...)
			for _, workers := range []int{2, 3, 8} {
				team := NewTeam(workers)
				k.Attend(team, c.dst.General, &c.Attention)
				team.Close()
				require.Equal(t, want, c.dst.Data, "%s with %d workers", k, workers)
			}
			if k.table().gemm.run == nil {
				break // plain Go is slow
			}
		}
	}
}

func TestAttendAllocatesNothing(t *testing.T) {
	for _, k := range All() {
		if k.table().gemm.run == nil {
			continue
		}
		c := newAttentionCase(rand.New(rand.NewPCG(1, 2)), 1, 2, 64, 197, 197)
		require.Zero(t, testing.AllocsPerRun(20, func() { k.Attend(nil, c.dst.General, &c.Attention) }), k)
	}
}

// TestAttendReserves: after a call every worker has all the memory that it will
// need, whether it was there in time to compute a part or not.
func TestAttendReserves(t *testing.T) {
	for _, k := range All() {
		if k.table().gemm.run == nil {
			continue
		}
		team := NewTeam(3)
		c := newAttentionCase(rand.New(rand.NewPCG(1, 2)), 1, 2, 64, 197, 197)
		k.Attend(team, c.dst.General, &c.Attention)
		p := attendings.Get()
		require.GreaterOrEqual(t, len(p.workers), 3)
		var had [3]attendWorker
		copy(had[:], p.workers)
		attendings.Put(p)
		for range 50 {
			k.Attend(team, c.dst.General, &c.Attention)
		}
		for i, w := range had {
			now := p.workers[i]
			for _, pair := range [][2][]float32{{w.keys.data, now.keys.data}, {w.values.data, now.values.data}, {w.queries, now.queries},
				{w.scores, now.scores}, {w.out, now.out}, {w.top, now.top}, {w.sum, now.sum}} {
				require.NotZero(t, cap(pair[0]))
				require.Equal(t, cap(pair[0]), cap(pair[1]))
			}
		}
		team.Close()
	}
}

func TestAttendOfNothing(t *testing.T) {
	for _, k := range All() {
		k.Attend(nil, blas32.General{Cols: 8, Stride: 8}, &Attention{
			Heads: 1, HeadDim: 8, Q: blas32.General{Cols: 8, Stride: 8}, K: blas32.General{Cols: 8, Stride: 8}, V: blas32.General{Cols: 8, Stride: 8},
		})
	}
}

func TestAttendPanics(t *testing.T) {
	for name, change := range map[string]func(a *Attention){
		"batch":     func(a *Attention) { a.Batch = 3 },
		"heads":     func(a *Attention) { a.Heads = 5 },
		"causal":    func(a *Attention) { a.Causal = true },
		"mask":      func(a *Attention) { a.Mask = blas32.General{Rows: 2, Cols: 4, Stride: 4, Data: make([]float32, 8)} },
		"positions": func(a *Attention) { a.RelRow, a.Grid = a.Q, image.Pt(2, 1) },
	} {
		c := newAttentionCase(rand.New(rand.NewPCG(1, 2)), 1, 2, 4, 4, 2)
		change(&c.Attention)
		require.Panics(t, func() { Kernel{}.Attend(nil, c.dst.General, &c.Attention) }, name)
	}
}

// BenchmarkAttend reports the best run, because machines are shared, and its
// part of the machine's peak measured in the same breath: 4·queries·keys·width
// operations.
func BenchmarkAttend(b *testing.B) {
	for _, k := range All() {
		for _, s := range []struct {
			name                    string
			batch, heads, d, nq, nk int
			causal                  bool
			grid                    image.Point
		}{
			{name: "ViT-B16@224", batch: 1, heads: 12, d: 64, nq: 197, nk: 197},
			{name: "ViT-B16@512", batch: 1, heads: 12, d: 64, nq: 1025, nk: 1025},
			{name: "SAM-B/window", batch: 25, heads: 12, d: 64, nq: 196, nk: 196, grid: image.Pt(14, 14)},
			{name: "SAM-B/global", batch: 1, heads: 12, d: 64, nq: 4096, nk: 4096, grid: image.Pt(64, 64)},
			{name: "SAM-H/window", batch: 25, heads: 16, d: 80, nq: 196, nk: 196, grid: image.Pt(14, 14)},
			{name: "SAM/tokens-to-image", batch: 1, heads: 8, d: 16, nq: 7, nk: 4096},
			{name: "SAM/image-to-tokens", batch: 1, heads: 8, d: 16, nq: 4096, nk: 7},
			{name: "text", batch: 1, heads: 8, d: 64, nq: 77, nk: 77, causal: true},
			{name: "prefix", batch: 1, heads: 8, d: 64, nq: 3, nk: 9, causal: true},
		} {
			if k.table().gemm.run == nil && s.nk > 200 {
				continue
			}
			b.Run(k.Name()+"/"+s.name, func(b *testing.B) {
				r := rand.New(rand.NewPCG(1, 2))
				width := s.heads * s.d
				cols := func(m blas32.General, i int) blas32.General {
					return blas32.General{Rows: m.Rows, Cols: width, Stride: m.Stride, Data: m.Data[i*width:]}
				}
				q, kv := random(r, s.batch*s.nq, 3*width), random(r, s.batch*s.nk, 3*width)
				a := Attention{Batch: s.batch, Heads: s.heads, HeadDim: s.d, Scale: float32(1 / math.Sqrt(float64(s.d))),
					Q: cols(q, 0), K: cols(kv, 1), V: cols(kv, 2), Causal: s.causal, Grid: s.grid}
				if s.grid != (image.Point{}) {
					a.RelRow, a.RelCol = random(r, a.Q.Rows, s.heads*s.grid.Y), random(r, a.Q.Rows, s.heads*s.grid.X)
				}
				dst := random(r, a.Q.Rows, width)
				best := time.Duration(1 << 62)
				peak := fmapeak.Measure(k.Name(), 2*time.Millisecond)
				for b.Loop() {
					from := time.Now()
					k.Attend(nil, dst, &a)
					best = min(best, time.Since(from))
				}
				peak = max(peak, fmapeak.Measure(k.Name(), 2*time.Millisecond))
				gflops := 4 * float64(a.Q.Rows) * float64(s.nk) * float64(width) / float64(best.Nanoseconds())
				b.ReportMetric(gflops, "GFLOP/s")
				if peak > 0 {
					b.ReportMetric(100*gflops/peak, "%peak")
				}
			})
		}
	}
}
