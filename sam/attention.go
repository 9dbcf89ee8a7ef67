package sam

import (
	"math"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// attention is the decoder's multi-head attention
// (segment_anything/modeling/transformer.py, Attention).
type attention struct {
	q, k, v, out nn.Linear
	heads        int
}

// projections are the weights of an attention as the checkpoint has them.
type projections struct{ q, k, v, out []float32 }

func loadAttention(l *loader, prefix string, width, inner, heads int) (attention, projections) {
	w := projections{
		q:   l.Tensor(prefix+".q_proj.weight", inner, width),
		k:   l.Tensor(prefix+".k_proj.weight", inner, width),
		v:   l.Tensor(prefix+".v_proj.weight", inner, width),
		out: l.Tensor(prefix+".out_proj.weight", width, inner),
	}
	return attention{
		q:     l.Pack(w.q, inner, width, l.Tensor(prefix+".q_proj.bias", inner)),
		k:     l.Pack(w.k, inner, width, l.Tensor(prefix+".k_proj.bias", inner)),
		v:     l.Pack(w.v, inner, width, l.Tensor(prefix+".v_proj.bias", inner)),
		out:   l.Pack(w.out, width, inner, l.Tensor(prefix+".out_proj.bias", width)),
		heads: heads,
	}, w
}

// width and inner are the widths of tokens and of queries, keys and values.
func (a *attention) width() int { return a.q.Weight.K() }
func (a *attention) inner() int { return a.q.Weight.N() }

func (a *attention) scale() float32 {
	return float32(1 / math.Sqrt(float64(a.inner()/a.heads)))
}

// attend stores softmax(scale·q·kᵀ)·v of batch sequences in dst.
func (a *attention) attend(x nn.Exec, dst, q, k, v blas32.General, batch int) {
	x.Kernel.Attend(x.Team, dst, &simd.Attention{
		Batch: batch, Heads: a.heads, HeadDim: a.inner() / a.heads, Scale: a.scale(), Q: q, K: k, V: v,
	})
}

// Cross-attention between a few tokens and thousands of image cells spends
// its time on projections of the cells, two of inner × width multiplications
// per cell. Where the tokens are few it is cheaper to carry the projections
// over to their side, head by head,
//
//	q·(W·x) = (q·W)·x        Σ p·(W·x) = W·(Σ p·x)
//
// so that a cell meets heads·tokens vectors of the model's width, twice. A
// bias of the cells' keys shifts all scores of a query alike and drops out of
// the softmax; a bias of their values is added once, as probabilities sum to
// one.

// carries reports whether carrying the projections of the cells to this many
// tokens saves multiplications.
func (a *attention) carries(tokens int) bool {
	return a.heads*tokens*a.width() < a.inner()*(a.width()+tokens)
}

// A carrier is one projection of the cells on the tokens' side: a packed part
// of it per head.
type carrier []*simd.Packed

// carryInto makes the carrier from a head's vectors z to z·W, where W is
// inner × width: q·Wk and k·Wq.
func carryInto(k simd.Kernel, weight []float32, inner, width, heads int) carrier {
	c, dim := make(carrier, heads), inner/heads
	for h := range c {
		c[h] = simd.PackTransposed(k, nn.Matrix(weight[h*dim*width:], dim, width))
	}
	return c
}

// carryThrough makes the carrier from a head's vectors z to z·Wᵀ, where W is
// width × inner: v·Woᵀ.
func carryThrough(k simd.Kernel, weight []float32, inner, width, heads int) carrier {
	c, dim := make(carrier, heads), inner/heads
	for h := range c {
		c[h] = simd.Pack(k, nn.Cols(nn.Matrix(weight, width, inner), h*dim, dim))
	}
	return c
}

// carryBack makes the carrier from vectors x of the model's width to the
// head's x·Wᵀ, where W is inner × width: (Σ p·x)·Wvᵀ.
func carryBack(k simd.Kernel, weight []float32, inner, width, heads int) carrier {
	c, dim := make(carrier, heads), inner/heads
	for h := range c {
		c[h] = simd.Pack(k, nn.Matrix(weight[h*dim*width:], dim, width))
	}
	return c
}

// spread stores alpha times the carried vectors of z, batch sequences of
// tokens with the heads side by side, in dst: for every sequence its heads
// one below the other, a row per token.
func (c carrier) spread(x nn.Exec, dst, z blas32.General, batch int, alpha float32) {
	tokens, dim := z.Rows/batch, z.Cols/len(c)
	x.Team.Do(batch*len(c), func(_, i int) {
		b, h := i/len(c), i%len(c)
		src := nn.Rows(nn.Cols(z, h*dim, dim), b*tokens, tokens)
		x.Kernel.MatMul(nil, nn.Rows(dst, i*tokens, tokens), src, c[h], simd.Epilogue{Alpha: alpha})
	})
}

// gather is the way back: src has the heads one below the other, dst side by
// side.
func (c carrier) gather(x nn.Exec, dst, src blas32.General, batch int, bias []float32) {
	tokens, dim := dst.Rows/batch, dst.Cols/len(c)
	x.Team.Do(batch*len(c), func(_, i int) {
		b, h := i/len(c), i%len(c)
		to := nn.Rows(nn.Cols(dst, h*dim, dim), b*tokens, tokens)
		x.Kernel.MatMul(nil, to, nn.Rows(src, i*tokens, tokens), c[h], simd.Epilogue{Bias: bias[h*dim:][:dim]})
	})
}
