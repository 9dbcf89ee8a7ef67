package vit

import (
	"fmt"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
	"gonum.org/v1/gonum/blas/blas32"
)

// block is one layer of a tower: pre-norm attention and MLP.
// Source: openai/CLIP clip/model.py:ResidualAttentionBlock.
type block struct {
	ln1, ln2 nn.LayerNorm
	qkv      nn.Linear // width → 3·width: queries, keys, values
	out      nn.Linear // width → width
	mlp      nn.MLP
}

// checkFinite reports features beyond the numbers of float32, unless they are
// void because the context has ended.
func checkFinite(r *nn.Call, features ...blas32.General) error {
	if r.Team.Ended() {
		return r.Context.Err()
	}
	for _, m := range features {
		if i := nn.NotFinite(r.Kernel, m); i >= 0 {
			return fmt.Errorf("vit: %w: row %d of the features: weights or input are too large for float32", weights.ErrNotFinite, i)
		}
	}
	return nil
}

// heads describes how the columns of a projection divide into heads.
type heads struct{ n, dim int }

// scale is head_dim^(-1/2).
func (h heads) scale() float32 { return invSqrt(h.dim) }

// projection is the columns of qkv that hold p.
func projection(qkv blas32.General, p Projection) blas32.General {
	width := qkv.Cols / 3
	return nn.Cols(qkv, int(p-Q)*width, width)
}

// attend describes plain attention of queries over keys.
func (h heads) attend(q, k, v blas32.General) simd.Attention {
	return simd.Attention{Heads: h.n, HeadDim: h.dim, Scale: h.scale(), Q: q, K: k, V: v}
}

// finish ends a block in the rows y, which may be x: y = x + O(attended), then
// y += MLP(LN2(y)). norm and hidden are scratch, as wide as the block and as
// its MLP.
func (b *block) finish(r *nn.Call, y, x, attended, norm, hidden blas32.General) {
	b.out.ApplyAdd(r.Exec, y, attended, x)
	b.feedForward(r, y, norm, hidden)
}

func (b *block) feedForward(r *nn.Call, y, norm, hidden blas32.General) {
	b.ln2.Apply(r.Exec, norm, y)
	b.mlp.ApplyAdd(r.Exec, y, norm, y, hidden)
}
