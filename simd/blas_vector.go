package simd

import "gonum.org/v1/gonum/blas"

const (
	// Vectors shorter than this are left to gonum, and so are matrices of
	// fewer entries.
	smallVector, smallMatrix = 32, 64 * 64
	// Matrices of fewer entries are the caller's alone.
	serialMatrix = 1 << 18
)

func (b *float32BLAS) Sdot(n int, x []float32, incX int, y []float32, incY int) float32 {
	if incX != 1 || incY != 1 || n < smallVector || len(x) < n || len(y) < n {
		return b.Implementation.Sdot(n, x, incX, y, incY)
	}
	return b.kernel.table().vector.dot(x[:n], y[:n])
}

func (b *float32BLAS) Saxpy(n int, alpha float32, x []float32, incX int, y []float32, incY int) {
	if alpha == 0 || incX != 1 || incY != 1 || n < smallVector || len(x) < n || len(y) < n {
		b.Implementation.Saxpy(n, alpha, x, incX, y, incY)
		return
	}
	b.kernel.table().vector.lerp(y[:n], x[:n], y[:n], alpha, 1)
}

func (b *float32BLAS) Sscal(n int, alpha float32, x []float32, incX int) {
	if alpha == 0 || incX != 1 || n < smallVector || len(x) < n {
		b.Implementation.Sscal(n, alpha, x, incX)
		return
	}
	b.kernel.table().vector.scale(x[:n], x[:n], alpha)
}

func (b *float32BLAS) Sgemv(tA blas.Transpose, m, n int, alpha float32, a []float32, lda int, x []float32, incX int, beta float32, y []float32, incY int) {
	// With alpha 0 and beta 1 gonum checks its arguments and does no more.
	b.Implementation.Sgemv(tA, m, n, 0, a, lda, x, incX, 1, y, incY)
	if alpha == 0 || m*n < smallMatrix {
		b.Implementation.Sgemv(tA, m, n, alpha, a, lda, x, incX, beta, y, incY)
		return
	}
	call := b.begin(m*n, serialMatrix)
	defer b.end(call)
	call.from, call.alpha, call.beta = operand{a, lda, m, n, false}, alpha, beta
	if tA == blas.NoTrans {
		call.x, call.y = gather(&call.xs, n, x, incX), gather(&call.ys, m, y, incY)
		call.team.Do((m+strip-1)/strip, call.rowsJob)
		scatter(call.y, y, incY)
	} else {
		call.x, call.y = gather(&call.xs, m, x, incX), gather(&call.ys, n, y, incY)
		call.team.Do((n+wideStrip-1)/wideStrip, call.colsJob)
		scatter(call.y, y, incY)
	}
}

// wideStrip is how many columns a part of a job takes that needs all rows.
const wideStrip = 512

// rowsPart stores alpha·A·x + beta·y in y for some rows.
func (c *blasCall) rowsPart(_, i int) {
	dot := c.kernel.table().vector.dot
	for r := i * strip; r < min((i+1)*strip, c.from.rows); r++ {
		v := c.alpha * dot(c.from.data[r*c.from.ld:][:c.from.cols], c.x)
		if c.beta != 0 {
			v += c.beta * c.y[r]
		}
		c.y[r] = v
	}
}

// colsPart stores alpha·Aᵀ·x + beta·y in y for some columns.
func (c *blasCall) colsPart(_, i int) {
	v := &c.kernel.table().vector
	j0, j1 := i*wideStrip, min((i+1)*wideStrip, c.from.cols)
	y := c.y[j0:j1]
	switch c.beta {
	case 0:
		clear(y)
	case 1:
	default:
		v.scale(y, y, c.beta)
	}
	for r, x := range c.x {
		v.lerp(y, c.from.data[r*c.from.ld+j0:][:len(y)], y, c.alpha*x, 1)
	}
}

func (b *float32BLAS) Sger(m, n int, alpha float32, x []float32, incX int, y []float32, incY int, a []float32, lda int) {
	b.Implementation.Sger(m, n, 0, x, incX, y, incY, a, lda)     // the checks
	if alpha == 0 || m*n < smallMatrix && incX > 0 && incY > 0 { // gonum v0.17.0 errs with others on amd64
		b.Implementation.Sger(m, n, alpha, x, incX, y, incY, a, lda)
		return
	}
	call := b.begin(m*n, serialMatrix)
	defer b.end(call)
	call.to, call.alpha = operand{a, lda, m, n, false}, alpha
	call.x, call.y = gather(&call.xs, m, x, incX), gather(&call.ys, n, y, incY)
	call.team.Do((m+strip-1)/strip, call.outerJob)
}

// outerPart adds alpha·x·yᵀ to some rows.
func (c *blasCall) outerPart(_, i int) {
	lerp := c.kernel.table().vector.lerp
	for r := i * strip; r < min((i+1)*strip, c.to.rows); r++ {
		row := c.to.data[r*c.to.ld:][:c.to.cols]
		lerp(row, c.y, row, c.alpha*c.x[r], 1)
	}
}

// gather is the n values of x, copied to memory if they are not side by side.
func gather(memory *[]float32, n int, x []float32, inc int) []float32 {
	if inc == 1 {
		return x[:n]
	}
	to := grow(memory, n)
	for i, at := 0, first(n, inc); i < n; i, at = i+1, at+inc {
		to[i] = x[at]
	}
	return to
}

// scatter undoes gather.
func scatter(from, x []float32, inc int) {
	if inc == 1 {
		return
	}
	for i, at := 0, first(len(from), inc); i < len(from); i, at = i+1, at+inc {
		x[at] = from[i]
	}
}

// first is the index of the first of n values.
func first(n, inc int) int { return max(0, (1-n)*inc) }
