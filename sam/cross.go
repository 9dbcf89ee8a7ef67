package sam

import (
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// tokensToImage is attention from tokens (queries) to cells (keys, values).
type tokensToImage struct {
	attention
	queries carrier // q·Wk
	results carrier // (Σ p·x)·Wvᵀ
}

// imageToTokens is attention from cells (queries) to tokens (keys, values).
type imageToTokens struct {
	attention
	keys    carrier // k·Wq
	results carrier // v·Woᵀ
}

func loadTokensToImage(l *loader, prefix string, c *Config) tokensToImage {
	a, w := loadAttention(l, prefix, c.PromptWidth, c.CrossWidth, c.DecoderHeads)
	t := tokensToImage{attention: a}
	if !l.Listing() {
		t.queries = carryInto(l.Kernel, w.k, c.CrossWidth, c.PromptWidth, c.DecoderHeads)
		t.results = carryBack(l.Kernel, w.v, c.CrossWidth, c.PromptWidth, c.DecoderHeads)
	}
	return t
}

func loadImageToTokens(l *loader, prefix string, c *Config) imageToTokens {
	a, w := loadAttention(l, prefix, c.PromptWidth, c.CrossWidth, c.DecoderHeads)
	t := imageToTokens{attention: a}
	if !l.Listing() {
		t.keys = carryInto(l.Kernel, w.q, c.CrossWidth, c.PromptWidth, c.DecoderHeads)
		t.results = carryThrough(l.Kernel, w.out, c.CrossWidth, c.PromptWidth, c.DecoderHeads)
	}
	return t
}

// applyFirst adds the first layer's attention to the queries: all prompts see
// the same cells, whose keys and values the image side has.
func (t *tokensToImage) applyFirst(x nn.Exec, ws *nn.Workspace, p *promptBatch, side *imageSide) {
	mark := ws.Mark()
	defer ws.Release(mark)
	q, out := ws.Matrix(p.sum.Rows, t.inner()), ws.Matrix(p.sum.Rows, t.inner())
	t.q.Apply(x, q, p.sum, simd.Identity)
	t.attend(x, out, q, side.keys, side.values, 1)
	t.out.ApplyAdd(x, p.queries, out, p.queries)
}

// apply adds attention to every prompt's own cells to the queries.
func (t *tokensToImage) apply(x nn.Exec, ws *nn.Workspace, p *promptBatch) {
	mark := ws.Mark()
	defer ws.Release(mark)
	p.place(x)
	q, out := ws.Matrix(p.sum.Rows, t.inner()), ws.Matrix(p.sum.Rows, t.inner())
	t.q.Apply(x, q, p.sum, simd.Identity)
	if t.carries(p.tokens) {
		t.attendCells(x, ws, p, out, q)
	} else {
		t.attendProjected(x, ws, p, out, q)
	}
	t.out.ApplyAdd(x, p.queries, out, p.queries)
}

// attendCells attends to the cells themselves, with the projections carried
// over to the queries and to the results.
func (t *tokensToImage) attendCells(x nn.Exec, ws *nn.Workspace, p *promptBatch, out, q blas32.General) {
	cells, width := p.cells.Rows/p.n, p.cells.Cols
	rows := t.heads * p.tokens
	carried, sums := ws.Matrix(p.n*rows, width), ws.Matrix(p.n*rows, width)
	t.queries.spread(x, carried, q, p.n, 1)
	// Every row stands alone, so few prompts are spread over the workers by
	// heads.
	parts := 1
	if p.n < 4 {
		parts = t.heads
	}
	x.Team.Do(p.n*parts, func(_, i int) {
		b, lo, n := i/parts, i*rows/parts, rows/parts
		x.Kernel.Attend(nil, nn.Rows(sums, lo, n), &simd.Attention{
			Heads: 1, HeadDim: width, Scale: t.scale(),
			Q: nn.Rows(carried, lo, n), K: nn.Rows(p.placed, b*cells, cells), V: nn.Rows(p.cells, b*cells, cells),
		})
	})
	t.results.gather(x, out, sums, p.n, t.v.Bias)
}

// attendProjected attends to the cells' projected keys and values.
func (t *tokensToImage) attendProjected(x nn.Exec, ws *nn.Workspace, p *promptBatch, out, q blas32.General) {
	cells := p.cells.Rows / p.n
	keys, values := ws.Matrix(cells, t.inner()), ws.Matrix(cells, t.inner())
	for b := range p.n {
		t.k.Apply(x, keys, nn.Rows(p.placed, b*cells, cells), simd.Identity)
		t.v.Apply(x, values, nn.Rows(p.cells, b*cells, cells), simd.Identity)
		t.attend(x, nn.Rows(out, b*p.tokens, p.tokens), nn.Rows(q, b*p.tokens, p.tokens), keys, values, 1)
	}
}

// apply adds attention to the tokens to the cells and normalises them. The
// first layer reads the cells and queries that all prompts share.
func (t *imageToTokens) apply(x nn.Exec, ws *nn.Workspace, p *promptBatch, side *imageSide, norm nn.LayerNorm, first bool) {
	mark := ws.Mark()
	defer ws.Release(mark)
	keys, values := ws.Matrix(p.sum.Rows, t.inner()), ws.Matrix(p.sum.Rows, t.inner())
	t.k.Apply(x, keys, p.sum, simd.Identity)
	t.v.Apply(x, values, p.queries, simd.Identity)
	if t.carries(p.tokens) {
		t.attendTokens(x, ws, p, side, norm, keys, values, first)
	} else {
		t.attendProjected(x, ws, p, side, norm, keys, values, first)
	}
}

// attendTokens lets the cells meet the tokens' carried keys and results.
func (t *imageToTokens) attendTokens(x nn.Exec, ws *nn.Workspace, p *promptBatch, side *imageSide, norm nn.LayerNorm, keys, values blas32.General, first bool) {
	cells, width := side.cells.Rows, side.cells.Cols
	rows := t.heads * p.tokens

	// In the first layer the cells' queries are there already; a head's keys
	// then meet that head's columns alone.
	depth := width
	if first {
		depth = t.inner()
	}
	carriedKeys, bias := ws.Matrix(p.n*rows, depth), ws.Floats(p.n*rows)
	carriedValues := ws.Matrix(p.n*rows, width)
	if first {
		t.spreadDiagonal(carriedKeys, keys, p.n)
		clear(bias)
	} else {
		t.keys.spread(x, carriedKeys, keys, p.n, t.scale())
		t.queryBias(x.Kernel, bias, keys, p.n)
	}
	t.results.spread(x, carriedValues, values, p.n, 1)
	packedKeys, packedValues := make([]*simd.Packed, p.n), make([]*simd.Packed, p.n)
	x.Team.Do(p.n, func(_, b int) {
		packedKeys[b] = simd.Pack(x.Kernel, nn.Rows(carriedKeys, b*rows, rows))
		packedValues[b] = simd.PackTransposed(x.Kernel, nn.Rows(carriedValues, b*rows, rows))
	})

	chunks := (cells + cellsPerChunk - 1) / cellsPerChunk
	scratch := ws.Floats(x.Team.Size() * cellsPerChunk * rows)
	alone := nn.Exec{Kernel: x.Kernel}
	x.Team.Do(p.n*chunks, func(worker, i int) {
		b, lo := i/chunks, i%chunks*cellsPerChunk
		n := min(cellsPerChunk, cells-lo)
		own, placed := nn.Rows(p.cells, b*cells+lo, n), nn.Rows(p.placed, b*cells+lo, n)
		queries, before := placed, own
		if first {
			queries, before = nn.Rows(side.queries, lo, n), nn.Rows(side.cells, lo, n)
		}
		scores := nn.Matrix(scratch[worker*cellsPerChunk*rows:], n, rows)
		x.Kernel.MatMul(nil, scores, queries, packedKeys[b], simd.Epilogue{Bias: bias[b*rows:][:rows]})
		for j := 0; j < len(scores.Data); j += p.tokens {
			x.Kernel.Softmax(scores.Data[j:][:p.tokens])
		}
		x.Kernel.MatMul(nil, own, scores, packedValues[b], simd.Epilogue{Bias: t.out.Bias, Residual: before})
		norm.Apply(alone, own, own)
		x.Kernel.Add(placed.Data, own.Data, nn.Rows(side.positions, lo, n).Data)
	})
}

// spreadDiagonal stores the scaled keys of every head in dst, zero outside
// the head's columns.
func (t *imageToTokens) spreadDiagonal(dst, keys blas32.General, batch int) {
	tokens, dim, scale := keys.Rows/batch, t.inner()/t.heads, t.scale()
	clear(dst.Data)
	for i := range dst.Rows {
		b, h, j := i/(t.heads*tokens), i/tokens%t.heads, i%tokens
		from := row(keys, b*tokens+j)[h*dim:][:dim]
		to := row(dst, i)[h*dim:][:dim]
		for c, v := range from {
			to[c] = scale * v
		}
	}
}

// queryBias stores what the bias of the cells' queries adds to the scores of
// every head and token.
func (t *imageToTokens) queryBias(k simd.Kernel, dst []float32, keys blas32.General, batch int) {
	tokens, dim, scale := keys.Rows/batch, t.inner()/t.heads, t.scale()
	for i := range dst {
		b, h, j := i/(t.heads*tokens), i/tokens%t.heads, i%tokens
		dst[i] = scale * k.Dot(row(keys, b*tokens+j)[h*dim:][:dim], t.q.Bias[h*dim:][:dim])
	}
}

// attendProjected projects the cells to queries and their results back.
func (t *imageToTokens) attendProjected(x nn.Exec, ws *nn.Workspace, p *promptBatch, side *imageSide, norm nn.LayerNorm, keys, values blas32.General, first bool) {
	cells := side.cells.Rows
	projected, out := ws.Matrix(cells, t.inner()), ws.Matrix(cells, t.inner())
	for b := range p.n {
		own, placed := nn.Rows(p.cells, b*cells, cells), nn.Rows(p.placed, b*cells, cells)
		queries, before := projected, own
		if first {
			queries, before = side.queries, side.cells
		} else {
			t.q.Apply(x, queries, placed, simd.Identity)
		}
		t.attend(x, out, queries, nn.Rows(keys, b*p.tokens, p.tokens), nn.Rows(values, b*p.tokens, p.tokens), 1)
		t.out.ApplyAdd(x, own, out, before)
		norm.Apply(x, own, own)
		x.Kernel.Add(placed.Data, own.Data, side.positions.Data)
	}
}
