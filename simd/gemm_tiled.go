package simd

import (
	"math"
	"sync"

	"gonum.org/v1/gonum/blas/blas32"
)

// product is one call of MatMul under way: dst is cut into blocks of whole
// tiles, which the team computes in any order.
type product struct {
	kernel      Kernel
	dst, a      blas32.General
	b           *Packed
	e           Epilogue
	tiles       int // rows of tiles in dst
	rowBlocks   int // blocks that they are cut into
	panels      int // columns of tiles in dst
	panelBlocks int
	block       func(worker, i int) // p.compute, made once
}

var products = sync.Pool{New: func() any {
	p := new(product)
	p.block = p.compute
	return p
}}

func gemmTiled(t *Team, k Kernel, dst, a blas32.General, b *Packed, e Epilogue) {
	p := products.Get().(*product)
	p.kernel, p.dst, p.a, p.b, p.e = k, dst, a, b, e
	tile := &k.table().gemm
	p.tiles = (dst.Rows + tile.rows - 1) / tile.rows
	p.panels = (dst.Cols + 2*tile.lanes - 1) / (2 * tile.lanes)
	p.rowBlocks = (p.tiles + 7) / 8
	p.panelBlocks = min(p.panels, (8+p.rowBlocks-1)/p.rowBlocks)
	t.Do(p.rowBlocks*p.panelBlocks, p.block)
	*p = product{block: p.block}
	products.Put(p)
}

// compute computes block i.
func (p *product) compute(_, i int) {
	tile := &p.kernel.table().gemm
	rb, pb := i/p.panelBlocks, i%p.panelBlocks
	t0, t1 := rb*p.tiles/p.rowBlocks, (rb+1)*p.tiles/p.rowBlocks
	p0, p1 := pb*p.panels/p.panelBlocks, (pb+1)*p.panels/p.panelBlocks
	width := 2 * tile.lanes
	row := func(t int) int { return t * p.dst.Rows / p.tiles }
	for k0 := 0; k0 == 0 || k0 < p.b.k; k0 += tile.depth {
		depth := min(tile.depth, p.b.k-k0)
		in, bias := p.e.Residual, p.e.Bias
		if k0 > 0 {
			in, bias = p.dst, nil
		}
		floor := float32(math.Inf(-1))
		if p.e.Act == ReLU && k0+depth == p.b.k {
			floor = 0
		}
		for panel := p0; panel < p1; panel++ {
			j := panel * width
			cols := min(width, p.dst.Cols-j)
			data, lanes := p.b.panel(j)
			for t := t0; t < t1; t++ {
				r0, r1 := row(t), row(t+1)
				var inp, biasp *float32
				if in.Data != nil {
					inp = &in.Data[r0*in.Stride+j]
				}
				if bias != nil {
					biasp = &bias[j]
				}
				tile.run(r1-r0, cols, depth, &p.a.Data[r0*p.a.Stride+k0], p.a.Stride, &data[k0*lanes],
					&p.dst.Data[r0*p.dst.Stride+j], p.dst.Stride, inp, in.Stride, biasp, p.e.Alpha, floor)
			}
		}
	}
	if p.e.Act != Identity && p.e.Act != ReLU {
		for r := row(t0); r < row(t1); r++ {
			p.kernel.Activate(p.e.Act, p.dst.Data[r*p.dst.Stride+p0*width:r*p.dst.Stride+min(p1*width, p.dst.Cols)])
		}
	}
}
