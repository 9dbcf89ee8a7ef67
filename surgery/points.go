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

// Clicks are points on a thing and beside it, in pixels of the original
// picture.
type Clicks struct {
	Foreground []image.Point // weakest first
	Background []image.Point // surest background first
}

// Points turns the scores of a label into clicks for a segmenter. The grid is
// halved bilinearly and stretched to 0–1. Let n be the number of cells that
// reach threshold (0.8 in the paper), but at most half of all cells; the n best
// cells become foreground and the n worst background.
//
// Errors: [ErrConstant], [ErrThreshold], and [ErrGrid] for a grid with a side
// under 2.
// Source: xmed-lab/CLIP_Surgery clip/clip.py:similarity_map_to_points.
func (s *Scores) Points(label int, threshold float32) (Clicks, error) {
	p, err := s.pick(label, threshold)
	return p.clicks(), err
}

// PointParts is [Scores.Points], divided into the connected parts of the
// foreground: clicks whose cells of the halved grid share a side or a corner
// belong to one part. All parts have the same background.
func (s *Scores) PointParts(label int, threshold float32) ([]Clicks, error) {
	p, err := s.pick(label, threshold)
	return p.parts(), err
}

// CombinedPoints returns the clicks of all labels together, as for
// "person+bench": the background comes from the mean of the maps, each
// stretched to 0–1, the foreground from each map, label by label. Source:
// xmed-lab/CLIP_Surgery demo.py, last section.
func (s *Scores) CombinedPoints(threshold float32) (Clicks, error) {
	p, err := s.pickCombined(threshold)
	return p.clicks(), err
}

// CombinedPointParts is [Scores.CombinedPoints], divided into parts as by
// [Scores.PointParts].
func (s *Scores) CombinedPointParts(threshold float32) ([]Clicks, error) {
	p, err := s.pickCombined(threshold)
	return p.parts(), err
}

// picked are the cells of a halved grid that become clicks.
type picked struct {
	grid                   image.Point
	region                 image.Rectangle // of the picture
	foreground, background []int           // row by row: y·grid.X + x
}

func (s *Scores) pick(label int, threshold float32) (picked, error) {
	cells, err := s.cells(label)
	if err != nil {
		return picked{}, err
	}
	p, err := s.pickCells(cells, threshold, halved)
	if err != nil {
		return picked{}, fmt.Errorf("surgery: points of label %d: %w", label, err)
	}
	return p, nil
}

func (s *Scores) pickCombined(threshold float32) (picked, error) {
	if s.Cols < 1 {
		return picked{}, fmt.Errorf("surgery: %w: scores have no labels", ErrLabel)
	}
	var foreground []int
	mean := make([]float32, max(s.Rows-1, 0))
	for label := range s.Cols {
		own, err := s.pick(label, threshold)
		if err != nil {
			return picked{}, err
		}
		foreground = append(foreground, own.foreground...)
		cells, err := s.cells(label)
		if err != nil {
			return picked{}, err
		}
		if err := stretch(s.k(), cells); err != nil {
			return picked{}, fmt.Errorf("surgery: points of label %d: %w", label, err)
		}
		for i, v := range cells {
			mean[i] += v
		}
	}
	for i := range mean {
		mean[i] /= float32(s.Cols)
	}
	p, err := s.pickCells(mean, threshold, halved)
	if err != nil {
		return picked{}, fmt.Errorf("surgery: points of the mean map: %w", err)
	}
	p.foreground = foreground
	return p, nil
}

// halved is by how much the grid shrinks before points are taken.
const halved = 2

func (s *Scores) pickCells(cells []float32, threshold float32, shrink int) (picked, error) {
	p := picked{grid: s.Grid.Div(shrink)}
	if p.grid.X < 1 || p.grid.Y < 1 {
		return p, fmt.Errorf("%w: %d×%d cannot be divided by %d", ErrGrid, s.Grid.X, s.Grid.Y, shrink)
	}
	var err error
	if p.region, err = s.region(); err != nil {
		return p, err
	}
	values := make([]float32, p.grid.X*p.grid.Y)
	pix.Bilinear(values, p.grid, cells, s.Grid, 1)
	if err := stretch(s.k(), values); err != nil {
		return p, err
	}
	n := 0
	for _, v := range values {
		if v >= threshold {
			n++
		}
	}
	n = min(n, len(values)/2)
	if n == 0 {
		return p, fmt.Errorf("%w %v", ErrThreshold, threshold)
	}
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	p.foreground, p.background = order[len(order)-n:], order[:n]
	return p, nil
}

// cell is the place of a cell on the halved grid.
func (p *picked) cell(i int) image.Point { return image.Pt(i%p.grid.X, i/p.grid.X) }

// points are the pixels in the middle of cells.
func (p *picked) points(cells []int) []image.Point {
	var all []image.Point
	for _, i := range cells {
		c := p.cell(i)
		all = append(all, p.region.Min.Add(image.Pt(center(c.X, p.grid.X, p.region.Dx()), center(c.Y, p.grid.Y, p.region.Dy()))))
	}
	return all
}

func (p *picked) clicks() Clicks {
	return Clicks{Foreground: p.points(p.foreground), Background: p.points(p.background)}
}

// parts are the clicks of each connected part, in the order of their first
// cells.
func (p *picked) parts() []Clicks {
	part := make([]int, len(p.foreground)) // by its first cell
	for i := range part {
		part[i] = i
		for j := range i {
			d := p.cell(p.foreground[i]).Sub(p.cell(p.foreground[j]))
			if max(d.X, -d.X, d.Y, -d.Y) > 1 || part[i] == part[j] {
				continue
			}
			from, to := max(part[i], part[j]), min(part[i], part[j])
			for k := range i + 1 {
				if part[k] == from {
					part[k] = to
				}
			}
		}
	}
	background := p.points(p.background)
	var all []Clicks
	for first := range part {
		var cells []int
		for i, of := range part {
			if of == first {
				cells = append(cells, p.foreground[i])
			}
		}
		if cells != nil {
			all = append(all, Clicks{Foreground: p.points(cells), Background: background})
		}
	}
	return all
}

// center is the pixel in the middle of cell i of n that cover size pixels, in
// float32 as the reference has it.
func center(i, n, size int) int {
	scale := float32(float64(size) / float64(n))
	return int(min((float32(i)+0.5)*scale, float32(size-1)))
}
