package vit

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"gonum.org/v1/gonum/blas/blas32"
)

// ErrPixels reports a prepared picture whose data do not fit its size or are
// not finite.
var ErrPixels = errors.New("pixels")

// picture is one input of the image tower, not yet made.
type picture struct {
	size   image.Point     // original
	region image.Rectangle // of the original
	input  image.Point     // pixels of the tower's input
	fill   func(ctx context.Context, dst []float32) error
	data   []float32 // or the planes themselves
}

// EncodeImage returns the features of a picture. By default the picture is
// resized to the model's own square, and the tower runs without a plan.
func (c *CLIP) EncodeImage(ctx context.Context, img image.Image, opts ...ImageOption) (*Features, error) {
	f, err := c.EncodeImages(ctx, []image.Image{img}, opts...)
	if err != nil {
		return nil, err
	}
	return f[0], nil
}

// EncodeImages returns the features of several pictures, whose grids may
// differ. They pass the tower as one matrix, or as several of about a thousand
// rows.
func (c *CLIP) EncodeImages(ctx context.Context, imgs []image.Image, opts ...ImageOption) ([]*Features, error) {
	o, err := imageOptionsOf(opts)
	if err != nil {
		return nil, err
	}
	pictures, err := c.pictures(imgs, o.transform)
	if err != nil {
		return nil, err
	}
	return c.encodeUnder(ctx, pictures, o)
}

// encodeUnder runs pictures through the tower under the plan of the options.
func (c *CLIP) encodeUnder(ctx context.Context, pictures []picture, o imageOptions) ([]*Features, error) {
	all, err := c.encode(ctx, pictures, []Plan{o.planOrZero()}, o.progress)
	if err != nil {
		return nil, err
	}
	first := make([]*Features, len(all))
	for i := range all {
		first[i] = all[i][0]
	}
	return first, nil
}

