package simd

import "gonum.org/v1/gonum/blas/blas32"

// Every exported operation checks its operands before it touches any: sizes
// come from code, not from users, so a mistake is a panic. The checks hold for
// sizes whose products do not fit an int.

// checkMatrix panics unless m has rows and columns, a stride of at least its
// columns, and data up to the last column of the last row.
func checkMatrix(operation, name string, m blas32.General) {
	if m.Rows < 0 || m.Cols < 0 {
		panic("simd: " + operation + ": negative size of " + name)
	}
	if m.Stride < m.Cols {
		panic("simd: " + operation + ": stride of " + name + " below its columns")
	}
	if m.Rows == 0 || m.Cols == 0 {
		return
	}
	if rest := len(m.Data) - m.Cols; rest < 0 || m.Rows-1 > rest/m.Stride {
		panic("simd: " + operation + ": data of " + name + " too short")
	}
}

// checkSize panics unless m is a matrix of that size.
func checkSize(operation, name string, m blas32.General, rows, cols int) {
	checkMatrix(operation, name, m)
	if m.Rows != rows || m.Cols != cols {
		panic("simd: " + operation + ": size of " + name + " does not fit")
	}
}

// checkLength panics unless a slice has the length that it should have.
func checkLength(operation, name string, got, want int) {
	if got != want {
		panic("simd: " + operation + ": length of " + name + " does not fit")
	}
}

// checkActivation panics for a value that is not one of the constants.
func checkActivation(operation string, f Activation) {
	if f > GELUTanh {
		panic("simd: " + operation + ": unknown activation")
	}
}

// checkOperands checks the operands of a product of depth k and n columns.
func checkOperands(operation string, dst, a blas32.General, n, k int, e *Epilogue) {
	checkMatrix(operation, "a", a)
	if a.Cols != k {
		panic("simd: " + operation + ": columns of a are not the depth of b")
	}
	checkSize(operation, "dst", dst, a.Rows, n)
	if e.Bias != nil {
		checkLength(operation, "the bias", len(e.Bias), n)
	}
	if e.Residual.Data != nil {
		checkSize(operation, "the residual", e.Residual, dst.Rows, dst.Cols)
	}
	checkActivation(operation, e.Act)
}

// checkSpaced panics unless v holds so many vectors of n floats of each of
// count items, all of these above zero.
func checkSpaced(operation, name string, v Spaced, vectors, n, count int) {
	if v.Stride < n || v.Step < 0 || v.Step == 0 && count > 1 {
		panic("simd: " + operation + ": stride or step of " + name + " too small")
	}
	rest := len(v.Data) - n
	if rest < 0 || vectors-1 > rest/v.Stride {
		panic("simd: " + operation + ": data of " + name + " too short")
	}
	rest -= (vectors - 1) * v.Stride
	if count > 1 && count-1 > rest/v.Step {
		panic("simd: " + operation + ": data of " + name + " too short")
	}
}

// check panics if an operand of an attention does not fit the others.
func (a *Attention) check(dst blas32.General) {
	const operation = "Attend"
	if a.Batch < 0 || a.Heads < 0 || a.HeadDim < 0 {
		panic("simd: Attend: negative size")
	}
	batch, cols := max(a.Batch, 1), a.Q.Cols
	checkMatrix(operation, "q", a.Q)
	checkSize(operation, "k", a.K, a.K.Rows, cols)
	checkSize(operation, "v", a.V, a.K.Rows, cols)
	checkSize(operation, "dst", dst, a.Q.Rows, cols)
	if a.Q.Rows%batch != 0 || a.K.Rows%batch != 0 {
		panic("simd: Attend: rows are no multiple of the batch")
	}
	if !isProduct(cols, a.Heads, a.HeadDim) {
		panic("simd: Attend: columns are not those of the heads")
	}
	nq, nk := a.Q.Rows/batch, a.K.Rows/batch
	if a.Causal && nk < nq {
		panic("simd: Attend: causal with fewer keys than queries")
	}
	if a.Mask.Data != nil {
		checkSize(operation, "the mask", a.Mask, nq, nk)
	}
	if a.RelRow.Data == nil && a.RelCol.Data == nil {
		return
	}
	checkMatrix(operation, "RelRow", a.RelRow)
	checkMatrix(operation, "RelCol", a.RelCol)
	if a.RelRow.Rows != a.Q.Rows || a.RelCol.Rows != a.Q.Rows || !isProduct(nk, a.Grid.X, a.Grid.Y) ||
		!isProduct(a.RelRow.Cols, a.Heads, a.Grid.Y) || !isProduct(a.RelCol.Cols, a.Heads, a.Grid.X) {
		panic("simd: Attend: relative positions do not fit the queries, heads and grid")
	}
}

// isProduct reports whether n = x·y, x and y not negative, whose product may
// not fit an int.
func isProduct(n, x, y int) bool {
	if x <= 0 || y <= 0 {
		return x >= 0 && y >= 0 && n == 0
	}
	return n%x == 0 && n/x == y
}
