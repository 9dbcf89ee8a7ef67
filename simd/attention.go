package simd

import (
	"image"

	"gonum.org/v1/gonum/blas/blas32"
)

// Attention describes softmax(Scale·Q·Kᵀ + additive terms)·V for every head
// of a batch of independent sequences.
//
// Q, K and V have one row per token and the heads side by side in the
// columns: head h is columns [h·HeadDim, (h+1)·HeadDim). They may be columns
// of one matrix. Sequence b is rows [b·n, (b+1)·n) with n = Rows/Batch, which
// may differ between Q and K.
type Attention struct {
	Batch   int // sequences; 0 means 1
	Heads   int
	HeadDim int
	Scale   float32

	Q, K, V blas32.General

	// Causal lets query i of nq see keys 0 … i + (nk - nq) only.
	Causal bool
	// Mask is added to the scaled scores of every head and sequence: nq×nk,
	// or no Data.
	Mask blas32.General
	// RelRow and RelCol are decomposed relative positions (SAM): key j lies at
	// column j mod Grid.X and row j / Grid.X, and a score gains
	// RelRow[q, h·Grid.Y + row] + RelCol[q, h·Grid.X + column], rows being
	// those of Q. No Data means no such term.
	RelRow, RelCol blas32.General
	Grid           image.Point

	// Weight is the factor of the result; 0 means 1.
	Weight float32
	// Accumulate adds the result to dst instead of storing it.
	Accumulate bool
}

// Attend computes a into dst, which has a row per row of Q and the heads side
// by side. Scores are never stored whole.
func (k Kernel) Attend(t *Team, dst blas32.General, a *Attention) {
	a.check(dst)
	c := *a
	c.Batch = max(a.Batch, 1)
	if dst.Rows == 0 || dst.Cols == 0 {
		return
	}
	if k.table().gemm.run == nil || a.K.Rows == 0 {
		attendGeneric(t, dst, c)
	} else {
		attendTiled(t, k, dst, &c)
	}
}
