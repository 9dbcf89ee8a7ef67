package simd

import (
	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"gonum.org/v1/gonum/blas/blas32"
)

// Strassen is the right-hand side of a product for one level of Strassen's
// algorithm: weights packed as sums of their quarters, so that seven products
// of half the size in each direction do the work of eight. It takes 7/4 of the
// memory of Packed. It is immutable and may be shared.
//
// Source: Winograd's form, with 15 additions; Higham, Accuracy and Stability
// of Numerical Algorithms, section 23.2.2.
type Strassen struct {
	n, k int
	b    [7]*Packed // B11, B21, B22, T1 … T4
}

// PackStrassen packs b, N×K, both even, for k.
func PackStrassen(k Kernel, b blas32.General) *Strassen {
	checkMatrix("PackStrassen", "b", b)
	if b.Rows%2 != 0 || b.Cols%2 != 0 {
		panic("simd: PackStrassen: odd size of b")
	}
	n, depth := b.Rows/2, b.Cols/2
	// Outputs are rows of b: B12 is its rows from n on, columns up to depth.
	b11, b21 := part(b, 0, n, 0, depth), part(b, 0, n, depth, depth)
	b12, b22 := part(b, n, n, 0, depth), part(b, n, n, depth, depth)
	difference := func(x, y blas32.General) blas32.General {
		m := blas32.General{Rows: n, Cols: depth, Stride: depth, Data: make([]float32, n*depth)}
		k.combine(m, x, y, -1)
		return m
	}
	t1 := difference(b12, b11)
	t2 := difference(b22, t1)
	s := &Strassen{n: b.Rows, k: b.Cols}
	for i, m := range []blas32.General{b11, b21, b22, t1, t2, difference(b22, b12), difference(t2, b21)} {
		s.b[i] = Pack(k, m)
	}
	return s
}

// part is the rows×cols part of m from row i and column j on.
func part(m blas32.General, i, rows, j, cols int) blas32.General {
	if rows == 0 || cols == 0 {
		return blas32.General{Rows: rows, Cols: cols, Stride: m.Stride}
	}
	return blas32.General{Rows: rows, Cols: cols, Stride: m.Stride, Data: m.Data[i*m.Stride+j:]}
}

// combine stores x + w·y in dst, which may be either; w is 1 or -1.
func (k Kernel) combine(dst, x, y blas32.General, w float32) {
	for i := range dst.Rows {
		k.table().vector.lerp(dst.Data[i*dst.Stride:][:dst.Cols], x.Data[i*x.Stride:][:dst.Cols], y.Data[i*y.Stride:][:dst.Cols], 1, w)
	}
}

// strassenRows is at most how many rows of each half of a meet the weights together:
// few enough that their sums stay in the second-level cache.
const strassenRows = 112

// strassenCall is one call of MatMulStrassen under way.
type strassenCall struct {
	kernel  Kernel
	dst, a  blas32.General
	b       *Strassen
	e       Epilogue
	parts   int // that the rows of a half are cut into
	workers []strassenWorker
	part    func(worker, i int) // c.compute, made once
}

// strassenWorker is the memory of a worker.
type strassenWorker struct {
	sums     [4][]float32 // of quarters of a
	products [3][]float32
}

var strassens scratch.Pool[strassenCall]

