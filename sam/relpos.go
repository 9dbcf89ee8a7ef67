package sam

import (
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// relPos is the decomposed relative positions of one block (Li et al.,
// MViTv2, section 4.1; segment_anything/modeling/image_encoder.py,
// add_decomposed_rel_pos): a score of query q for a key Δy rows and Δx columns
// before it gains q·rows[Δy] + q·cols[Δx].
type relPos struct {
	rows, cols []float32 // tables, distance from -(n-1) to n-1 × dim
	dim        int
}

// pack resizes both tables to a window's side and packs them, rows first, each
// from the largest distance to the smallest: the terms of a query at (x, y)
// are then side neighboring products from index side-1-y of the first half
// and side-1-x of the second.
func (r relPos) pack(k simd.Kernel, side int) *simd.Packed {
	n := 2*side - 1
	both := make([]float32, 2*n*r.dim)
	for half, table := range [][]float32{r.rows, r.cols} {
		table = resizeTable(table, n, r.dim)
		for i := range n {
			copy(both[(half*n+n-1-i)*r.dim:][:r.dim], table[i*r.dim:])
		}
	}
	return simd.Pack(k, nn.Matrix(both, 2*n, r.dim))
}

// resizeTable interpolates the rows of a table linearly to n of them.
func resizeTable(table []float32, n, dim int) []float32 {
	have := len(table) / dim
	if have == n {
		return table
	}
	out := make([]float32, n*dim)
	pix.Bilinear(out, image.Pt(1, n), table, image.Pt(1, have), dim)
	return out
}

// terms computes the relative-position terms of every query, in window order,
// as Attention wants them: tokens × heads·side for key rows and for key
// columns. q has the heads side by side.
func (w *windows) terms(r *nn.Call, q blas32.General, heads int, table *simd.Packed) (rows, cols blas32.General) {
	side, dim := w.size, q.Cols/heads
	rows, cols = r.Matrix(q.Rows, heads*side), r.Matrix(q.Rows, heads*side)
	const block = 64
	scratch := r.Floats(r.Team.Size() * block * table.N())
	r.Team.Do((q.Rows+block-1)/block, func(worker, i int) {
		lo := i * block
		n := min(block, q.Rows-lo)
		products := nn.Matrix(scratch[worker*block*table.N():], n, table.N())
		for h := range heads {
			r.Kernel.MatMul(nil, products, nn.Rows(nn.Cols(q, h*dim, dim), lo, n), table, simd.Epilogue{})
			for j := range n {
				p, at := row(products, j), w.at[lo+j]
				copy(row(rows, lo+j)[h*side:][:side], p[side-1-at.Y:])
				copy(row(cols, lo+j)[h*side:][:side], p[2*side-1+side-1-at.X:])
			}
		}
	})
	return rows, cols
}
