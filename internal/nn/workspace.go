package nn

import (
	"sync"

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

// Workspace is the scratch memory of one call: slices are cut from blocks
// that the next call reuses. It is not safe for concurrent use.
type Workspace struct {
	blocks [][]float32
	block  int // the block being cut
	used   int // of it
	peak   int // most floats that a call had in use
}

const minBlock = 1 << 18 // floats: 1 MB

// Floats returns n floats of unspecified content.
func (w *Workspace) Floats(n int) []float32 {
	n16 := (n + 15) &^ 15 // keep slices on cache lines when blocks are
	for ; w.block < len(w.blocks); w.block, w.used = w.block+1, 0 {
		if b := w.blocks[w.block]; len(b)-w.used >= n16 {
			s := b[w.used : w.used+n : w.used+n]
			w.used += n16
			return s
		}
	}
	w.blocks = append(w.blocks, make([]float32, max(n16, minBlock, w.peak)))
	w.used = n16
	return w.blocks[w.block][:n:n]
}

// reset forgets what was cut. Several blocks give way to one that would have
// held it all, so that calls of changing sizes do not pile blocks up.
func (w *Workspace) reset() {
	if len(w.blocks) > 1 {
		w.peak = 0
		for _, b := range w.blocks {
			w.peak += len(b)
		}
		w.blocks = nil
	}
	w.block, w.used = 0, 0
}

// Reserve makes an empty workspace hold n floats in one block, without any
// others beside it.
func (w *Workspace) Reserve(n int) {
	if len(w.blocks) != 1 || len(w.blocks[0]) < n {
		w.blocks = nil // before the new block, so that both need not be held
		w.blocks = [][]float32{make([]float32, n)}
	}
}

// Size is how many floats the workspace holds, in use or not.
func (w *Workspace) Size() int {
	n := 0
	for _, b := range w.blocks {
		n += len(b)
	}
	return n
}

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

// Mark remembers how much is in use, for Release.
func (w *Workspace) Mark() (m Mark) { return Mark{w.block, w.used} }

// Mark is a state of a Workspace.
type Mark struct{ block, used int }

// Release gives back everything cut since the mark.
func (w *Workspace) Release(m Mark) { w.block, w.used = m.block, m.used }

// Pool keeps the workspaces of a model between calls. The zero Pool is ready.
type Pool struct{ pool sync.Pool }

// Get returns an empty workspace.
func (p *Pool) Get() *Workspace {
	if w, ok := p.pool.Get().(*Workspace); ok {
		return w
	}
	return new(Workspace)
}

// Put gives a workspace back; nothing cut from it may be used any more.
func (p *Pool) Put(w *Workspace) {
	w.reset()
	p.pool.Put(w)
}
