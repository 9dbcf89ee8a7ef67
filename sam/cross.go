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
func (t *tokensToImage) applyFirst(r *nn.Call, p *promptBatch, side *imageSide) {
	mark := r.Mark()
	defer r.Release(mark)
	q, out := r.Matrix(p.sum.Rows, t.inner()), r.Matrix(p.sum.Rows, t.inner())
	t.q.Apply(r.Exec, q, p.sum, simd.Identity)
	t.attend(r.Exec, out, q, side.keys, side.values, 1)
	t.out.ApplyAdd(r.Exec, p.queries, out, p.queries)
}

// apply adds attention to every prompt's own cells to the queries.
func (t *tokensToImage) apply(r *nn.Call, p *promptBatch) {
	mark := r.Mark()
	defer r.Release(mark)
	p.place(r.Exec)
	q, out := r.Matrix(p.sum.Rows, t.inner()), r.Matrix(p.sum.Rows, t.inner())
	t.q.Apply(r.Exec, q, p.sum, simd.Identity)
	if t.carries(p.tokens) {
		t.attendCells(r, p, out, q)
	} else {
		t.attendProjected(r, p, out, q)
	}
	t.out.ApplyAdd(r.Exec, p.queries, out, p.queries)
}

// attendCells attends to the cells themselves, with the projections carried
// over to the queries and to the results.
func (t *tokensToImage) attendCells(r *nn.Call, p *promptBatch, out, q blas32.General) {
	cells, width := p.cells.Rows/p.n, p.cells.Cols
	rows := t.heads * p.tokens
	carried, sums := r.Matrix(p.n*rows, width), r.Matrix(p.n*rows, width)
	t.queries.spread(r.Exec, carried, q, p.n, 1)
	// Every row stands alone, so few prompts are spread over the workers by
	// heads.
	parts := 1
	if p.n < 4 {
		parts = t.heads
	}
	r.Team.Do(p.n*parts, func(_, i int) {
		b, lo, n := i/parts, i*rows/parts, rows/parts
		r.Kernel.Attend(nil, nn.Rows(sums, lo, n), &simd.Attention{
			Heads: 1, HeadDim: width, Scale: t.scale(),
			Q: nn.Rows(carried, lo, n), K: nn.Rows(p.placed, b*cells, cells), V: nn.Rows(p.cells, b*cells, cells),
		})
	})
	t.results.gather(r.Exec, out, sums, p.n, t.v.Bias)
}

// attendProjected attends to the cells' projected keys and values.
func (t *tokensToImage) attendProjected(r *nn.Call, p *promptBatch, out, q blas32.General) {
	cells := p.cells.Rows / p.n
	keys, values := r.Matrix(cells, t.inner()), r.Matrix(cells, t.inner())
	for b := range p.n {
		t.k.Apply(r.Exec, keys, nn.Rows(p.placed, b*cells, cells), simd.Identity)
		t.v.Apply(r.Exec, values, nn.Rows(p.cells, b*cells, cells), simd.Identity)
		t.attend(r.Exec, nn.Rows(out, b*p.tokens, p.tokens), nn.Rows(q, b*p.tokens, p.tokens), keys, values, 1)
	}
}

// apply adds attention to the tokens to the cells and normalizes them. The
// first layer reads the cells and queries that all prompts share.
func (t *imageToTokens) apply(r *nn.Call, p *promptBatch, side *imageSide, norm nn.LayerNorm, first bool) {
	mark := r.Mark()
	defer r.Release(mark)
	keys, values := r.Matrix(p.sum.Rows, t.inner()), r.Matrix(p.sum.Rows, t.inner())
	t.k.Apply(r.Exec, keys, p.sum, simd.Identity)
	t.v.Apply(r.Exec, values, p.queries, simd.Identity)
	if t.carries(p.tokens) {
		t.attendTokens(r, p, side, norm, keys, values, first)
	} else {
		t.attendProjected(r, p, side, norm, keys, values, first)
	}
}

