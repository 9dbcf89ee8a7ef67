package simd

import "gonum.org/v1/gonum/blas"

// triangular is one call of Strsm or Strmm. The triangle is cut in halves,
// which leaves two triangles and a square, until gonum takes over.
//
// X·A is seen as (Aᵀ·Xᵀ)ᵀ, so that A is always on the left.
type triangular struct {
	*blasCall
	solve bool // Strsm
	lower bool // A as seen: a part of B depends on those before it
	alpha float32
	a, b  operand

	at, n int // of the leaf under way
	// leaf is gonum's function for rows [at, at+n) of A and B, with part i of
	// the columns of B.
	leaf func(worker, i int)
}

// triangularLeaf is the largest triangle for gonum.
const triangularLeaf = 16

func (b *float32BLAS) Strsm(s blas.Side, ul blas.Uplo, tA blas.Transpose, d blas.Diag, m, n int, alpha float32, a []float32, lda int, x []float32, ldx int) {
	t, ok := b.triangular(s, ul, tA, d, m, n, alpha, a, lda, x, ldx)
	if !ok {
		b.Implementation.Strsm(s, ul, tA, d, m, n, alpha, a, lda, x, ldx)
		return
	}
	defer b.end(t.blasCall)
	t.solve = true
	if alpha != 1 {
		t.scale(alpha, operand{x, ldx, m, n, false})
	}
	t.leaf = func(_, i int) {
		m, n, x := t.leafPart(i)
		b.Implementation.Strsm(s, ul, tA, d, m, n, 1, a[t.at*lda+t.at:], lda, x, ldx)
	}
	t.apply(0, t.a.rows)
}

func (b *float32BLAS) Strmm(s blas.Side, ul blas.Uplo, tA blas.Transpose, d blas.Diag, m, n int, alpha float32, a []float32, lda int, x []float32, ldx int) {
	t, ok := b.triangular(s, ul, tA, d, m, n, alpha, a, lda, x, ldx)
	if !ok {
		b.Implementation.Strmm(s, ul, tA, d, m, n, alpha, a, lda, x, ldx)
		return
	}
	defer b.end(t.blasCall)
	t.leaf = func(_, i int) {
		m, n, x := t.leafPart(i)
		b.Implementation.Strmm(s, ul, tA, d, m, n, alpha, a[t.at*lda+t.at:], lda, x, ldx)
	}
	t.apply(0, t.a.rows)
}

// triangular begins a call, unless the triangle is small, alpha is 0 or an
// argument is wrong: gonum looks after those.
func (b *float32BLAS) triangular(s blas.Side, ul blas.Uplo, tA blas.Transpose, d blas.Diag, m, n int, alpha float32, a []float32, lda int, x []float32, ldx int) (t *triangular, ok bool) {
	k := n
	if s == blas.Left {
		k = m
	}
	if k <= triangularLeaf || m < 1 || n < 1 || alpha == 0 || lda < k || ldx < n || len(a) < lda*(k-1)+k || len(x) < ldx*(m-1)+n ||
		s != blas.Left && s != blas.Right || ul != blas.Lower && ul != blas.Upper || d != blas.Unit && d != blas.NonUnit ||
		tA != blas.NoTrans && tA != blas.Trans && tA != blas.ConjTrans {
		return nil, false
	}
	t = new(triangular)
	t.a, t.b = operand{a, lda, k, k, tA != blas.NoTrans}, operand{x, ldx, m, n, false}
	if s == blas.Right {
		t.a, t.b = t.a.t(), t.b.t()
	}
	t.lower, t.alpha = (ul == blas.Lower) != t.a.trans, alpha
	t.blasCall = b.begin(m*n*k/2, serialProduct)
	return t, true
}

// leafPart is part i of the B of the leaf under way as it lies in memory.
func (t *triangular) leafPart(i int) (m, n int, x []float32) {
	b := t.b.part(t.at, t.n, i*strip, min(strip, t.b.cols-i*strip)).matrix()
	return b.Rows, b.Cols, b.Data
}

// apply solves for, or multiplies, the rows [at, at+n) of b.
func (t *triangular) apply(at, n int) {
	if n <= triangularLeaf {
		t.at, t.n = at, n
		t.team.Do((t.b.cols+strip-1)/strip, t.leaf)
		return
	}
	half := (n/2 + triangularLeaf - 1) / triangularLeaf * triangularLeaf
	free, bound := [2]int{at, half}, [2]int{at + half, n - half} // bound depends on free
	if !t.lower {
		free, bound = bound, free
	}
	square := t.a.part(bound[0], bound[1], free[0], free[1])
	from, to := t.b.part(free[0], free[1], 0, t.b.cols), t.b.part(bound[0], bound[1], 0, t.b.cols)
	if t.solve {
		t.apply(free[0], free[1])
		t.multiply(-1, square, from, 1, to)
		t.apply(bound[0], bound[1])
	} else {
		t.apply(bound[0], bound[1])
		t.multiply(t.alpha, square, from, 1, to)
		t.apply(free[0], free[1])
	}
}
