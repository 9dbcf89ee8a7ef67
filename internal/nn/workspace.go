package nn

import (
	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"gonum.org/v1/gonum/blas/blas32"
)

// Matrix views data, rows × cols row-major, as a matrix.
func Matrix(data []float32, rows, cols int) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: max(cols, 1), Data: data[:rows*cols]}
}

// Rows is the view of n rows of m from row i.
func Rows(m blas32.General, i, n int) blas32.General {
	end := 0
	if n > 0 {
		end = (i+n-1)*m.Stride + m.Cols
	}
	return blas32.General{Rows: n, Cols: m.Cols, Stride: m.Stride, Data: m.Data[min(i*m.Stride, end):end]}
}

// Cols is the view of n columns of m from column j.
func Cols(m blas32.General, j, n int) blas32.General {
	v := blas32.General{Rows: m.Rows, Cols: n, Stride: m.Stride}
	if m.Rows > 0 {
		v.Data = m.Data[j : (m.Rows-1)*m.Stride+j+n]
	}
	return v
}

// Workspace is the scratch memory of one call. It is not safe for concurrent
// use.
type Workspace struct{ scratch.Arena[float32] }

// Floats returns n floats of unspecified content.
func (w *Workspace) Floats(n int) []float32 { return w.Take(n) }

// Matrix returns a rows × cols matrix of unspecified content.
func (w *Workspace) Matrix(rows, cols int) blas32.General {
	return Matrix(w.Floats(rows*cols), rows, cols)
}

// Operand returns a rows × cols matrix of unspecified content for products to
// read and write: its rows lie Stride(cols) apart.
func (w *Workspace) Operand(rows, cols int) blas32.General {
	return Cols(w.Matrix(rows, Stride(cols)), 0, cols)
}

// Stride is the distance between rows of so many columns that a tile of a
// product can read side by side. A multiple of 2 KB apart, they would all meet
// in the same few places of the first-level cache.
func Stride(cols int) int {
	const bad, line = 2 << 10 / 4, 64 / 4 // floats
	if cols%bad == 0 {
		return cols + line
	}
	return cols
}
