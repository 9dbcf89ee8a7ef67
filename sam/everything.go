package sam

import (
	"context"
	"fmt"
	"image"
	"iter"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// Everything finds all masks of a picture: it clicks on every point of a grid
// and keeps the masks that are good, stable and new
// (segment_anything/automatic_mask_generator.py). The best masks come first.
// Only the logits of one batch are held in memory; candidates are held as run
// lengths.
//
// A meaningless option is [ErrOption]; other errors are those of
// [Model.Encode]. If no mask is good enough, the result is empty and there is
// no error.
func (m *Model) Everything(ctx context.Context, img image.Image, opts ...EverythingOption) ([]Mask, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	o, err := everythingOptionsOf(opts, m.config.Hiera != nil)
	if err != nil {
		return nil, err
	}
	size, err := pix.Size(img)
	if err != nil {
		return nil, fmt.Errorf("sam: %w", pictureError(err))
	}
	g := m.generator(o, size)
	g.total += len(g.crops) * m.encoder.steps()
	parts := func(image.Rectangle) image.Image { return img }
	if len(g.crops) > 1 {
		whole, err := pix.FromImage(ctx, img)
		if err != nil {
			return nil, fmt.Errorf("sam: %w", pictureError(err))
		}
		parts = whole.SubImage
	}
	var found []candidate
	for _, c := range g.crops {
		e, err := g.encode(ctx, parts(c.box))
		if err != nil {
			return nil, err
		}
		more, err := g.ask(ctx, e, c)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return g.finish(found), nil
}

// EverythingSeq is [Model.Everything] as an iterator. The computation runs when
// the iterator is ranged over. It yields the masks after non-maximum
// suppression, or a single error.
func (m *Model) EverythingSeq(ctx context.Context, img image.Image, opts ...EverythingOption) iter.Seq2[Mask, error] {
	return func(yield func(Mask, error) bool) {
		masks, err := m.Everything(ctx, img, opts...)
		if err != nil {
			yield(Mask{}, err)
			return
		}
		for _, mask := range masks {
			if !yield(mask, nil) {
				return
			}
		}
	}
}

// EverythingFrom is [Model.Everything] for a picture that is already encoded.
// [CropLayers] is [ErrOption], since crops need the picture itself.
func (m *Model) EverythingFrom(ctx context.Context, e *Embedding, opts ...EverythingOption) ([]Mask, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	if err := e.check(m); err != nil {
		return nil, err
	}
	o, err := everythingOptionsOf(opts, m.config.Hiera != nil)
	if err != nil {
		return nil, err
	}
	if o.layers > 0 {
		return nil, fmt.Errorf("sam: %w: CropLayers(%d) of an embedding", ErrOption, o.layers)
	}
	g := m.generator(o, e.original)
	found, err := g.ask(ctx, e, g.crops[0])
	if err != nil {
		return nil, err
	}
	return g.finish(found), nil
}

// generator is one call of everything mode.
type generator struct {
	everythingOptions
	model       *Model
	size        image.Point // of the picture
	crops       []crop
	done, total int
}

func (m *Model) generator(o everythingOptions, size image.Point) *generator {
	g := &generator{everythingOptions: o, model: m, size: size, crops: cropsOf(size, o.layers, o.overlap)}
	for _, c := range g.crops {
		g.total += len(o.grids[c.layer])
	}
	return g
}

// encode encodes a part of the picture, as steps of the whole call.
func (g *generator) encode(ctx context.Context, part image.Image) (*Embedding, error) {
	return g.model.Encode(ctx, part, WithProgress(g.further()))
}

// further returns the progress function for a part of the call; nil without
// [WithProgress].
func (g *generator) further() func(done, total int) {
	if g.progress == nil {
		return nil
	}
	before := g.done
	return func(done, _ int) {
		g.done = before + done
		g.progress(g.done, g.total)
	}
}

// candidate is a mask of one crop that may be kept.
type candidate struct {
	Mask     // of the crop, until it is chosen; then of the picture
	box  Box // of pixels, the last included, in the same frame as the mask
}

// ask clicks on the points of a crop and returns the masks that are good
// enough and unlike each other.
func (g *generator) ask(ctx context.Context, e *Embedding, c crop) ([]candidate, error) {
	r, err := g.model.begin(ctx, &g.model.decoding)
	if err != nil {
		return nil, err
	}
	defer r.End()
	points := g.grids[c.layer]
	r.Report(g.further(), len(points))
	a := &asking{generator: g, call: r, embedding: e, crop: c, up: e.upsampler(), scratch: make([]*thresholder, r.Team.Size())}
	for len(points) > 0 {
		n := min(g.perBatch, len(points))
		prompts := make([]Prompt, n)
		for i, p := range points[:n] {
			at := Point{float32(p[0] * float64(e.original.X)), float32(p[1] * float64(e.original.Y)), Foreground}
			prompts[i] = Prompt{Points: []Point{at}, Single: g.single}
		}
		points = points[n:]
		err := g.model.predictLowRes(r, e, prompts, predictOptions{stable: true}, func(batch []lowResult) error {
			take := a.keep
			if g.refine {
				take = a.again
			}
			if err := take(batch, prompts); err != nil {
				return err
			}
			return r.Step(len(batch))
		})
		if err != nil {
			return nil, err
		}
	}

	found := a.found
	scores := make([]float32, len(found))
	for i := range found {
		scores[i] = found[i].IoU
	}
	found = distinct(found, scores, g.boxNMS)
	for i := range found {
		f := &found[i]
		f.Mask = f.uncrop(c.box, g.size)
		f.Crop = c.box
		f.Point.X += float32(c.box.Min.X)
		f.Point.Y += float32(c.box.Min.Y)
		f.box = f.box.add(c.box.Min)
	}
	return found, nil
}

// asking is the work on one crop.
type asking struct {
	*generator
	call      *nn.Call
	embedding *Embedding
	crop      crop
	up        *upsampler
	scratch   []*thresholder // by worker
	found     []candidate
}

// keep adds the masks of a batch that are good enough.
func (a *asking) keep(batch []lowResult, prompts []Prompt) error {
	per := len(batch[0].iou)
	made := make([]*candidate, len(batch)*per)
	a.call.Team.Do(len(made), func(worker, i int) {
		low, j := batch[i/per], i%per
		if a.minIoU > 0 && !(low.iou[j] > a.minIoU) {
			return
		}
		if a.scratch[worker] == nil {
			a.scratch[worker] = newThresholder(a.up, a.call.Kernel, make([]float32, a.up.scratch()))
		}
		logits := low.mask(j)
		if a.area > 0 && a.embedding.second() {
			logits = cleaned(logits, a.up.side, a.area)
		}
		made[i] = a.candidate(a.scratch[worker], a.crop, logits)
		if made[i] != nil {
			made[i].IoU, made[i].predicted, made[i].Point = low.iou[j], true, prompts[low.prompt].Points[0]
		}
	})
	for _, m := range made {
		if m != nil {
			a.found = append(a.found, *m)
		}
	}
	return nil
}

// again asks for every mask of a batch once more, as one mask, and keeps the
// answers.
func (a *asking) again(batch []lowResult, prompts []Prompt) error {
	var more []Prompt
	for _, low := range batch {
		for j := range low.iou {
			logits := low.mask(j)
			if a.embedding.second() {
				logits = clamped(logits)
			}
			more = append(more, Prompt{
				Points: prompts[low.prompt].Points,
				Mask:   &LowRes{a.up.side, a.up.side, logits},
				Single: true,
			})
		}
	}
	return a.model.predictLowRes(a.call, a.embedding, more, predictOptions{stable: true}, func(refined []lowResult) error {
		return a.keep(refined, more)
	})
}

// candidate is the mask of logits, or nil, if it is not stable or cut by the
// edge of its crop.
func (g *generator) candidate(t *thresholder, c crop, logits []float32) *candidate {
	stability := t.scan(logits, 0, g.offset).stability()
	if g.minStability > 0 && !(stability >= g.minStability) {
		return nil
	}
	m := candidate{Mask: t.mask()}
	m.Stability = stability
	m.box = boxOf(m.Mask)
	if c.cut(m.box, g.size) {
		return nil
	}
	return &m
}

// finish makes masks of the candidates of all crops.
func (g *generator) finish(found []candidate) []Mask {
	if len(g.crops) > 1 {
		scores := make([]float32, len(found))
		for i, f := range found {
			scores[i] = 1 / float32(f.Crop.Dx()*f.Crop.Dy())
		}
		found = distinct(found, scores, g.cropNMS)
	}
	if g.area > 0 && g.model.config.Hiera == nil {
		found = g.clean(found)
	}
	masks := make([]Mask, len(found))
	for i, f := range found {
		masks[i] = f.Mask
	}
	return masks
}

// clean removes small holes and islands, then candidates that have become
// like others, of which those that needed no cleaning are better.
func (g *generator) clean(found []candidate) []candidate {
	scores := make([]float32, len(found))
	for i := range found {
		f := &found[i]
		var filled, dropped bool
		f.Mask, filled = f.fillHoles(g.area)
		f.Mask, dropped = f.dropIslands(g.area)
		if !filled && !dropped {
			scores[i] = 1
		}
		f.box = boxOf(f.Mask)
	}
	return distinct(found, scores, max(g.boxNMS, g.cropNMS))
}

// distinct suppresses candidates whose box is much like that of another with
// a higher score.
func distinct(found []candidate, scores []float32, threshold float64) []candidate {
	boxes := make([]Box, len(found))
	for i := range found {
		boxes[i] = found[i].box
	}
	kept := make([]candidate, 0, len(found))
	for _, i := range suppress(boxes, scores, threshold) {
		kept = append(kept, found[i])
	}
	return kept
}

// boxOf is the corners of a mask's bounds in pixels, the last included; zeros
// for an empty mask (segment_anything/utils/amg.py, batched_mask_to_box).
func boxOf(m Mask) Box {
	b := m.Bounds()
	if b.Empty() {
		return Box{}
	}
	return Box{float32(b.Min.X), float32(b.Min.Y), float32(b.Max.X - 1), float32(b.Max.Y - 1)}
}
