package simd

import "gonum.org/v1/gonum/blas/blas32"

// Packed is the right-hand side of a product in one kernel's panels: N rows
// of K weights, as PyTorch's Linear stores them. It is immutable and may be
// shared.
//
// A panel holds the weights of a few neighboring outputs, as many as two
// vectors have lanes, depth by depth: one step of the depth is one run of
// memory. The last panel is filled up with zeros, to one vector where that is
// enough. Plain Go and gonum keep the rows as they are.
type Packed struct {
	kernel *impl
	n, k   int
	data   []float32
}

// N is the number of outputs, the columns of dst.
func (p *Packed) N() int { return p.n }

// K is the depth, the columns of a.
func (p *Packed) K() int { return p.k }

// Pack packs b, N×K, for k.
func Pack(k Kernel, b blas32.General) *Packed {
	checkMatrix("Pack", "b", b)
	p := newPacked(k, b.Rows, b.Cols)
	p.packRows(b, 0, p.n)
	return p
}

// PackTransposed packs the transpose of b, K×N, for k.
func PackTransposed(k Kernel, b blas32.General) *Packed {
	checkMatrix("PackTransposed", "b", b)
	p := newPacked(k, b.Cols, b.Rows)
	p.packCols(b, 0, p.n)
	return p
}

func newPacked(k Kernel, n, depth int) *Packed {
	p := new(Packed)
	p.reset(k.table(), n, depth)
	return p
}

// reset makes p a matrix of that size with any weights.
func (p *Packed) reset(kernel *impl, n, depth int) {
	p.kernel, p.n, p.k = kernel, n, depth
	if lanes := p.kernel.gemm.lanes; p.kernel.gemm.run != nil {
		n = (n + lanes - 1) / lanes * lanes
	}
	grow(&p.data, n*depth)
}

// packRows packs outputs [j0, j1), which are rows of b. j0 begins a panel.
func (p *Packed) packRows(b blas32.General, j0, j1 int) {
	if p.kernel.gemm.run == nil {
		for j := j0; j < j1; j++ {
			copy(p.data[j*p.k:][:p.k], b.Data[j*b.Stride:])
		}
		return
	}
	for j := j0; j < j1 && p.k > 0; j += p.width() {
		panel, lanes := p.panel(j)
		rows := min(lanes, p.n-j)
		p.kernel.vector.transpose(panel, lanes, b.Data[j*b.Stride:], b.Stride, rows, p.k)
		for step := 0; step < p.k && rows < lanes; step++ {
			clear(panel[step*lanes+rows : (step+1)*lanes])
		}
	}
}

// packCols packs outputs [j0, j1), which are columns of b. j0 begins a panel.
func (p *Packed) packCols(b blas32.General, j0, j1 int) {
	if p.kernel.gemm.run == nil {
		if j0 < j1 && p.k > 0 {
			transposeGo(p.data[j0*p.k:], p.k, b.Data[j0:], b.Stride, p.k, j1-j0)
		}
		return
	}
	for j := j0; j < j1; j += p.width() {
		panel, lanes := p.panel(j)
		cols := min(lanes, p.n-j)
		for step := range p.k {
			to := panel[step*lanes:][:lanes]
			copy(to, b.Data[step*b.Stride+j:][:cols])
			clear(to[cols:])
		}
	}
}

// width is the number of columns of every panel but the last.
func (p *Packed) width() int { return 2 * p.kernel.gemm.lanes }

// panel is the panel of column j, a multiple of width, and its columns.
func (p *Packed) panel(j int) (data []float32, lanes int) {
	lanes = p.kernel.gemm.lanes
	if p.n-j > lanes {
		lanes *= 2
	}
	return p.data[j*p.k:][:lanes*p.k], lanes
}
