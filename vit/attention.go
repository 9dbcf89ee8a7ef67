package vit

import (
	"image"
	"math"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// attend stores a term of a plan in p.scratch, or adds it there. from holds the
// projections that attend, qkv the block's own, whose V they weigh.
func (p *pass) attend(t *Term, from, qkv blas32.General, add bool) {
	alone := t.InputScale || t.Prior.Sigma > 0
	p.groups(alone, func(seqs []sequence, first int) {
		dst, v := rowsOf(p.scratch, seqs), projection(rowsOf(qkv, seqs), V)
		if t.Identity {
			weigh(dst, v, t.weight(), add)
			return
		}
		mark := p.Mark()
		defer p.Release(mark)
		from := rowsOf(from, seqs)
		query, key := projection(from, t.Query), projection(from, t.Key)
		a := p.t.heads.attend(query, key, v)
		a.Batch = len(seqs)
		a.Scale *= t.scale()
		if t.InputScale {
			a.Scale *= p.norms[first]
		}
		if t.Unit {
			a.Q = p.unit(p.Matrix(query.Rows, query.Cols), query)
			if a.K = a.Q; t.Query != t.Key {
				a.K = p.unit(p.Matrix(key.Rows, key.Cols), key)
			}
		}
		if t.Iterations > 0 {
			p.iterate(t, &a)
		}
		a.Weight, a.Accumulate = t.weight(), add
		if t.Prior.Sigma > 0 {
			p.attendPrior(t.Prior, seqs[0].grid, dst, &a)
		} else {
			p.Kernel.Attend(p.Team, dst, &a)
		}
	})
}

// iterate replaces the queries and keys of a, which are the same, by what they
// attend to among themselves.
// Source: GEM (Bousselham et al., arXiv 2312.00878), section 3.2.
func (p *pass) iterate(t *Term, a *simd.Attention) {
	v := a.V
	next, spare := p.Matrix(a.Q.Rows, a.Q.Cols), p.Matrix(a.Q.Rows, a.Q.Cols)
	for range t.Iterations {
		a.V = a.Q
		p.Kernel.Attend(p.Team, next, a)
		if t.Unit {
			p.unit(next, next)
		}
		a.Q, a.K = next, next
		next, spare = spare, next
	}
	a.V = v
}

// priorFloats bounds the scores' additive term that is held at once: 4 MB.
const priorFloats = 1 << 20

// attendPrior runs a with a spatial prior, some queries at a time.
func (p *pass) attendPrior(g Gaussian, grid image.Point, dst blas32.General, a *simd.Attention) {
	n := a.Q.Rows
	fall := make([]float32, max(grid.X, grid.Y))
	for d := range fall {
		fall[d] = float32(math.Exp(-float64(d*d) / (2 * float64(g.Sigma) * float64(g.Sigma))))
	}
	step := min(n, max(1, priorFloats/n))
	mask := p.Matrix(step, n)
	q := a.Q
	for lo := 0; lo < n; lo += step {
		count := min(step, n-lo)
		a.Mask = nn.Rows(mask, 0, count)
		p.Team.Do(count, func(_, i int) { prior(a.Mask.Data[i*n:(i+1)*n], lo+i, grid, fall) })
		a.Q = nn.Rows(q, lo, count)
		p.Kernel.Attend(p.Team, nn.Rows(dst, lo, count), a)
	}
}

// prior fills the term of one row: 0 for the class token and in its column,
// fall[|dx|]·fall[|dy|] between patches.
// Source: NACLIP (Hajimiri et al., arXiv 2404.08181), section 3.2.
func prior(row []float32, i int, grid image.Point, fall []float32) {
	if i == 0 {
		clear(row)
		return
	}
	row[0] = 0
	x, y := (i-1)%grid.X, (i-1)/grid.X
	for v := range grid.Y {
		line := row[1+v*grid.X:][:grid.X]
		for u := range line {
			line[u] = fall[abs(u-x)] * fall[abs(v-y)]
		}
	}
}

func abs(v int) int { return max(v, -v) }

// weigh stores or adds w·src.
func weigh(dst, src blas32.General, w float32, add bool) {
	for i := range src.Rows {
		y, x := dst.Data[i*dst.Stride:][:src.Cols], src.Data[i*src.Stride:][:src.Cols]
		for j, v := range x {
			if add {
				y[j] += float32(w * v)
			} else {
				y[j] = w * v
			}
		}
	}
}

func (p *pass) unit(dst, src blas32.General) blas32.General { return p.t.heads.unit(p.Exec, dst, src) }

// unit stores the rows of src in dst, which may be src, each head divided by
// its norm, and returns dst.
func (h heads) unit(x nn.Exec, dst, src blas32.General) blas32.General {
	const block = 16
	x.Team.Do((src.Rows+block-1)/block, func(_, blk int) {
		for i := blk * block; i < min((blk+1)*block, src.Rows); i++ {
			for j := range h.n {
				to, from := dst.Data[i*dst.Stride+j*h.dim:][:h.dim], src.Data[i*src.Stride+j*h.dim:][:h.dim]
				inv := 1 / max(norm(x.Kernel, from), 1e-12)
				for c, v := range from {
					to[c] = v * inv
				}
			}
		}
	})
	return dst
}

func norm(k simd.Kernel, x []float32) float32 {
	return float32(math.Sqrt(float64(k.Dot(x, x))))
}

// meanNorm is the mean Euclidean norm of the rows.
func meanNorm(k simd.Kernel, m blas32.General) float32 {
	var sum float64
	for i := range m.Rows {
		sum += float64(norm(k, m.Data[i*m.Stride:][:m.Cols]))
	}
	return float32(sum / float64(m.Rows))
}

func invSqrt(n int) float32 { return float32(1 / math.Sqrt(float64(n))) }
