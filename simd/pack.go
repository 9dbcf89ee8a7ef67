package simd

import "gonum.org/v1/gonum/blas/blas32"

// Packed is the right-hand side of a product in one kernel's panels: N rows
// of K weights, as PyTorch's Linear stores them. It is immutable and may be
// shared.
//
// A panel holds the weights of a few neighbouring outputs, as many as two
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
	p := newPacked(k, b.Rows, b.Cols)
	if p.kernel.gemm.run == nil {
		for i := range b.Rows {
			copy(p.data[i*b.Cols:(i+1)*b.Cols], b.Data[i*b.Stride:])
		}
		return p
	}
	for j := 0; j < p.n; j += p.width() {
		panel, lanes := p.panel(j)
		for i := range min(lanes, p.n-j) {
			for step, v := range b.Data[(j+i)*b.Stride:][:p.k] {
				panel[step*lanes+i] = v
			}
		}
	}
	return p
}

// PackTransposed packs the transpose of b, K×N, for k.
func PackTransposed(k Kernel, b blas32.General) *Packed {
	p := newPacked(k, b.Cols, b.Rows)
	if p.kernel.gemm.run == nil {
		for i := range b.Rows {
			for j := range b.Cols {
				p.data[j*b.Rows+i] = b.Data[i*b.Stride+j]
			}
		}
		return p
	}
	for j := 0; j < p.n; j += p.width() {
		panel, lanes := p.panel(j)
		for step := range p.k {
			copy(panel[step*lanes:][:lanes], b.Data[step*b.Stride+j:][:min(lanes, p.n-j)])
		}
	}
	return p
}

func newPacked(k Kernel, n, depth int) *Packed {
	p := &Packed{kernel: k.table(), n: n, k: depth}
	if p.kernel.gemm.run == nil {
		p.data = make([]float32, n*depth)
	} else {
		lanes := p.kernel.gemm.lanes
		p.data = aligned((n + lanes - 1) / lanes * lanes * depth)
	}
	return p
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
