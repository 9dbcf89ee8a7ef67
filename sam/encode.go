package sam

import (
	"context"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"gonum.org/v1/gonum/blas/blas32"
)

// EncodeOption changes how a picture is encoded.
type EncodeOption interface{ encode(*encodeOptions) }

type encodeOptions struct {
	side     int
	progress func(done, total int)
}

// ProgressOption is an option of the calls that take long.
type ProgressOption func(done, total int)

func (p ProgressOption) encode(o *encodeOptions) { o.progress = p }

// WithProgress calls f as the work goes on, from the goroutine of the call,
// with total the same in every call and done equal to it in the last.
func WithProgress(f func(done, total int)) ProgressOption { return f }

// Encode runs the image encoder on a picture. This is the expensive step; any
// number of prompts can be asked of its result. A picture that is empty or
// too large is [ErrSize]; a context that ends, its error.
func (m *Model) Encode(ctx context.Context, img image.Image, opts ...EncodeOption) (*Embedding, error) {
	o := encodeOptions{side: m.geometry.side}
	for _, opt := range opts {
		opt.encode(&o)
	}
	if o.side == 0 {
		o.side = m.geometry.side
	}
	g, err := m.geometryOf(o.side)
	if err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	ws := m.encoding.get()
	defer m.encoding.put(ws)
	p, err := preprocess(ctx, img, g.side, &ws.bytes, ws.Floats)
	if err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	return m.encode(ctx, ws, p, img.Bounds().Size(), g, o.progress)
}

// EncodePixels runs the image encoder on pixels that [Model.Preprocess] or
// another program prepared: normalised, the longest side of the model's input
// size, unpadded. original is the size of the picture that they show, to
// which prompts and masks refer.
func (m *Model) EncodePixels(ctx context.Context, p Pixels, original image.Point) (*Embedding, error) {
	if err := p.check(m.geometry.side); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	if err := checkSize(original); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	ws := m.encoding.get()
	defer m.encoding.put(ws)
	return m.encode(ctx, ws, p, original, m.geometry, nil)
}

// checkSize reports a picture without pixels or with too many.
func checkSize(size image.Point) error {
	if size.X < 1 || size.Y < 1 || size.X > pix.MaxPixels/size.Y {
		return fmt.Errorf("%w: picture of %d×%d", ErrSize, size.X, size.Y)
	}
	return nil
}

func (m *Model) encode(ctx context.Context, ws *workspace, p Pixels, original image.Point, g *geometry, progress func(done, total int)) (*Embedding, error) {
	team, err := m.workers.Team(ctx)
	if err != nil {
		return nil, err
	}
	defer team.Close()
	done, total := 0, m.encoder.steps()+1 // the neck
	step := func(stage, int, blas32.General) error {
		done++
		if progress != nil {
			progress(done, total)
		}
		return ctx.Err()
	}
	e := &Embedding{
		features: nn.Matrix(make([]float32, g.grid*g.grid*m.config.PromptWidth), g.grid*g.grid, m.config.PromptWidth),
		grid:     g.grid, side: g.side,
		original: original, input: image.Pt(p.Width, p.Height),
	}
	if err := m.encoder.encode(nn.Exec{Kernel: m.kernel, Team: team}, &ws.Workspace, e.features, p, g, step); err != nil {
		return nil, err
	}
	return e, step("", 0, e.features)
}