// attendTokens lets the cells meet the tokens' carried keys and results.
func (t *imageToTokens) attendTokens(r *nn.Call, p *promptBatch, side *imageSide, norm nn.LayerNorm, keys, values blas32.General, first bool) {
	cells, width := side.cells.Rows, side.cells.Cols
	rows := t.heads * p.tokens

	// In the first layer the cells' queries are there already; a head's keys
	// then meet that head's columns alone.
	depth := width
	if first {
		depth = t.inner()
	}
	carriedKeys, bias := r.Matrix(p.n*rows, depth), r.Floats(p.n*rows)
	carriedValues := r.Matrix(p.n*rows, width)
	if first {
		t.spreadDiagonal(carriedKeys, keys, p.n)
		clear(bias)
	} else {
		t.keys.spread(r.Exec, carriedKeys, keys, p.n, t.scale())
		t.queryBias(r.Kernel, bias, keys, p.n)
	}
	t.results.spread(r.Exec, carriedValues, values, p.n, 1)
	packedKeys, packedValues := make([]*simd.Packed, p.n), make([]*simd.Packed, p.n)
	r.Team.Do(p.n, func(_, b int) {
		packedKeys[b] = simd.Pack(r.Kernel, nn.Rows(carriedKeys, b*rows, rows))
		packedValues[b] = simd.PackTransposed(r.Kernel, nn.Rows(carriedValues, b*rows, rows))
	})

	chunks := (cells + cellsPerChunk - 1) / cellsPerChunk
	scratch := r.Floats(r.Team.Size() * cellsPerChunk * rows)
	alone := nn.Exec{Kernel: r.Kernel}
	r.Team.Do(p.n*chunks, func(worker, i int) {
		b, lo := i/chunks, i%chunks*cellsPerChunk
		n := min(cellsPerChunk, cells-lo)
		own, placed := nn.Rows(p.cells, b*cells+lo, n), nn.Rows(p.placed, b*cells+lo, n)
		queries, before := placed, own
		if first {
			queries, before = nn.Rows(side.queries, lo, n), nn.Rows(side.cells, lo, n)
		}
		scores := nn.Matrix(scratch[worker*cellsPerChunk*rows:], n, rows)
		r.Kernel.MatMul(nil, scores, queries, packedKeys[b], simd.Epilogue{Bias: bias[b*rows:][:rows]})
		for j := 0; j < len(scores.Data); j += p.tokens {
			r.Kernel.Softmax(scores.Data[j:][:p.tokens])
		}
		r.Kernel.MatMul(nil, own, scores, packedValues[b], simd.Epilogue{Bias: t.out.Bias, Residual: before})
		norm.Apply(alone, own, own)
		r.Kernel.Add(placed.Data, own.Data, nn.Rows(side.positions, lo, n).Data)
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
func (t *imageToTokens) attendProjected(r *nn.Call, p *promptBatch, side *imageSide, norm nn.LayerNorm, keys, values blas32.General, first bool) {
	cells := side.cells.Rows
	projected, out := r.Matrix(cells, t.inner()), r.Matrix(cells, t.inner())
	for b := range p.n {
		own, placed := nn.Rows(p.cells, b*cells, cells), nn.Rows(p.placed, b*cells, cells)
		queries, before := projected, own
		if first {
			queries, before = side.queries, side.cells
		} else {
			t.q.Apply(r.Exec, queries, placed, simd.Identity)
		}
		t.attend(r.Exec, out, queries, nn.Rows(keys, b*p.tokens, p.tokens), nn.Rows(values, b*p.tokens, p.tokens), 1)
		t.out.ApplyAdd(r.Exec, own, out, before)
		norm.Apply(r.Exec, own, own)
		r.Kernel.Add(placed.Data, own.Data, side.positions.Data)
	}
}
