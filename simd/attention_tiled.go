package simd

import (
	"math"

	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"gonum.org/v1/gonum/blas/blas32"
)

// attending is one call of Attend under way.
//
// The queries of a head are cut into parts, which the team computes in any
// order. A part walks over the keys a block at a time: the block's keys and
// values are packed into panels, which stay in the second-level cache, and
// meet the part's queries a few tiles at a time:
//
//	s   = log2(e)·(Scale·Q·Kᵀ + additive terms)
//	top = the largest s of the query so far
//	s   = 2^(s - top)
//	sum = sum·2^(old top - top) + Σ s
//	out = out·2^(old top - top) + s·V
//
// and in the end the result is out/sum.
// Source: Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135.
type attending struct {
	Attention
	kernel *impl
	dst    blas32.General
	nq, nk int // queries and keys of a sequence
	tiles  int // of the queries of a sequence
	parts  int // that they are cut into
	block  int // keys of a block

	workers []attendWorker
	part    func(worker, i int) // p.compute, made once
}

var attendings scratch.Pool[attending]

const (
	// queryTiles is how many tiles of queries meet a block of keys together:
	// enough to read a panel of keys from the second-level cache once for
	// them all, few enough that their scores stay there.
	queryTiles = 4
	// blockFloats is about the number of floats of a block's keys or values.
	blockFloats = 48 << 10
	// partRows bounds the queries of a part, and so the memory for out.
	partRows = 1024
)

func attendTiled(t *Team, k Kernel, dst blas32.General, a *Attention) {
	p := attendings.Get()
	if p.part == nil {
		p.part = p.compute
	}
	p.Attention, p.kernel, p.dst = *a, k.table(), dst
	p.nq, p.nk = a.Q.Rows/a.Batch, a.K.Rows/a.Batch
	rows, width := p.kernel.gemm.rows, 2*p.kernel.gemm.lanes
	p.tiles = (p.nq + rows - 1) / rows
	heads := a.Batch * a.Heads
	p.parts = (p.nq + partRows - 1) / partRows
	if size := t.Size(); size > 1 {
		p.parts = max(p.parts, (4*size+heads-1)/heads)
	}
	p.parts = max(1, min(p.parts, p.tiles/queryTiles))

	// Blocks of about the same size, of whole panels or whole rows of the grid.
	unit := width
	if a.RelRow.Data != nil {
		unit = a.Grid.X
	}
	largest := max(width, blockFloats/a.HeadDim)
	blocks := max(1, (p.nk+largest/2)/largest)
	p.block = ((p.nk+blocks-1)/blocks + unit - 1) / unit * unit

	for len(p.workers) < t.Size() {
		p.workers = append(p.workers, attendWorker{})
	}
	for i := range p.workers[:t.Size()] {
		p.workers[i].reserve(p)
	}
	t.Do(heads*p.parts, p.part)
	*p = attending{workers: p.workers, part: p.part}
	attendings.Put(p)
}

// rowOf is the first query of a tile.
func (p *attending) rowOf(tile int) int { return tile * p.nq / p.tiles }

// seen is the number of keys that a query sees.
func (p *attending) seen(query int) int {
	if p.Causal {
		return query + 1 + p.nk - p.nq
	}
	return p.nk
}

// head is the columns of head h of the n rows of sequence b.
func (p *attending) head(m blas32.General, b, h, n int) blas32.General {
	return blas32.General{Rows: n, Cols: p.HeadDim, Stride: m.Stride, Data: m.Data[b*n*m.Stride+h*p.HeadDim:]}
}

// compute computes part i.
func (p *attending) compute(worker, i int) {
	b, h := i/p.parts/p.Heads, i/p.parts%p.Heads
	w := &p.workers[worker]
	w.attending, w.seq, w.h = p, b, h
	w.t0, w.t1 = i%p.parts*p.tiles/p.parts, (i%p.parts+1)*p.tiles/p.parts
	w.q = p.head(p.Q, b, h, p.nq)
	w.attend(p.head(p.dst, b, h, p.nq), p.head(p.K, b, h, p.nk), p.head(p.V, b, h, p.nk))
	w.attending, w.q = nil, blas32.General{}
}

// attendWorker is a worker's part and its memory.
type attendWorker struct {
	*attending
	seq, h int            // sequence and head
	q      blas32.General // of the head
	t0, t1 int            // tiles of queries

	keys, values Packed    // a block, the values transposed
	queries      []float32 // some tiles, row by row
	scores       []float32 // of these queries and the block
	out          []float32 // of all queries of the part
	top, sum     []float32 // of all queries of the part
}

// reserve takes the memory of any part, so that it does not depend on who
// computes which part when memory is needed.
func (w *attendWorker) reserve(p *attending) {
	d, tile := p.HeadDim, &p.kernel.gemm
	rows := min(p.nq, (p.tiles+p.parts-1)/p.parts*tile.rows)
	w.keys.reset(p.kernel, p.block, d)
	w.values.reset(p.kernel, d, min(p.block, p.nk))
	grow(&w.queries, queryTiles*tile.rows*d)
	grow(&w.scores, queryTiles*tile.rows*p.scoreStride())
	grow(&w.out, rows*d)
	grow(&w.top, rows)
	grow(&w.sum, rows)
}

