package vit

import (
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// resNet is CLIP's ModifiedResNet: a stem of three convolutions, average pools
// where others stride, and an attention pool at the end. Batch norms are folded
// into the convolutions before them.
//
// Feature maps are matrices with one row per pixel, row by row from the top
// left, and one column per channel, so that 1×1 convolutions are products on the
// map as it lies. The maps of a batch follow one another.
// Source: openai/CLIP clip/model.py:ModifiedResNet.
type resNet struct {
	conv1        nn.Linear // 3·3·3 → width/2, stride 2
	conv2, conv3 nn.Conv3x3
	stages       [4][]bottleneck
	pool         *attentionPool
	width        int
}

// bottleneck is one block: 1×1, 3×3 and 1×1 convolutions beside the identity.
// Source: openai/CLIP clip/model.py:Bottleneck.
type bottleneck struct {
	conv1 nn.Linear
	conv2 nn.Conv3x3
	conv3 nn.Linear
	// halves pools both paths before their last convolution.
	halves bool
	// identity is the 1×1 convolution of the other path, or has no weight.
	identity nn.Linear

	name string // of the fixtures
}

const (
	resNetStride    = 32 // pixels per cell of the last map
	resNetExpansion = 4  // channels after a bottleneck per channel inside
	resNetPool      = 32 // channels of the last map per channel after the stem
)

func (t *resNet) grid(size image.Point) image.Point {
	return afterStem(size).Div(resNetStride / 4)
}

// afterConv1 is the size of the map after the first convolution, which rounds
// up; all pools round down.
func afterConv1(size image.Point) image.Point { return size.Add(image.Pt(1, 1)).Div(2) }

func afterStem(size image.Point) image.Point { return afterConv1(size).Div(2) }

// check accepts CLIP Surgery's plan, also with the unit vectors and 8·s that
// the paper describes for ResNets, and none.
func (t *resNet) check(p *Plan) error {
	if p.Blocks == 0 {
		return p.check(0)
	}
	want := Plan{Blocks: 6, Beside: true, WithoutFFN: true, Attention: p.Attention, Class: p.Class, Positions: p.Positions}
	if len(p.Attention) == 1 && p.Blocks == want.Blocks && p.Beside && p.WithoutFFN && !p.WithoutResidual {
		a := p.Attention[0]
		plain := Term{Query: V, Key: V, Unit: a.Unit, Scale: a.Scale}
		if a.Weight = a.weight(); a.Weight == 1 {
			a.Weight = 0
		}
		if a == plain {
			return p.check(want.Blocks)
		}
	}
	return fmt.Errorf("vit: %w: a ResNet knows CLIP Surgery's plan only", ErrPlan)
}

// resNetCells bounds how many cells of last maps pass the tower together, if
// one picture does not have more: the largest maps then take 16 MB times the
// width over 64.
const resNetCells = 256

// batches cuts pictures into runs of at most resNetCells cells.
func (t *resNet) batches(sizes []image.Point) (counts []int) {
	cells := resNetCells
	for _, s := range sizes {
		g := t.grid(s)
		if cells += g.X * g.Y; cells > resNetCells {
			counts, cells = append(counts, 0), g.X*g.Y
		}
		counts[len(counts)-1]++
	}
	return counts
}

func (t *resNet) steps(sizes []image.Point, _ []Plan) int {
	n := 0
	for _, s := range t.stages {
		n += len(s)
	}
	return n * len(t.batches(sizes))
}

func (t *resNet) encode(r *nn.Call, pictures []Pixels, plans []Plan, out [][]blas32.General) error {
	sizes := make([]image.Point, len(pictures))
	for i, p := range pictures {
		sizes[i] = image.Pt(p.Width, p.Height)
	}
	for _, n := range t.batches(sizes) {
		mark := r.Mark()
		f, err := t.features(r, pictures[:n])
		if err != nil {
			return err
		}
		t.pool.apply(r, f, plans, out[:n])
		r.Release(mark)
		pictures, out = pictures[n:], out[n:]
	}
	return nil
}

// maps are the feature maps of a batch.
type maps struct {
	sizes []image.Point // columns and rows of each
	x     blas32.General
}

// shaped returns maps of unspecified content.
func shaped(ws *nn.Workspace, sizes []image.Point, channels int) maps {
	return maps{sizes, ws.Matrix(pixelsIn(sizes), channels)}
}

func pixelsIn(sizes []image.Point) int {
	n := 0
	for _, s := range sizes {
		n += s.X * s.Y
	}
	return n
}

// each calls f with the rows of each map in m and in other, which has as many.
func (m maps) each(other maps, f func(i int, a, b blas32.General)) {
	a, b := 0, 0
	for i, s := range m.sizes {
		n, o := s.X*s.Y, other.sizes[i].X*other.sizes[i].Y
		f(i, nn.Rows(m.x, a, n), nn.Rows(other.x, b, o))
		a, b = a+n, b+o
	}
}

// sized applies f to every size.
func sized(sizes []image.Point, f func(image.Point) image.Point) []image.Point {
	all := make([]image.Point, len(sizes))
	for i, s := range sizes {
		all[i] = f(s)
	}
	return all
}

func half(s image.Point) image.Point { return s.Div(2) }

// features returns the last maps of the pictures, in scratch memory.
func (t *resNet) features(r *nn.Call, pictures []Pixels) (maps, error) {
	m := t.stem(r, pictures)
	r.Show(m.x, "stem")
	for _, stage := range t.stages {
		for i := range stage {
			m = stage[i].apply(r, m)
			r.Show(m.x, "%s", stage[i].name)
			if err := r.Step(1); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}

// stem is conv1 (stride 2), conv2, conv3 and an average pool.
func (t *resNet) stem(r *nn.Call, pictures []Pixels) maps {
	sizes := make([]image.Point, len(pictures))
	for i, p := range pictures {
		sizes[i] = afterConv1(image.Pt(p.Width, p.Height))
	}
	m := shaped(r.Workspace, sized(sizes, half), t.width)
	mark := r.Mark()
	a := shaped(r.Workspace, sizes, t.width/2)
	b := shaped(r.Workspace, sizes, t.width/2)
	a.each(b, func(i int, a, b blas32.General) {
		mark := r.Mark()
		patches := r.Matrix(a.Rows, 27)
		r.Team.Do(sizes[i].Y, func(_, y int) { stemPatches(patches, pictures[i], sizes[i].X, y) })
		t.conv1.Apply(r.Exec, a, patches, simd.ReLU)
		r.Release(mark)
		t.conv2.Apply(r, b, a, sizes[i], simd.ReLU)
	})
	c := shaped(r.Workspace, sizes, t.width)
	b.each(c, func(i int, b, c blas32.General) { t.conv3.Apply(r, c, b, sizes[i], simd.ReLU) })
	c.each(m, func(i int, c, m blas32.General) { nn.AveragePool(r, m, c, sizes[i]) })
	r.Release(mark)
	return m
}

// stemPatches stores the 3×3 pixels around every second pixel of row 2y, zeros
// outside the picture, as channel, row, column.
func stemPatches(dst blas32.General, p Pixels, columns, y int) {
	rows := dst.Data[y*columns*dst.Stride:]
	for i := range 9 { // channel, row
		v := 2*y + i%3 - 1
		var line []float32
		if v >= 0 && v < p.Height {
			line = p.Data[(i/3*p.Height+v)*p.Width:][:p.Width]
		}
		for x := range columns {
			taps := (*[3]float32)(rows[x*dst.Stride+3*i:])
			if u := 2*x - 1; u >= 0 && u+3 <= len(line) {
				*taps = [3]float32(line[u:])
				continue
			}
			for j := range taps {
				taps[j] = 0
				if u := 2*x + j - 1; u >= 0 && u < len(line) {
					taps[j] = line[u]
				}
			}
		}
	}
}

// apply takes maps through the block. They are overwritten, and may be what is
// returned.
func (b *bottleneck) apply(r *nn.Call, m maps) maps {
	y := m
	if b.identity.Weight != nil {
		sizes := m.sizes
		if b.halves {
			sizes = sized(sizes, half)
		}
		y = shaped(r.Workspace, sizes, b.identity.Weight.N())
	}
	mark := r.Mark()
	inner := shaped(r.Workspace, m.sizes, b.conv1.Weight.N())
	conv := shaped(r.Workspace, m.sizes, b.conv1.Weight.N())
	b.conv1.Apply(r.Exec, inner.x, m.x, simd.ReLU)
	inner.each(conv, func(i int, from, to blas32.General) {
		b.conv2.Apply(r, to, from, m.sizes[i], simd.ReLU)
	})
	if b.halves {
		conv, m = pooled(r, conv, y.sizes), pooled(r, m, y.sizes)
	}
	if b.identity.Weight != nil {
		b.identity.Apply(r.Exec, y.x, m.x, simd.Identity)
	}
	r.Kernel.MatMul(r.Team, y.x, conv.x, b.conv3.Weight, simd.Epilogue{Bias: b.conv3.Bias, Residual: y.x, Act: simd.ReLU})
	r.Release(mark)
	return y
}

func pooled(r *nn.Call, m maps, sizes []image.Point) maps {
	p := shaped(r.Workspace, sizes, m.x.Cols)
	m.each(p, func(i int, from, to blas32.General) { nn.AveragePool(r, to, from, m.sizes[i]) })
	return p
}
