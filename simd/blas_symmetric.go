package simd

import "gonum.org/v1/gonum/blas"

// symmetricBlock is the side of the blocks that triangles are cut into.
const symmetricBlock = 128

func (b *float32BLAS) Ssyrk(ul blas.Uplo, tA blas.Transpose, n, k int, alpha float32, a []float32, lda int, beta float32, c []float32, ldc int) {
	if n*n*k < smallSymmetric {
		b.Implementation.Ssyrk(ul, tA, n, k, alpha, a, lda, beta, c, ldc)
		return
	}
	// With alpha 0 gonum checks its arguments and multiplies c by beta.
	b.Implementation.Ssyrk(ul, tA, n, k, 0, a, lda, beta, c, ldc)
	if alpha == 0 {
		return
	}
	call := b.begin(n*n*k/2, serialProduct)
	defer b.end(call)
	x := operand{a, lda, n, k, tA != blas.NoTrans}
	call.triangle(ul, alpha, x, x, operand{c, ldc, n, n, false})
}

func (b *float32BLAS) Ssyr2k(ul blas.Uplo, tA blas.Transpose, n, k int, alpha float32, a []float32, lda int, bb []float32, ldb int, beta float32, c []float32, ldc int) {
	if n*n*k < smallSymmetric {
		b.Implementation.Ssyr2k(ul, tA, n, k, alpha, a, lda, bb, ldb, beta, c, ldc)
		return
	}
	b.Implementation.Ssyr2k(ul, tA, n, k, 0, a, lda, bb, ldb, beta, c, ldc)
	if alpha == 0 {
		return
	}
	call := b.begin(n*n*k, serialProduct)
	defer b.end(call)
	x, y := operand{a, lda, n, k, tA != blas.NoTrans}, operand{bb, ldb, n, k, tA != blas.NoTrans}
	call.triangle(ul, alpha, x, y, operand{c, ldc, n, n, false})
	call.triangle(ul, alpha, y, x, operand{c, ldc, n, n, false})
}

// smallSymmetric is smallProduct for symmetric matrices, of which gonum
// computes one half.
const smallSymmetric = 2 * 16 * 16 * 16

// triangle adds alpha·a·bᵀ to one triangle of dst, a block of columns at a
// time: a square on the diagonal, of which one half is wanted, and the rest.
func (c *blasCall) triangle(ul blas.Uplo, alpha float32, a, b, dst operand) {
	n, k := a.rows, a.cols
	square := grow(&c.square, symmetricBlock*symmetricBlock)
	for j0 := 0; j0 < n; j0 += symmetricBlock {
		width := min(symmetricBlock, n-j0)
		columns := b.part(j0, width, 0, k).t()
		c.multiply(alpha, a.part(j0, width, 0, k), columns, 0, operand{square, width, width, width, false})
		for i := range width {
			from, to := 0, i+1
			if ul == blas.Upper {
				from, to = i, width
			}
			row := dst.data[(j0+i)*dst.ld+j0:][from:to]
			c.kernel.Add(row, row, square[i*width+from:][:len(row)])
		}
		i0, rows := j0+width, n-j0-width
		if ul == blas.Upper {
			i0, rows = 0, j0
		}
		if rows > 0 {
			c.multiply(alpha, a.part(i0, rows, 0, k), columns, 1, dst.part(i0, rows, j0, width))
		}
	}
}

func (b *float32BLAS) Ssymm(s blas.Side, ul blas.Uplo, m, n int, alpha float32, a []float32, lda int, bb []float32, ldb int, beta float32, c []float32, ldc int) {
	// With alpha 0 and beta 1 gonum checks its arguments and does no more.
	b.Implementation.Ssymm(s, ul, m, n, 0, a, lda, bb, ldb, 1, c, ldc)
	side := n
	if s == blas.Left {
		side = m
	}
	if alpha == 0 || m*n*side < smallProduct {
		b.Implementation.Ssymm(s, ul, m, n, alpha, a, lda, bb, ldb, beta, c, ldc)
		return
	}
	call := b.begin(m*n*side, serialProduct)
	defer b.end(call)
	x, dst, whole := operand{bb, ldb, m, n, false}, operand{c, ldc, m, n, false}, operand{a, lda, side, side, false}
	for i0 := 0; i0 < side; i0 += wideStrip {
		rows := min(wideStrip, side-i0)
		// What is left and right of the square on the diagonal is stored as it
		// is in one triangle, and transposed in the other.
		product := func(block operand, j0 int, beta float32) {
			if s == blas.Left {
				call.multiply(alpha, block, x.part(j0, block.cols, 0, n), beta, dst.part(i0, rows, 0, n))
			} else {
				call.multiply(alpha, x.part(0, m, j0, block.cols), block.t(), beta, dst.part(0, m, i0, rows))
			}
		}
		beside := func(j0, cols int, stored bool) {
			switch {
			case cols == 0:
			case stored:
				product(whole.part(i0, rows, j0, cols), j0, 1)
			default:
				product(whole.part(j0, cols, i0, rows).t(), j0, 1)
			}
		}
		product(call.mirror(ul, whole, i0, rows), i0, beta)
		beside(0, i0, ul == blas.Lower)
		beside(i0+rows, side-i0-rows, ul == blas.Upper)
	}
}

// mirror is the square of rows and columns [i0, i0+n) of a symmetric matrix of
// which one triangle is stored.
func (c *blasCall) mirror(ul blas.Uplo, a operand, i0, n int) operand {
	m := operand{grow(&c.square, n*n), n, n, n, false}
	for i := range n {
		for j := range n {
			r, s := i, j
			if (j > i) == (ul == blas.Lower) {
				r, s = j, i
			}
			m.data[i*n+j] = a.data[(i0+r)*a.ld+i0+s]
		}
	}
	return m
}
