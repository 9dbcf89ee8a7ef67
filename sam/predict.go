package sam

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/option"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// Predict returns the masks of prompts on one picture, one result per prompt,
// in their order. Prompts may be of different kinds. Those with equally many
// tokens pass through the decoder together, so one call with many prompts costs
// less than many calls. Prompts and masks are in pixels of the original
// picture.
//
// A meaningless prompt is [ErrPrompt]; an embedding that is nil or of another
// width than the model's is [ErrEmbedding]. The first such error ends the call.
// Masks that are not finite, because weights or features are too large, are
// [ErrOverflow].
func (m *Model) Predict(ctx context.Context, e *Embedding, prompts []Prompt, opts ...PredictOption) ([]Result, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	if err := e.check(m); err != nil {
		return nil, err
	}
	o := predictOptions{stable: true}
	if err := option.Apply(&o, opts, PredictOption.predict); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	r, err := m.begin(ctx, &m.decoding)
	if err != nil {
		return nil, err
	}
	defer r.End()
	r.Report(o.progress, len(prompts))
	results := make([]Result, len(prompts))
	up := e.upsampler()
	masks := make([]*thresholder, r.Team.Size())
	for i := range masks {
		masks[i] = newThresholder(up, m.kernel, make([]float32, up.scratch()))
	}
	err = m.predictLowRes(r, e, prompts, o, func(batch []lowResult) error {
		for _, b := range batch {
			results[b.prompt] = m.newResult(up, b)
		}
		per := len(batch[0].iou)
		r.Team.Do(len(batch)*per, func(worker, i int) {
			b := batch[i/per]
			masks[worker].scan(b.mask(i%per), 0, 0)
			mask := masks[worker].mask()
			mask.IoU, mask.predicted = b.iou[i%per], true
			results[b.prompt].Masks[i%per] = mask
		})
		return r.Step(len(batch))
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// lowResult is what the decoder says of one prompt: for every mask, side ×
// side logits and the predicted IoU. It is valid until the callback that got
// it returns.
type lowResult struct {
	prompt int // index
	logits []float32
	iou    []float32
	object float32
}

// newResult copies what the decoder said; the masks are still to be made.
func (m *Model) newResult(up *upsampler, low lowResult) Result {
	r := Result{Masks: make([]Mask, len(low.iou)), LowRes: make([]LowRes, len(low.iou)), ObjectLogit: low.object, up: up, model: m}
	r.raw = slices.Clone(low.logits)
	all := r.raw
	if m.config.Hiera != nil {
		all = clamped(all)
	}
	n := len(all) / len(r.LowRes)
	for i := range r.LowRes {
		r.LowRes[i] = LowRes{up.side, up.side, all[i*n : (i+1)*n : (i+1)*n]}
	}
	return r
}

// clamped returns logits within the range of SAM 2's low-resolution results, or
// the same slice if all are (sam2/sam2_image_predictor.py, _predict).
func clamped(logits []float32) []float32 {
	const most = 32
	if i := slices.IndexFunc(logits, func(v float32) bool { return v < -most || v > most }); i < 0 {
		return logits
	}
	logits = slices.Clone(logits)
	for i, v := range logits {
		logits[i] = min(max(v, -most), most)
	}
	return logits
}

// mask returns the logits of mask i.
func (r lowResult) mask(i int) []float32 {
	n := len(r.logits) / len(r.iou)
	return r.logits[i*n : (i+1)*n]
}

// batchFloats bounds the image side of one batch of the decoder: prompts ×
// cells × width.
const batchFloats = 1 << 22

// predictLowRes runs the decoder on all prompts, in batches that hold equally
// many masks per prompt, and calls emit with every batch from the calling
// goroutine. Memory is bounded by one batch.
func (m *Model) predictLowRes(r *nn.Call, e *Embedding, prompts []Prompt, o predictOptions, emit func(batch []lowResult) error) error {
	order := make([]int, len(prompts))
	for i := range prompts {
		if err := prompts[i].check(4 * e.grid); err != nil {
			return fmt.Errorf("sam: prompt %d: %w", i, err)
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return m.prompts.compare(&prompts[i], &prompts[j]) })
	shared, err := m.sharedSide(r, e)
	if err != nil {
		return err
	}
	limit := max(batchFloats/len(e.features.Data), 1)
	for len(order) > 0 {
		first := &prompts[order[0]]
		n := 1
		for n < len(order) && n < limit && first.Mask == nil && m.prompts.compare(first, &prompts[order[n]]) == 0 {
			n++
		}
		mark := r.Mark()
		if err := m.predictBatch(r, e, shared, prompts, order[:n], o, emit); err != nil {
			return err
		}
		r.Release(mark)
		order = order[n:]
	}
	return nil
}

// compare orders prompts so that those that can share a batch are neighbors.
func (e *promptEncoder) compare(p, q *Prompt) int {
	return cmp.Or(
		compareBools(p.Mask != nil, q.Mask != nil),
		compareBools(p.Single, q.Single),
		cmp.Compare(e.tokens(p), e.tokens(q)),
	)
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// sharedSide is the image side of e for prompts without a mask, computed at
// the first of them.
func (m *Model) sharedSide(r *nn.Call, e *Embedding) (*imageSide, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.owner == m {
		return e.shared, nil
	}
	side := m.decoder.imageSide(r.Exec, e.features, m.positions(r.Team, e.grid), m.prompts.noMask, func(rows, cols int) blas32.General {
		return nn.Matrix(make([]float32, rows*cols), rows, cols)
	})
	if e.second() {
		side.fine = [2][]float32{squares(e.fine[0], e.grid, 4), squares(e.fine[1], e.grid, 2)}
	}
	if err := r.Context.Err(); err != nil {
		return nil, err // and side is half done
	}
	e.shared, e.owner = side, m
	return side, nil
}

// positions is the position encoding of a grid's cells.
func (m *Model) positions(t *simd.Team, grid int) blas32.General {
	if grid == m.geometry.grid {
		return m.cellPositions
	}
	return m.prompts.positions(t, grid)
}

// predictBatch runs the decoder on the prompts of the given indices, which
// have equally many tokens and masks; with a mask prompt it is one.
func (m *Model) predictBatch(r *nn.Call, e *Embedding, side *imageSide, prompts []Prompt, indices []int, o predictOptions, emit func(batch []lowResult) error) error {
	d, n := m.decoder, len(indices)
	first := &prompts[indices[0]]
	if first.Mask != nil {
		dense := m.prompts.masks.apply(r, first.Mask.Data, e.grid)
		fine := side.fine
		side = d.imageSide(r.Exec, e.features, side.positions, dense, r.Matrix)
		side.fine = fine
	}

	tokens := d.outputTokens() + m.prompts.tokens(first)
	initial := r.Matrix(n*tokens, e.features.Cols)
	for b, i := range indices {
		own := nn.Rows(initial, b*tokens, tokens)
		m.initialTokens(own, e, &prompts[i])
		if err := checkFinite(r.Kernel, "positions of points and corners", own); err != nil {
			return fmt.Errorf("sam: prompt %d: %w: %w", i, ErrPrompt, err)
		}
	}
	p, err := d.transform(r, side, initial, n)
	if err != nil {
		return err
	}

	// Mask 0 is the single one, the others are three guesses at what an
	// ambiguous prompt means.
	lo, hi := 1, d.maskTokens.Rows
	stable := first.Single && d.second() && o.stable
	if stable {
		lo = 0
	} else if first.Single {
		lo, hi = 0, 1
	}
	logits, iou := d.masks(r, p, side, e.grid, lo, hi)
	objects := d.objects(r, p)
	if err := r.Context.Err(); err != nil {
		return err
	}
	for _, part := range []blas32.General{p.queries, iou, nn.Matrix(logits.Data, len(logits.Data)/e.grid, e.grid)} {
		if err := checkFinite(r.Kernel, "masks", part); err != nil {
			return fmt.Errorf("sam: prompt %d: %w", indices[0], err)
		}
	}
	batch := make([]lowResult, n)
	for b := range batch {
		low := lowResult{indices[b], row(logits, b), row(iou, b)[lo:hi], float32(math.Inf(1))}
		if stable {
			low = low.single()
		}
		if objects != nil {
			low.object = objects[b]
		}
		batch[b] = low
	}
	return emit(batch)
}

// The rule by which SAM 2 answers with one mask
// (sam2/modeling/sam/mask_decoder.py, _dynamic_multimask_via_stability).
const (
	stableOffset = 0.05
	stableLeast  = 0.98
)

// single is mask 0 if it is stable, else the best of the others, the first of
// equals.
func (r lowResult) single() lowResult {
	above, below := 0, 0
	for _, v := range r.mask(0) {
		above += int(bit(v > stableOffset))
		below += int(bit(v > -stableOffset))
	}
	best := 0
	if below > 0 && !(float32(above)/float32(below) >= stableLeast) {
		best = 1
		for i := 2; i < len(r.iou); i++ {
			if r.iou[i] > r.iou[best] {
				best = i
			}
		}
	}
	return lowResult{r.prompt, r.mask(best), r.iou[best : best+1], r.object}
}

// initialTokens stores the tokens that a prompt enters the transformer with:
// one for the quality, one per mask, the prompt's own.
func (m *Model) initialTokens(dst blas32.General, e *Embedding, p *Prompt) {
	d, own := m.decoder, m.decoder.outputTokens()
	at := copy(dst.Data, d.objectToken.Data)
	at += copy(dst.Data[at:], d.iouToken.Data)
	copy(dst.Data[at:], d.maskTokens.Data)
	m.prompts.embed(nn.Rows(dst, own, dst.Rows-own), p, e)
}