// MatMulStrassen is MatMul of a matrix that PackStrassen packed, without a
// residual. It saves an eighth of the multiplications, of which its sums give
// back a part: 5 to 10 % of the time are left where a has thousands of rows and
// N and K are hundreds. An entry may be off by
//
//	4.5·K·(K + 16)·eps·max|a|·max|b|
//
// before Bias and Act, with eps = 2^-24, where MatMul's bound is
// K·eps·Σ|a||b|: small entries beside large ones lose accuracy. A NaN or Inf
// spreads to entries that do not depend on it.
func (k Kernel) MatMulStrassen(t *Team, dst, a blas32.General, b *Strassen, e Epilogue) {
	if b == nil || b.b[0] == nil || b.b[0].kernel != k.table() {
		panic("simd: MatMulStrassen: b is not packed for this kernel")
	}
	if e.Residual.Data != nil {
		panic("simd: MatMulStrassen: it takes no residual")
	}
	checkOperands("MatMulStrassen", dst, a, b.n, b.k, &e)
	if dst.Rows == 0 || dst.Cols == 0 {
		return
	}
	c := strassens.Get()
	if c.part == nil {
		c.part = c.compute
	}
	c.kernel, c.dst, c.a, c.b, c.e = k, dst, a, b, e
	for len(c.workers) < t.Size() {
		c.workers = append(c.workers, strassenWorker{})
	}
	// As many parts for every worker.
	size, half := t.Size(), a.Rows/2
	c.parts = min(half, ((half+strassenRows-1)/strassenRows+size-1)/size*size)
	t.Do(c.parts, c.part)
	if last := a.Rows - 1; last%2 == 0 { // in both halves, stored twice
		c.multiply(&c.workers[0], last, last, 1)
	}
	*c = strassenCall{workers: c.workers, part: c.part}
	strassens.Put(c)
}

func (c *strassenCall) compute(worker, i int) {
	half := c.a.Rows / 2
	from, to := i*half/c.parts, (i+1)*half/c.parts
	c.multiply(&c.workers[worker], from, half+from, to-from)
}

// multiply computes some rows from i in the upper and from j in the lower half.
func (c *strassenCall) multiply(w *strassenWorker, i, j, rows int) {
	k, n, depth := c.kernel, c.b.n/2, c.b.k/2
	a11, a12 := part(c.a, i, rows, 0, depth), part(c.a, i, rows, depth, depth)
	a21, a22 := part(c.a, j, rows, 0, depth), part(c.a, j, rows, depth, depth)
	c11, c12 := part(c.dst, i, rows, 0, n), part(c.dst, i, rows, n, n)
	c21, c22 := part(c.dst, j, rows, 0, n), part(c.dst, j, rows, n, n)
	matrix := func(memory *[]float32, cols int) blas32.General {
		stride := cols/16*16 + 16 // one cache line more keeps rows from meeting in the cache
		return blas32.General{Rows: rows, Cols: cols, Stride: stride, Data: grow(memory, rows*stride)}
	}
	s1, s2, s3, s4 := matrix(&w.sums[0], depth), matrix(&w.sums[1], depth), matrix(&w.sums[2], depth), matrix(&w.sums[3], depth)
	k.combine(s1, a21, a22, 1)
	k.combine(s2, s1, a11, -1)
	k.combine(s3, a11, a21, -1)
	k.combine(s4, a12, s2, -1)

	var left, right []float32
	if c.e.Bias != nil {
		left, right = c.e.Bias[:n], c.e.Bias[n:]
	}
	product := func(dst, x blas32.General, weights int, sign float32, add blas32.General, bias []float32) {
		alpha := c.e.Alpha
		if alpha == 0 {
			alpha = 1
		}
		k.MatMul(nil, dst, x, c.b.b[weights], Epilogue{Alpha: sign * alpha, Residual: add, Bias: bias})
	}
	const b11, b21, b22, t1, t2, t3, t4 = 0, 1, 2, 3, 4, 5, 6
	u, p5, u4 := matrix(&w.products[0], n), matrix(&w.products[1], n), matrix(&w.products[2], n)
	none := blas32.General{}
	product(u, a11, b11, 1, none, nil)
	product(c11, a12, b21, 1, u, left)
	product(u, s2, t2, 1, u, nil)
	product(p5, s1, t1, 1, none, right)
	k.combine(u4, u, p5, 1)
	product(c12, s4, b22, 1, u4, nil)
	product(u, s3, t3, 1, u, nil)
	k.combine(c22, u, p5, 1)
	product(c21, a22, t4, -1, u, left)
	if c.e.Act != Identity {
		for r := range rows {
			k.Activate(c.e.Act, c.dst.Data[(i+r)*c.dst.Stride:][:c.dst.Cols])
			if i != j {
				k.Activate(c.e.Act, c.dst.Data[(j+r)*c.dst.Stride:][:c.dst.Cols])
			}
		}
	}
}
