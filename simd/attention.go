package simd

import (
	"fmt"
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
	c := *a
	c.Batch = max(a.Batch, 1)
	if a.Q.Rows%c.Batch != 0 || a.K.Rows%c.Batch != 0 || a.V.Rows != a.K.Rows || dst.Rows != a.Q.Rows ||
		a.Q.Cols != a.Heads*a.HeadDim || a.K.Cols != a.Q.Cols || a.V.Cols != a.Q.Cols || dst.Cols != a.Q.Cols {
		panic(fmt.Sprintf("simd: Attend: q %d×%d, k %d×%d, v %d×%d, %d heads of %d",
			a.Q.Rows, a.Q.Cols, a.K.Rows, a.K.Cols, a.V.Rows, a.V.Cols, a.Heads, a.HeadDim))
	}
	nq, nk := a.Q.Rows/c.Batch, a.K.Rows/c.Batch
	switch {
	case a.Causal && nk < nq:
		panic(fmt.Sprintf("simd: Attend: causal with %d queries and %d keys", nq, nk))
	case a.Mask.Data != nil && (a.Mask.Rows != nq || a.Mask.Cols != nk):
		panic(fmt.Sprintf("simd: Attend: mask %d×%d for %d queries and %d keys", a.Mask.Rows, a.Mask.Cols, nq, nk))
	case a.RelRow.Data != nil && (a.Grid.X*a.Grid.Y != nk || a.RelRow.Rows != a.Q.Rows || a.RelCol.Rows != a.Q.Rows ||
		a.RelRow.Cols != a.Heads*a.Grid.Y || a.RelCol.Cols != a.Heads*a.Grid.X):
		panic(fmt.Sprintf("simd: Attend: relative positions %d×%d and %d×%d for %d queries, %d heads and %v keys",
			a.RelRow.Rows, a.RelRow.Cols, a.RelCol.Rows, a.RelCol.Cols, a.Q.Rows, a.Heads, a.Grid))
	}
	if dst.Rows == 0 || dst.Cols == 0 {
		return
	}
	if k.table().gemm.run == nil || nk == 0 {
		attendGeneric(t, dst, c)
	} else {
		attendTiled(t, k, dst, &c)
	}
}
