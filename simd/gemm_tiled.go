package simd

import (
	"math"

	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"gonum.org/v1/gonum/blas/blas32"
)

// product is one call of MatMul under way: dst is cut into blocks of whole
// tiles, which the team computes in any order.
//
// A block's part of a stays in the second-level cache while the panels of b
// come by, each of which meets all tiles of the block on its way. Every tile
// fetches its share of the panel that comes next, so that no tile waits for
// memory.
type product struct {
	kernel      Kernel
	dst, a      blas32.General
	b           *Packed
	e           Epilogue
	depth       int // longest walk over k before the sums are written back
	tiles       int // rows of tiles in dst
	rowBlocks   int // blocks that they are cut into
	panels      int // columns of tiles in dst
	panelBlocks int
	block       func(worker, i int) // p.compute, made once
}

var products scratch.Pool[product]

func gemmTiled(t *Team, k Kernel, dst, a blas32.General, b *Packed, e Epilogue) {
	p := products.Get()
	if p.block == nil {
		p.block = p.compute
	}
	p.kernel, p.dst, p.a, p.b, p.e = k, dst, a, b, e
	tile := &k.table().gemm
	walks := (b.k + tile.depth - 1) / tile.depth
	p.depth = ((b.k+walks-1)/walks + 3) &^ 3
	size := t.Size()
	p.tiles = (dst.Rows + tile.rows - 1) / tile.rows
	p.panels = (dst.Cols + 2*tile.lanes - 1) / (2 * tile.lanes)
	p.rowBlocks, p.panelBlocks = 1, 1
	blocks := blocksPerWorker
	if rows := tile.blockRows(p.depth); dst.Rows > rows {
		rows = max(panelShares*tile.rows, rows/5*2)
		if each := (dst.Rows + rows*size/2) / (rows * size); each > 0 {
			p.rowBlocks = each * size // as many for every worker
		} else {
			p.rowBlocks = (dst.Rows + rows - 1) / rows
		}
		blocks = rowBlocksPerWorker
	}
	if size > 1 {
		p.panelBlocks = min(p.panels, (blocks*size+p.rowBlocks-1)/p.rowBlocks)
	}
	t.Do(p.rowBlocks*p.panelBlocks, p.block)
	*p = product{block: p.block}
	products.Put(p)
}

// blocksPerWorker and rowBlocksPerWorker are how many blocks there are at least
// for each worker to take where a is one block of rows and where it is several,
// so that one who is held up does not hold up the others.
const (
	blocksPerWorker    = 4 // each reads all of a and starts with a panel not yet fetched
	rowBlocksPerWorker = 16
)

// blockRows is how many rows of a at most stay together, so deep: they take
// three quarters of what the second-level cache has beside two panels. Where a
// has more, blocks are smaller, because more of dst passes through the cache.
func (t *tile) blockRows(depth int) int {
	panels := 2 * 2 * t.lanes * depth
	return max(panelShares*t.rows, (secondLevelFloats()-panels)/4*3/depth)
}

// compute computes block i.
func (p *product) compute(_, i int) {
	tile := &p.kernel.table().gemm
	rb, pb := i/p.panelBlocks, i%p.panelBlocks
	t0, t1 := rb*p.tiles/p.rowBlocks, (rb+1)*p.tiles/p.rowBlocks
	p0, p1 := pb*p.panels/p.panelBlocks, (pb+1)*p.panels/p.panelBlocks
	for k0 := 0; k0 == 0 || k0 < p.b.k; k0 += p.depth {
		depth := min(p.depth, p.b.k-k0)
		e := p.e
		if k0 > 0 {
			e.Residual, e.Bias = p.dst, nil
		}
		floor := float32(math.Inf(-1))
		if last := k0+depth == p.b.k; !last {
			e.Act = Identity
		} else if e.Act == ReLU {
			floor = 0
		}
		inactive := p0
		for panel := p0; panel < p1; panel++ {
			next, nextK := (panel+1)%p.panels, k0
			if panel == p1-1 && k0+depth < p.b.k {
				next, nextK = p0, k0+depth
			}
			for t := t0; t < t1; t++ {
				p.tile(tile, t, panel, k0, depth, &e, floor, p.share(next, nextK, depth, t-t0, t1-t0))
			}
			if done := panel + 1; done == p1 || done-inactive == activatePanels {
				p.activate(e.Act, t0, t1, inactive, done)
				inactive = done
			}
		}
	}
}

// row is the first row of a row of tiles.
func (p *product) row(t int) int { return t * p.dst.Rows / p.tiles }

// tile computes a tile of dst as far as steps k0 … k0+depth take it.
func (p *product) tile(tile *tile, t, panel, k0, depth int, e *Epilogue, floor float32, next *float32) {
	r0, r1, j := p.row(t), p.row(t+1), panel*2*tile.lanes
	data, lanes := p.b.panel(j)
	var in, bias *float32
	if e.Residual.Data != nil {
		in = &e.Residual.Data[r0*e.Residual.Stride+j]
	}
	if e.Bias != nil {
		bias = &e.Bias[j]
	}
	tile.run(r1-r0, min(2*tile.lanes, p.dst.Cols-j), depth, &p.a.Data[r0*p.a.Stride+k0], p.a.Stride, &data[k0*lanes],
		&p.dst.Data[r0*p.dst.Stride+j], p.dst.Stride, in, e.Residual.Stride, bias, e.Alpha, floor, next)
}

// panelShares is how many tiles fetch a whole panel.
const panelShares = 4

// share is where tile t of n begins to fetch the panel that comes next, of which
// the steps from k0 on will be needed: the last begins a share from its end.
func (p *product) share(panel, k0, depth, t, n int) *float32 {
	data, lanes := p.b.panel(panel * p.b.width())
	data = data[k0*lanes:]
	return &data[min(depth, p.b.k-k0)*lanes*t/max(n, panelShares)]
}

// activatePanels is how many panels of a block are activated together, while
// they are in cache.
const activatePanels = 8

// activate activates the columns of panels p0 … p1 in tiles t0 … t1.
func (p *product) activate(f Activation, t0, t1, p0, p1 int) {
	if f == Identity || f == ReLU { // which the tile has done
		return
	}
	from, to := p0*p.b.width(), min(p1*p.b.width(), p.dst.Cols)
	for r := p.row(t0); r < p.row(t1); r++ {
		p.kernel.Activate(f, p.dst.Data[r*p.dst.Stride+from:r*p.dst.Stride+to])
	}
}
