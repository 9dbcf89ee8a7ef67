package sam

import (
	"context"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/option"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"gonum.org/v1/gonum/blas/blas32"
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
		return m.prepare(ctx, img, g.side, bytes, r.Floats)
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
	if err := m.config.checkInput(original, image.Pt(p.Width, p.Height), m.geometry.side); err != nil {
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

// checkInput reports an input that no picture of the size original has. SAM 2's is
// always a square.
func (c *Config) checkInput(original, input image.Point, side int) error {
	if c.Hiera == nil {
		return checkInput(original, input, side)
	}
	if err := checkSize(original); err != nil {
		return err
	}
	if input != image.Pt(side, side) {
		return fmt.Errorf("%w: input of %d×%d, want %d×%d", ErrSize, input.X, input.Y, side, side)
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
	e := newEmbedding(g.grid, g.side, m.config.PromptWidth, m.config.Hiera != nil)
	e.original, e.input = original, image.Pt(p.Width, p.Height)
	if err := m.encoder.encode(r, e, p, g); err != nil {
		return nil, err
	}
	for _, features := range []blas32.General{e.features, e.fine[0], e.fine[1]} {
		if err := checkFinite(m.kernel, "features", features); err != nil {
			return nil, fmt.Errorf("sam: %w", err)
		}
	}
	return e, nil
}
