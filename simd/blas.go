package simd

import (
	"context"

	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	gonumblas "gonum.org/v1/gonum/blas/gonum"
)

// BLAS returns gonum's BLAS for float32 with its products on k's kernels, a
// drop-in for programs that use gonum:
//
//	blas32.Use(simd.BLAS(simd.Best()))
//
// Sgemm, Ssymm, Ssyrk, Ssyr2k, Strsm, Strmm, Sgemv, Sger, Sdot, Saxpy and Sscal
// run on k, except where the operands are so small that gonum's are as fast; everything
// else is gonum's own. With the generic and gonum kernels all of it is.
//
// Arguments are checked by gonum's own functions, so mistakes panic as they do
// there. Results differ from gonum's by rounding only: an entry of a product
// of depth k is within k·eps·Σ|a||b| of the exact one. NaN and Inf propagate,
// more strictly than gonum's: where it skips zero factors, and so loses 0·NaN
// and 0·Inf, a product on k is NaN. alpha = 0 is left to gonum, and with
// beta = 0 the old values of the destination do not matter, as there.
//
// Large calls use as many goroutines as GOMAXPROCS was when BLAS was called;
// calls at the same time share them, and none outlives its call. Results do
// not depend on their number. The value is safe for concurrent use. Between
// calls it keeps at most 16 MB of scratch, and as much for every further call
// that ran at the same time until a garbage collection finds it unused. While a
// call runs, vectors with gaps have copies besides.
func BLAS(k Kernel) blas.Float32 {
	if k.table().gemm.run == nil {
		return gonumblas.Implementation{}
	}
	return &float32BLAS{kernel: k, workers: NewWorkers(0)}
}

// float32BLAS is gonum's BLAS with the methods below in the place of its own.
type float32BLAS struct {
	gonumblas.Implementation
	kernel  Kernel
	workers *Workers
	calls   scratch.Pool[blasCall]
}

const (
	// Products of fewer multiplications are left to gonum, which packs nothing.
	smallProduct = 8 * 8 * 8
	// Products of fewer multiplications are the caller's alone: others would
	// take as long to wake up.
	serialProduct = 128 * 128 * 128
	// A block of B is at most so deep, and a block of B or Aᵀ has at most
	// about so many floats.
	blasDepth, blasFloats = 1536, 3 << 19
	// Copies of vectors with more floats are not kept.
	keptVectors = 1 << 19
)

// begin starts a call that does so much work, alone if it is under serial.
func (b *float32BLAS) begin(work, serial int) *blasCall {
	c := b.calls.Get()
	if c.kernel.impl == nil {
		c.kernel, c.packJob, c.transposeJob, c.scaleJob = b.kernel, c.packPart, c.transposePart, c.scalePart
		c.rowsJob, c.colsJob, c.outerJob = c.rowsPart, c.colsPart, c.outerPart
	}
	if work >= serial && cap(b.workers.slots) > 1 {
		c.team, _ = b.workers.Team(context.Background()) // which is never done
	}
	return c
}

func (b *float32BLAS) end(c *blasCall) {
	c.team.Close()
	c.team, c.from, c.to, c.x, c.y = nil, operand{}, operand{}, nil, nil
	if cap(c.xs)+cap(c.ys) > keptVectors {
		c.xs, c.ys = nil, nil
	}
	b.calls.Put(c)
}

func (b *float32BLAS) Sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, bb []float32, ldb int, beta float32, c []float32, ldc int) {
	// With alpha 0 and beta 1 gonum checks its arguments and does no more.
	b.Implementation.Sgemm(tA, tB, m, n, k, 0, a, lda, bb, ldb, 1, c, ldc)
	if alpha == 0 || m*n*k < smallProduct {
		b.Implementation.Sgemm(tA, tB, m, n, k, alpha, a, lda, bb, ldb, beta, c, ldc)
		return
	}
	if m == 1 || n == 1 {
		b.thin(tA, tB, m, n, k, alpha, a, lda, bb, ldb, beta, c, ldc)
		return
	}
	call := b.begin(m*n*k, serialProduct)
	defer b.end(call)
	call.multiply(alpha, operand{a, lda, m, k, tA != blas.NoTrans}, operand{bb, ldb, k, n, tB != blas.NoTrans},
		beta, operand{c, ldc, m, n, false})
}

// thin is Sgemm of one row or one column.
func (b *float32BLAS) thin(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, bb []float32, ldb int, beta float32, c []float32, ldc int) {
	incA, incB := 1, 1 // between the values of a row of A and of a column of B
	if tA != blas.NoTrans {
		incA = lda
	}
	if tB == blas.NoTrans {
		incB = ldb
	}
	switch {
	case n == 1 && tA == blas.NoTrans:
		b.Sgemv(blas.NoTrans, m, k, alpha, a, lda, bb, incB, beta, c, ldc)
	case n == 1:
		b.Sgemv(blas.Trans, k, m, alpha, a, lda, bb, incB, beta, c, ldc)
	case tB == blas.NoTrans:
		b.Sgemv(blas.Trans, k, n, alpha, bb, ldb, a, incA, beta, c, 1)
	default:
		b.Sgemv(blas.NoTrans, n, k, alpha, bb, ldb, a, incA, beta, c, 1)
	}
}