// scoreStride is the distance of rows of scores: a cache line more than needed
// keeps them from meeting in the cache.
func (p *attending) scoreStride() int { return (p.block+15)/16*16 + 16 }

func (w *attendWorker) attend(dst, k, v blas32.General) {
	d, first, end := w.HeadDim, w.rowOf(w.t0), w.rowOf(w.t1)
	rows := end - first
	out, top, sum := grow(&w.out, rows*d), grow(&w.top, rows), grow(&w.sum, rows)
	for i := range top {
		top[i], sum[i] = -math.MaxFloat32, 0
	}
	for k0, seen := 0, w.seen(end-1); k0 < seen; k0 += w.block {
		n := min(w.block, seen-k0)
		w.keys.reset(w.kernel, n, d)
		w.keys.packRows(blas32.General{Rows: n, Cols: d, Stride: k.Stride, Data: k.Data[k0*k.Stride:]}, 0, n)
		w.values.reset(w.kernel, d, n)
		w.values.packCols(blas32.General{Rows: n, Cols: d, Stride: v.Stride, Data: v.Data[k0*v.Stride:]}, 0, d)
		for t := w.t0; t < w.t1; t += queryTiles {
			w.meet(t, min(t+queryTiles, w.t1), k0, n)
		}
	}
	weight := w.Weight
	if weight == 0 {
		weight = 1
	}
	for r := range rows {
		y, x, f := dst.Data[(first+r)*dst.Stride:][:d], out[r*d:][:d], weight/sum[r]
		if w.Accumulate {
			w.kernel.vector.lerp(y, x, y, f, 1)
		} else {
			w.kernel.vector.scale(y, x, f)
		}
	}
}

// meet lets tiles t0 … t1 of the queries see n keys from k0 on, which are
// packed.
func (w *attendWorker) meet(t0, t1, k0, n int) {
	d, tile, vector := w.HeadDim, &w.kernel.gemm, &w.kernel.vector
	r0, r1 := w.rowOf(t0), w.rowOf(t1)
	visible := min(n, w.seen(r1-1)-k0)
	if visible <= 0 {
		return
	}
	queries := grow(&w.queries, (r1-r0)*d)
	for r := r0; r < r1; r++ {
		copy(queries[(r-r0)*d:][:d], w.q.Data[r*w.q.Stride:])
	}
	stride := w.scoreStride()
	scores := grow(&w.scores, queryTiles*tile.rows*stride)
	floor := float32(math.Inf(-1))
	for j := 0; j < visible; j += w.keys.width() {
		panel, width := w.keys.panel(j)
		for t := t0; t < t1; t++ {
			r := w.rowOf(t) - r0
			tile.run(w.rowOf(t+1)-w.rowOf(t), min(width, n-j), d, &queries[r*d], d, &panel[0],
				&scores[r*stride+j], stride, nil, 0, nil, w.Scale*math.Log2E, floor, &panel[0])
		}
	}
	at := r0 - w.rowOf(w.t0)
	out, top, sum := w.out[at*d:], w.top[at:], w.sum[at:]
	for r := range r1 - r0 {
		x, own := scores[r*stride:][:n], min(visible, w.seen(r0+r)-k0)
		if own <= 0 { // Causal hides the block from the first rows
			clear(x[:visible])
			continue
		}
		w.addTerms(x, r0+r, k0)
		newTop, s := vector.expSum(x[:own], top[r])
		clear(x[own:visible])
		if k0 > 0 && newTop != top[r] {
			f := float32(math.Exp2(float64(top[r] - newTop)))
			sum[r] *= f
			vector.scale(out[r*d:][:d], out[r*d:][:d], f)
		}
		top[r], sum[r] = newTop, sum[r]+s
	}
	for j := 0; j < d; j += w.values.width() {
		panel, width := w.values.panel(j)
		for t := t0; t < t1; t++ {
			r := w.rowOf(t) - r0
			y := &out[r*d+j]
			var in *float32
			if k0 > 0 {
				in = y
			}
			tile.run(w.rowOf(t+1)-w.rowOf(t), min(width, d-j), visible, &scores[r*stride], stride, &panel[0],
				y, d, in, d, nil, 1, floor, &panel[0])
		}
	}
}

// addTerms adds the additive terms to the scores x of a query and the keys
// from k0 on.
func (w *attendWorker) addTerms(x []float32, query, k0 int) {
	if w.Mask.Data != nil {
		w.kernel.vector.lerp(x, x, w.Mask.Data[query*w.Mask.Stride+k0:][:len(x)], 1, math.Log2E)
	}
	if w.RelRow.Data != nil {
		q := w.seq*w.nq + query
		row := w.RelRow.Data[q*w.RelRow.Stride+w.h*w.Grid.Y+k0/w.Grid.X:][:(len(x)+w.Grid.X-1)/w.Grid.X]
		w.kernel.vector.addGrid(x[:len(row)*w.Grid.X:cap(x)], row, w.RelCol.Data[q*w.RelCol.Stride+w.h*w.Grid.X:][:w.Grid.X], math.Log2E)
	}
}
