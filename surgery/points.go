package surgery

import (
	"cmp"
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

const maxFloat32 = math.MaxFloat32

// Clicks are points of the original picture, in pixels: on the thing, and
// beside it.
type Clicks struct {
	Foreground []image.Point // weakest first
	Background []image.Point // surest background first
}

// Points turns the scores of a label into clicks for a segmenter. The grid is
// halved bilinearly and stretched to 0–1; with n the number of cells that reach
// threshold (0.8 in the paper), at most half of them all, the n best cells
// become foreground and the n worst background.
//
// Errors: [ErrConstant], [ErrThreshold], and [ErrGrid] for a grid with a side
// under 2.
// Source: xmed-lab/CLIP_Surgery clip/clip.py:similarity_map_to_points.
func (s *Scores) Points(label int, threshold float32) (Clicks, error) {
	cells, err := s.cells(label)
	if err != nil {
		return Clicks{}, err
	}
	c, err := s.clicks(cells, threshold, halved)
	if err != nil {
		return Clicks{}, fmt.Errorf("surgery: points of label %d: %w", label, err)
	}
	return c, nil
}

// CombinedPoints are the clicks of all labels together, as for "person+bench":
// background from the mean of the maps, each stretched to 0–1; foreground from
// every map by itself, label by label.
// Source: xmed-lab/CLIP_Surgery demo.py, last section.
func (s *Scores) CombinedPoints(threshold float32) (Clicks, error) {
	if s.Cols < 1 {
		return Clicks{}, fmt.Errorf("surgery: %w: scores have no labels", ErrLabel)
	}
	var all Clicks
	mean := make([]float32, max(s.Rows-1, 0))
	for label := range s.Cols {
		cells, err := s.cells(label)
		if err != nil {
			return Clicks{}, err
		}
		own, err := s.clicks(cells, threshold, halved)
		if err != nil {
			return Clicks{}, fmt.Errorf("surgery: points of label %d: %w", label, err)
		}
		all.Foreground = append(all.Foreground, own.Foreground...)
		if err := stretch(cells); err != nil {
			return Clicks{}, fmt.Errorf("surgery: points of label %d: %w", label, err)
		}
		for i, v := range cells {
			mean[i] += v
		}
	}
	for i := range mean {
		mean[i] /= float32(s.Cols)
	}
	shared, err := s.clicks(mean, threshold, halved)
	if err != nil {
		return Clicks{}, fmt.Errorf("surgery: points of the mean map: %w", err)
	}
	all.Background = shared.Background
	return all, nil
}

// halved is by how much the grid shrinks before points are taken.
const halved = 2

func (s *Scores) clicks(cells []float32, threshold float32, shrink int) (Clicks, error) {
	small := s.Grid.Div(shrink)
	if small.X < 1 || small.Y < 1 {
		return Clicks{}, fmt.Errorf("%w: %d×%d cannot be divided by %d", ErrGrid, s.Grid.X, s.Grid.Y, shrink)
	}
	region, err := s.region()
	if err != nil {
		return Clicks{}, err
	}
	values := make([]float32, small.X*small.Y)
	pix.Bilinear(values, small, cells, s.Grid, 1)
	if err := stretch(values); err != nil {
		return Clicks{}, err
	}
	n := 0
	for _, v := range values {
		if v >= threshold {
			n++
		}
	}
	n = min(n, len(values)/2)
	if n == 0 {
		return Clicks{}, fmt.Errorf("%w %v", ErrThreshold, threshold)
	}
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })

	at := func(cell int) image.Point {
		return image.Pt(
			region.Min.X+centre(cell%small.X, small.X, region.Dx()),
			region.Min.Y+centre(cell/small.X, small.Y, region.Dy()))
	}
	var c Clicks
	for i := range n {
		c.Foreground = append(c.Foreground, at(order[len(order)-n+i]))
		c.Background = append(c.Background, at(order[i]))
	}
	return c, nil
}

// centre is the pixel in the middle of cell i of n that cover size pixels, in
// float32 as the reference has it.
func centre(i, n, size int) int {
	scale := float32(float64(size) / float64(n))
	return int(min((float32(i)+0.5)*scale, float32(size-1)))
}
