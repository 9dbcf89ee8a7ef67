package sam

import (
	"context"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/option"
	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// Encode runs the image encoder on a picture. This is the expensive step; any
// number of prompts can be answered from its result. A picture that is nil,
// empty or too large is [ErrSize], a result that is not finite [ErrOverflow].
// If ctx ends, its error is returned.
func (m *Model) Encode(ctx context.Context, img image.Image, opts ...EncodeOption) (*Embedding, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	var o encodeOptions
	if err := option.Apply(&o, opts, EncodeOption.encode); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	if o.side == 0 {
		o.side = m.geometry.side
	}
	size, err := pix.Size(img)
	if err != nil {
		return nil, fmt.Errorf("sam: %w", pictureError(err))
	}
	g, err := m.geometryOf(o.side)
	if err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	prepare := func(r *nn.Call) (Pixels, error) {
		bytes := m.pictures.Get()
		defer m.pictures.Put(bytes)
		defer bytes.Reset()
		return preprocess(ctx, img, g.side, bytes, r.Floats)
	}
	return m.encode(ctx, prepare, size, g, o.progress)
}

// EncodePixels runs the image encoder on pixels that [Model.Preprocess] or
// another program prepared: normalized, the longest side of the model's input
// size, unpadded. original is the size of the picture that they show; prompts
// and masks refer to it. [ErrSize] reports an original whose resize would have
// another size, by more than one pixel for rounding.
func (m *Model) EncodePixels(ctx context.Context, p Pixels, original image.Point) (*Embedding, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	if err := p.check(m.geometry.side); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	if err := checkInput(original, image.Pt(p.Width, p.Height), m.geometry.side); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	return m.encode(ctx, func(*nn.Call) (Pixels, error) { return p, nil }, original, m.geometry, nil)
}

// checkSize reports a picture without pixels or with too many.
func checkSize(size image.Point) error {
	if err := pix.CheckSize(size.X, size.Y); err != nil {
		return pictureError(err)
	}
	return nil
}

// checkInput reports an input that no picture of the size original has: with
// its longest side resized to side, it would have another shape.
func checkInput(original, input image.Point, side int) error {
	want, err := pix.LongestSide(original, side)
	if err != nil {
		return pictureError(err)
	}
	if d := want.Sub(input); min(input.X, input.Y) < 1 || max(input.X, input.Y) != side || max(abs(d.X), abs(d.Y)) > 1 {
		return fmt.Errorf("%w: a picture of %d×%d becomes %d×%d, not %d×%d", ErrSize, original.X, original.Y, want.X, want.Y, input.X, input.Y)
	}
	return nil
}

// encode takes workers, prepares the pixels, and runs the encoder on them.
func (m *Model) encode(ctx context.Context, prepare func(*nn.Call) (Pixels, error), original image.Point, g *geometry, progress func(done, total int)) (*Embedding, error) {
	r, err := m.begin(ctx, &m.encoding)
	if err != nil {
		return nil, err
	}
	defer r.End()
	r.Report(progress, m.encoder.steps())
	p, err := prepare(r)
	if err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	e := &Embedding{
		features: nn.Matrix(make([]float32, g.grid*g.grid*m.config.PromptWidth), g.grid*g.grid, m.config.PromptWidth),
		grid:     g.grid, side: g.side,
		original: original, input: image.Pt(p.Width, p.Height),
	}
	if err := m.encoder.encode(r, e.features, p, g); err != nil {
		return nil, err
	}
	if err := checkFinite(m.kernel, "features", e.features); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	return e, nil
}
