package sam

import (
	"math"
	"strconv"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// decoder turns an image embedding and prompt tokens into masks
// (segment_anything/modeling/mask_decoder.py and transformer.py).
//
// Its image side has a row per grid cell, thousands of them; its token side has
// a handful of rows per prompt. Prompts with equally many tokens run together.
// On the image side, what does not depend on the prompt is computed once per
// picture.
type decoder struct {
	objectToken          blas32.General // 1 × width, of SAM 2
	iouToken, maskTokens blas32.General // 1 and masks × width
	layers               []twoWayLayer
	final                tokensToImage
	finalNorm            nn.LayerNorm
	upscaling            upscaling
	hyper                []perceptron // per mask
	iou                  perceptron
	object               perceptron // of SAM 2
}

// twoWayLayer is one layer of the two-way transformer.
type twoWayLayer struct {
	self     attention
	norm1    nn.LayerNorm
	toImage  tokensToImage
	norm2    nn.LayerNorm
	mlp      nn.MLP
	norm3    nn.LayerNorm
	toTokens imageToTokens
	norm4    nn.LayerNorm
}

// perceptron is linear layers with ReLU between.
type perceptron []nn.Linear

const (
	convNormEps   = 1e-6 // LayerNorm2d, everywhere in SAM
	finalNormEps  = 1e-5 // PyTorch's default, in Hugging Face's decoder too
	cellsPerChunk = 128  // cells that one job of the image side works on
)

func loadDecoder(l *loader, c *Config) *decoder {
	p, w := l.decoder(), c.PromptWidth
	mlp := [2]string{"mlp.lin1", "mlp.lin2"}
	if l.second {
		mlp = [2]string{"mlp.layers.0", "mlp.layers.1"}
	}
	d := &decoder{
		iouToken:   l.Matrix(p+"iou_token.weight", 1, w),
		maskTokens: l.Matrix(p+"mask_tokens.weight", c.Masks, w),
		layers:     make([]twoWayLayer, c.DecoderDepth),
		final:      loadTokensToImage(l, p+"transformer.final_attn_token_to_image", c),
		finalNorm:  l.Norm(p+"transformer.norm_final_attn", w, finalNormEps),
		upscaling:  loadUpscaling(l, p+"output_upscaling", w),
		hyper:      make([]perceptron, c.Masks),
		iou:        loadPerceptron(l, p+"iou_prediction_head", w, c.IoUHidden, c.Masks, c.IoUDepth),
	}
	for i := range d.hyper {
		d.hyper[i] = loadPerceptron(l, p+"output_hypernetworks_mlps."+strconv.Itoa(i), w, w, w/8, 3)
	}
	for i := range d.layers {
		q := p + "transformer.layers." + strconv.Itoa(i) + "."
		self, _ := loadAttention(l, q+"self_attn", w, w, c.DecoderHeads)
		d.layers[i] = twoWayLayer{
			self:    self,
			norm1:   l.Norm(q+"norm1", w, c.DecoderEps),
			toImage: loadTokensToImage(l, q+"cross_attn_token_to_image", c),
			norm2:   l.Norm(q+"norm2", w, c.DecoderEps),
			mlp: nn.MLP{
				In:  l.linear(q+mlp[0], c.DecoderHidden, w),
				Out: l.linear(q+mlp[1], w, c.DecoderHidden),
				Act: simd.ReLU,
			},
			norm3:    l.Norm(q+"norm3", w, c.DecoderEps),
			toTokens: loadImageToTokens(l, q+"cross_attn_image_to_token", c),
			norm4:    l.Norm(q+"norm4", w, c.DecoderEps),
		}
	}
	if l.second {
		d.objectToken = l.Matrix(p+"obj_score_token.weight", 1, w)
		d.object = loadPerceptron(l, p+"pred_obj_score_head", w, w, 1, 3)
	}
	return d
}

// second reports whether the decoder is SAM 2's.
func (d *decoder) second() bool { return d.object != nil }

// outputTokens is the number of tokens that do not come from the prompt.
func (d *decoder) outputTokens() int { return d.objectToken.Rows + 1 + d.maskTokens.Rows }

func loadPerceptron(l *loader, prefix string, in, hidden, out, depth int) perceptron {
	p := make(perceptron, depth)
	for i := range p {
		rows, cols := hidden, hidden
		if i == 0 {
			cols = in
		}
		if i == depth-1 {
			rows = out
		}
		p[i] = l.linear(prefix+".layers."+strconv.Itoa(i), rows, cols)
	}
	return p
}

// apply stores the perceptron of src in dst.
func (p perceptron) apply(r *nn.Call, dst, src blas32.General) {
	mark := r.Mark()
	defer r.Release(mark)
	for i, l := range p {
		if i == len(p)-1 {
			l.Apply(r.Exec, dst, src, simd.Identity)
			return
		}
		hidden := r.Matrix(src.Rows, l.Weight.N())
		l.Apply(r.Exec, hidden, src, simd.ReLU)
		src = hidden
	}
}

// imageSide is what the prompts on one picture share: the cells that enter
// the transformer and what its first layer makes of them.
type imageSide struct {
	positions blas32.General // cells × width: the position encoding
	cells     blas32.General // cells × width: features + dense prompt
	keys      blas32.General // cells × inner, of the first tokens-to-image attention
	values    blas32.General
	queries   blas32.General // of the first image-to-tokens attention
	// fine are SAM 2's features of 4 and 2 times the resolution, the 16 and 4
	// squares of each cell together, as upscaling has them.
	fine [2][]float32
}

// imageSide prepares a picture's features, with the dense prompt dense: one
// row for all cells, or a row each. matrix allocates the result.
func (d *decoder) imageSide(x nn.Exec, features, positions, dense blas32.General, matrix func(rows, cols int) blas32.General) *imageSide {
	first := &d.layers[0]
	n, inner := features.Rows, first.toImage.inner()
	s := &imageSide{
		positions: positions,
		cells:     matrix(n, features.Cols),
		keys:      matrix(n, inner), values: matrix(n, inner), queries: matrix(n, inner),
	}
	placed := matrix(n, features.Cols)
	x.Team.Do(n, func(_, i int) {
		x.Kernel.Add(row(s.cells, i), row(features, i), row(dense, i%dense.Rows))
		x.Kernel.Add(row(placed, i), row(s.cells, i), row(positions, i))
	})
	first.toImage.k.Apply(x, s.keys, placed, simd.Identity)
	first.toImage.v.Apply(x, s.values, s.cells, simd.Identity)
	first.toTokens.q.Apply(x, s.queries, placed, simd.Identity)
	return s
}

// promptBatch is the state of prompts that pass the transformer together.
type promptBatch struct {
	n, tokens int
	initial   blas32.General // n·tokens × width: output tokens, then the prompt's
	queries   blas32.General // n·tokens × width
	sum       blas32.General // queries + initial, what attention sees of them
	cells     blas32.General // n·cells × width
	placed    blas32.General // cells + positions, likewise
}

// place brings sum up to date.
func (p *promptBatch) place(x nn.Exec) {
	x.Kernel.Add(p.sum.Data, p.queries.Data, p.initial.Data)
}

// transform runs the two-way transformer on n prompts, whose tokens are the
// rows of initial. Queries and cells of the result are cut from the call's
// workspace.
func (d *decoder) transform(r *nn.Call, side *imageSide, initial blas32.General, n int) (*promptBatch, error) {
	cells, width := side.cells.Rows, side.cells.Cols
	p := &promptBatch{
		n: n, tokens: initial.Rows / n,
		initial: initial,
		queries: r.Matrix(initial.Rows, width),
		sum:     r.Matrix(initial.Rows, width),
		cells:   r.Matrix(n*cells, width),
		placed:  r.Matrix(n*cells, width),
	}
	copy(p.queries.Data, initial.Data)
	for i := range d.layers {
		l := &d.layers[i]
		l.selfAttention(r, p, i == 0)
		r.Show(p.queries, "dec.layer%d.self", i)
		l.norm1.Apply(r.Exec, p.queries, p.queries)
		p.place(r.Exec)
		if i == 0 {
			l.toImage.applyFirst(r, p, side)
		} else {
			l.toImage.apply(r, p)
		}
		r.Show(p.queries, "dec.layer%d.to_image", i)
		l.norm2.Apply(r.Exec, p.queries, p.queries)
		mark := r.Mark()
		l.mlp.ApplyAdd(r.Exec, p.queries, p.queries, p.queries, r.Matrix(p.queries.Rows, l.mlp.In.Weight.N()))
		r.Release(mark)
		l.norm3.Apply(r.Exec, p.queries, p.queries)
		p.place(r.Exec)
		l.toTokens.apply(r, p, side, l.norm4, i == 0)
		r.Show(p.queries, "dec.layer%d.queries", i)
		r.Show(p.cells, "dec.layer%d.keys", i)
		if err := r.Context.Err(); err != nil {
			return nil, err
		}
	}
	d.final.apply(r, p)
	d.finalNorm.Apply(r.Exec, p.queries, p.queries)
	r.Show(p.queries, "dec.transformer.queries")
	r.Show(p.cells, "dec.transformer.keys")
	return p, r.Context.Err()
}

// selfAttention lets the tokens of every prompt attend to each other. In the
// first layer it sees no positions and replaces the tokens.
func (l *twoWayLayer) selfAttention(r *nn.Call, p *promptBatch, first bool) {
	mark := r.Mark()
	defer r.Release(mark)
	a := &l.self
	rows, inner := p.queries.Rows, a.inner()
	q, k, v, out := r.Matrix(rows, inner), r.Matrix(rows, inner), r.Matrix(rows, inner), r.Matrix(rows, inner)
	src := p.queries
	if !first {
		p.place(r.Exec)
		src = p.sum
	}
	a.q.Apply(r.Exec, q, src, simd.Identity)
	a.k.Apply(r.Exec, k, src, simd.Identity)
	a.v.Apply(r.Exec, v, p.queries, simd.Identity)
	a.attend(r.Exec, out, q, k, v, p.n)
	if first {
		a.out.Apply(r.Exec, p.queries, out, simd.Identity)
	} else {
		a.out.ApplyAdd(r.Exec, p.queries, out, p.queries)
	}
}

// masks predicts the masks lo ≤ i < hi of every prompt that passed the
// transformer: their logits, a row per prompt, and the quality of all masks.
func (d *decoder) masks(r *nn.Call, p *promptBatch, side *imageSide, grid, lo, hi int) (logits, iou blas32.General) {
	width := p.queries.Cols
	logits = r.Matrix(p.n, (hi-lo)*16*grid*grid)
	iou = r.Matrix(p.n, len(d.hyper))
	mark := r.Mark()
	defer r.Release(mark)
	// The queries of one output token, a row per prompt.
	token := func(i int) blas32.General {
		return nn.Cols(nn.Matrix(p.queries.Data, p.n, p.tokens*width), i*width, width)
	}
	first := d.objectToken.Rows // the token behind that of the object
	d.iou.apply(r, iou, token(first))
	if d.second() {
		for i, v := range iou.Data {
			iou.Data[i] = sigmoid(v)
		}
	}
	eighth := width / 8
	hyper := r.Matrix(p.n, (hi-lo)*eighth)
	for i := lo; i < hi; i++ {
		d.hyper[i].apply(r, nn.Cols(hyper, (i-lo)*eighth, eighth), token(first+1+i))
	}
	d.upscaling.masks(r, logits.Data, p.cells, side.fine, p.n, grid, nn.Matrix(hyper.Data, p.n*(hi-lo), eighth))
	return logits, iou
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

// objects returns the object score of every prompt that passed the transformer,
// a logit; nil of SAM 1.
func (d *decoder) objects(r *nn.Call, p *promptBatch) []float32 {
	if !d.second() {
		return nil
	}
	scores := r.Matrix(p.n, 1)
	width := p.queries.Cols
	d.object.apply(r, scores, nn.Cols(nn.Matrix(p.queries.Data, p.n, p.tokens*width), 0, width))
	return scores.Data
}

// squares orders features of a resolution of n times the grid, rows row by row,
// by cells, and within a cell by halves: first the squares of twice the grid's
// resolution, row by row, then theirs.
func squares(features blas32.General, grid, n int) []float32 {
	width := features.Cols
	out := make([]float32, len(features.Data))
	for i := range grid * grid {
		for sub := range n * n {
			y, x := sub/2, sub%2
			if n == 4 {
				y, x = sub>>3*2+sub>>1&1, sub>>2&1*2+sub&1
			}
			copy(out[(i*n*n+sub)*width:][:width], row(features, (i/grid*n+y)*n*grid+i%grid*n+x))
		}
	}
	return out
}
