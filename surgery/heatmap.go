package surgery

import (
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/simd"
)

// HeatMap says how strongly each pixel of the original picture is related to a
// text: values 0–1, row-major.
type HeatMap struct {
	Width, Height int
	Values        []float32
}

// At returns the value of a pixel, 0 outside the map.
func (m *HeatMap) At(x, y int) float32 {
	if x < 0 || y < 0 || x >= m.Width || y >= m.Height {
		return 0
	}
	return m.Values[y*m.Width+x]
}

// Map stretches the scores of a label over the grid to 0–1 and scales them to
// the size of the original picture, bilinearly with half-pixel centers. Pixels
// outside the region that the grid covers are 0. Constant scores are
// [ErrConstant].
// Source: xmed-lab/CLIP_Surgery clip/clip.py:get_similarity_map.
func (s *Scores) Map(label int) (*HeatMap, error) {
	cells, err := s.cells(label)
	if err != nil {
		return nil, err
	}
	if err := stretch(s.k(), cells); err != nil {
		return nil, fmt.Errorf("surgery: map of label %d: %w", label, err)
	}
	region, err := s.region()
	if err != nil {
		return nil, err
	}
	m := &HeatMap{Width: s.Size.X, Height: s.Size.Y, Values: make([]float32, s.Size.X*s.Size.Y)}
	if region == image.Rect(0, 0, s.Size.X, s.Size.Y) {
		pix.Bilinear(m.Values, s.Size, cells, s.Grid, 1)
		return m, nil
	}
	part := make([]float32, region.Dx()*region.Dy())
	pix.Bilinear(part, region.Size(), cells, s.Grid, 1)
	for y := range region.Dy() {
		copy(m.Values[(region.Min.Y+y)*m.Width+region.Min.X:], part[y*region.Dx():(y+1)*region.Dx()])
	}
	return m, nil
}

// CombinedMap returns the mean of the maps of all labels, as for
// "person+bench".
func (s *Scores) CombinedMap() (*HeatMap, error) {
	if s.Cols < 1 {
		return nil, fmt.Errorf("surgery: %w: scores have no labels", ErrLabel)
	}
	var mean *HeatMap
	for label := range s.Cols {
		m, err := s.Map(label)
		if err != nil {
			return nil, err
		}
		if mean == nil {
			mean = &HeatMap{Width: m.Width, Height: m.Height, Values: make([]float32, len(m.Values))}
		}
		for i, v := range m.Values {
			mean.Values[i] += v / float32(s.Cols)
		}
	}
	return mean, nil
}

// region returns the part of the picture under the grid; the zero Region of
// hand-made scores means all of it.
func (s *Scores) region() (image.Rectangle, error) {
	all := image.Rect(0, 0, s.Size.X, s.Size.Y)
	switch {
	case s.Size.X < 1 || s.Size.Y < 1:
		return all, fmt.Errorf("surgery: %w: picture of %d×%d", ErrGrid, s.Size.X, s.Size.Y)
	case s.Region == image.Rectangle{}:
		return all, nil
	case s.Region.Empty() || !s.Region.In(all):
		return all, fmt.Errorf("surgery: %w: region %v of a picture of %d×%d", ErrGrid, s.Region, s.Size.X, s.Size.Y)
	}
	return s.Region, nil
}

// stretch maps the smallest of values to 0 and the largest to 1.
func stretch(k simd.Kernel, values []float32) error {
	lo, hi := k.MinMax(values)
	if !(hi > lo) || hi-lo > maxFloat32 {
		return ErrConstant
	}
	for i, v := range values {
		values[i] = (v - lo) / (hi - lo)
	}
	return nil
}

// Peak returns the pixel of the largest value, the first one row by row; (0, 0)
// for a map without pixels.
func (m *HeatMap) Peak() image.Point {
	if m == nil {
		return image.Point{}
	}
	best := 0
	for i, v := range m.Values {
		if v > m.Values[best] {
			best = i
		}
	}
	return image.Pt(best%max(m.Width, 1), best/max(m.Width, 1))
}