// EncodePlans returns the features of one picture under each of several plans;
// the zero Plan is the tower as it is. Work that plans have in common is done
// once.
func (c *CLIP) EncodePlans(ctx context.Context, img image.Image, plans []Plan, opts ...ImageOption) ([]*Features, error) {
	o, err := imageOptionsOf(opts)
	if err != nil {
		return nil, err
	}
	if o.plan != nil {
		return nil, fmt.Errorf("vit: %w: EncodePlans takes plans and no Operate", ErrPlan)
	}
	if len(plans) == 0 {
		return nil, fmt.Errorf("vit: %w: no plans", ErrEmpty)
	}
	pictures, err := c.pictures([]image.Image{img}, o.transform)
	if err != nil {
		return nil, err
	}
	all, err := c.encode(ctx, pictures, plans, o.progress)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// EncodePixels returns the features of a prepared picture; Its Size and Region
// refer to the prepared pixels. Options that resize are [ErrSize].
func (c *CLIP) EncodePixels(ctx context.Context, p Pixels, opts ...ImageOption) (*Features, error) {
	if err := c.loaded(); err != nil {
		return nil, err
	}
	o, err := imageOptionsOf(opts)
	if err != nil {
		return nil, err
	}
	if o.transform.kind != native {
		return nil, fmt.Errorf("vit: %w: prepared pixels are not resized", ErrSize)
	}
	if p.Width < 1 || p.Height < 1 || p.Width > maxPixels/p.Height {
		return nil, fmt.Errorf("vit: %w: %d×%d pixels", ErrSize, p.Width, p.Height)
	}
	if len(p.Data) != 3*p.Width*p.Height {
		return nil, fmt.Errorf("vit: %w: %d values for 3×%d×%d", ErrPixels, len(p.Data), p.Height, p.Width)
	}
	if lo, hi := c.kernel.MinMax(p.Data); !nn.Finite(lo) || !nn.Finite(hi) {
		return nil, fmt.Errorf("vit: %w: NaN or infinite", ErrPixels)
	}
	size := image.Pt(p.Width, p.Height)
	f, err := c.encodeUnder(ctx, []picture{{size, image.Rectangle{Max: size}, size, nil, p.Data}}, o)
	if err != nil {
		return nil, err
	}
	return f[0], nil
}

func (o imageOptions) planOrZero() Plan {
	if o.plan == nil {
		return Plan{}
	}
	return *o.plan
}

func (c *CLIP) pictures(imgs []image.Image, t transform) ([]picture, error) {
	if err := c.loaded(); err != nil {
		return nil, err
	}
	pictures := make([]picture, len(imgs))
	for i, img := range imgs {
		size, err := sizeOf(img)
		if err != nil {
			return nil, err
		}
		g, err := t.geometry(size, &c.config)
		if err != nil {
			return nil, err
		}
		pictures[i] = picture{g.size, g.region(), g.crop.Size(),
			func(ctx context.Context, dst []float32) error { return c.prepare(ctx, dst, img, g) }, nil}
	}
	return pictures, nil
}

// batchRows is about how many rows pass the tower together, if one picture does
// not have more: enough to keep many workers busy and to read the weights once
// for several pictures, few enough that what one operation writes is still in
// the third-level cache for the next.
const batchRows = 1024

// encode runs pictures through the tower under every plan, in batches, and
// returns features by picture and plan.
func (c *CLIP) encode(ctx context.Context, pictures []picture, plans []Plan, progress func(done, total int)) ([][]*Features, error) {
	for i := range plans {
		if err := c.vision.check(&plans[i]); err != nil {
			return nil, err
		}
	}
	for _, p := range pictures {
		if g := c.vision.grid(p.input); g.X < 1 || g.Y < 1 || g.X > maxCells/g.Y {
			return nil, fmt.Errorf("vit: %w: %d×%d pixels are a grid of %d×%d", ErrSize, p.input.X, p.input.Y, g.X, g.Y)
		}
	}
	batches, total := c.batches(pictures, plans)
	r, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer r.End()
	r.Report(progress, total)
	var all [][]*Features
	for _, batch := range batches {
		features, err := c.encodeBatch(r, batch, plans)
		if err != nil {
			return nil, err
		}
		all = append(all, features...)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return all, nil
}

// batches cuts pictures into runs of about the same number of rows and counts
// the steps of them all.
func (c *CLIP) batches(pictures []picture, plans []Plan) (batches [][]picture, steps int) {
	sizes := make([]image.Point, len(pictures))
	middle := make([]int, len(pictures)) // row of each picture among those of all
	total := 0
	for i, p := range pictures {
		grid := c.vision.grid(p.input)
		rows := 1 + grid.X*grid.Y
		sizes[i], middle[i] = p.input, total+rows/2
		total += rows
	}
	runs := (total + batchRows - 1) / batchRows
	for first, end := 0, 0; first < len(pictures); first = end {
		run := middle[first] * runs / total
		for end < len(pictures) && middle[end]*runs/total == run {
			end++
		}
		steps += c.vision.steps(sizes[first:end], plans)
		batches = append(batches, pictures[first:end])
	}
	return batches, steps
}

func (c *CLIP) encodeBatch(r *nn.Call, pictures []picture, plans []Plan) ([][]*Features, error) {
	mark := r.Mark()
	defer r.Release(mark)
	inputs := make([]Pixels, len(pictures))
	features := make([][]*Features, len(pictures))
	out := make([][]blas32.General, len(pictures))
	for i, p := range pictures {
		inputs[i] = Pixels{p.input.X, p.input.Y, p.data}
		if p.fill != nil {
			inputs[i].Data = r.Floats(3 * p.input.X * p.input.Y)
		}
		grid := c.vision.grid(p.input)
		rows, cols := 1+grid.X*grid.Y, c.config.Embed
		for range plans {
			m := nn.Matrix(make([]float32, rows*cols), rows, cols)
			out[i] = append(out[i], m)
			features[i] = append(features[i], &Features{m, grid, p.size, p.region, &c.kernel})
		}
	}
	errs := make([]error, len(pictures))
	r.Team.Do(len(pictures), func(_, i int) {
		if p := pictures[i]; p.fill != nil {
			errs[i] = p.fill(r.Context, inputs[i].Data)
		}
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := c.vision.encode(r, inputs, plans, out); err != nil {
		return nil, err
	}
	return features, checkFinite(r, slices.Concat(out...)...)
}