// operand is a matrix, rows×cols, that may lie in memory as its transpose.
type operand struct {
	data       []float32
	ld         int
	rows, cols int
	trans      bool
}

// part is the rows×cols part from row i and column j on.
func (m operand) part(i, rows, j, cols int) operand {
	if m.trans {
		i, j = j, i
	}
	return operand{m.data[i*m.ld+j:], m.ld, rows, cols, m.trans}
}

func (m operand) t() operand { return operand{m.data, m.ld, m.cols, m.rows, !m.trans} }

// matrix is m as it lies in memory.
func (m operand) matrix() blas32.General {
	if m.trans {
		m = m.t()
	}
	return blas32.General{Rows: m.rows, Cols: m.cols, Stride: m.ld, Data: m.data}
}

// blasCall is one call under way, and its memory.
type blasCall struct {
	kernel Kernel
	team   *Team

	packed     Packed    // a block of B
	transposed []float32 // a block of Aᵀ
	square     []float32 // a block on the diagonal of C, or rows of a symmetric A
	xs, ys     []float32 // vectors without gaps

	// The job that the team does part by part, and the functions that do it,
	// made once.
	from, to                        operand
	x, y                            []float32
	alpha, beta                     float32
	packJob, transposeJob, scaleJob func(worker, i int)
	rowsJob, colsJob, outerJob      func(worker, i int)
}

// cut is the number of equal parts, none over most, that n is cut into, and
// their size but for the last: a multiple of unit.
func cut(n, most, unit int) (size int) {
	parts := max(1, (n+most-1)/most)
	return (((n+parts-1)/parts + unit - 1) / unit) * unit
}

// multiply stores alpha·a·b + beta·c in c; no dimension is 0. B is packed
// block by block, by all workers together, and a block meets all of A before
// the next one.
func (c *blasCall) multiply(alpha float32, a, b operand, beta float32, dst operand) {
	if dst.trans {
		a, b, dst = b.t(), a.t(), dst.t()
	}
	if beta != 0 && beta != 1 {
		c.scale(beta, dst)
	}
	depth := cut(b.rows, blasDepth, 1)
	width := cut(b.cols, blasFloats/depth, 2*c.kernel.table().gemm.lanes)
	height := a.rows
	if a.trans {
		height = cut(a.rows, blasFloats/depth, 8)
	}
	for k0 := 0; k0 < b.rows; k0 += depth {
		depth := min(depth, b.rows-k0)
		for j0 := 0; j0 < b.cols; j0 += width {
			width := min(width, b.cols-j0)
			c.pack(b.part(k0, depth, j0, width))
			for i0 := 0; i0 < a.rows; i0 += height {
				height := min(height, a.rows-i0)
				to := dst.part(i0, height, j0, width).matrix()
				e := Epilogue{Alpha: alpha}
				if beta != 0 || k0 > 0 {
					e.Residual = to
				}
				gemmTiled(c.team, c.kernel, to, c.rowMajor(a.part(i0, height, k0, depth)), &c.packed, e)
			}
		}
	}
}

// strip is how many rows or columns a part of a job takes.
const strip = 64

// pack packs b.
func (c *blasCall) pack(b operand) {
	c.packed.reset(c.kernel.table(), b.cols, b.rows)
	c.from = b
	c.team.Do((b.cols+strip-1)/strip, c.packJob)
}

func (c *blasCall) packPart(_, i int) {
	from, to := i*strip, min((i+1)*strip, c.packed.n)
	if b := c.from.matrix(); c.from.trans {
		c.packed.packRows(b, from, to)
	} else {
		c.packed.packCols(b, from, to)
	}
}

// rowMajor is a as it is in memory, or transposed to be so.
func (c *blasCall) rowMajor(a operand) blas32.General {
	if !a.trans {
		return a.matrix()
	}
	ld := a.cols/16*16 + 16 // one cache line more keeps rows from meeting in the cache
	c.from, c.to = a, operand{grow(&c.transposed, a.rows*ld), ld, a.rows, a.cols, false}
	c.team.Do((a.rows+strip-1)/strip, c.transposeJob)
	return c.to.matrix()
}

func (c *blasCall) transposePart(_, i int) {
	row := i * strip
	rows := min(strip, c.from.rows-row)
	c.kernel.table().vector.transpose(c.to.data[row*c.to.ld:], c.to.ld, c.from.data[row:], c.from.ld, c.from.cols, rows)
}

// scale multiplies m by beta.
func (c *blasCall) scale(beta float32, m operand) {
	c.to, c.beta = m, beta
	c.team.Do((m.rows+strip-1)/strip, c.scaleJob)
}

func (c *blasCall) scalePart(_, i int) {
	for r := i * strip; r < min((i+1)*strip, c.to.rows); r++ {
		row := c.to.data[r*c.to.ld:][:c.to.cols]
		c.kernel.table().vector.scale(row, row, c.beta)
	}
}
