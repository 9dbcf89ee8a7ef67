package sam

import (
	"image"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/runs"
)

// regions are the connected parts of a mask.
type regions struct {
	segments []runs.Segment // in order
	of       []int          // the region of each
	sizes    []int          // pixels of each region
}

// regions finds the parts of the mask that are connected by sides of pixels
// or, if diagonal, by sides and corners.
func (m Mask) regions(diagonal bool) regions {
	reach := 0
	if diagonal {
		reach = 1
	}
	var r regions
	var parent []int // of each segment, in a forest of those found connected
	root := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	// The segments of the column to the left that may still touch.
	left, end := 0, 0
	for s := range m.segments() {
		i := len(r.segments)
		if i > 0 && r.segments[i-1].X != s.X {
			left, end = end, i
			if r.segments[left].X != s.X-1 {
				left = end
			}
		}
		r.segments = append(r.segments, s)
		parent = append(parent, i)
		for left < end && r.segments[left].Y1+reach <= s.Y0 {
			left++
		}
		for j := left; j < end && r.segments[j].Y0 < s.Y1+reach; j++ {
			parent[root(j)] = root(i)
		}
	}
	number := make([]int, len(parent)) // of a root's region, from 1
	r.of = make([]int, len(parent))
	for i, s := range r.segments {
		top := root(i)
		if number[top] == 0 {
			r.sizes = append(r.sizes, 0)
			number[top] = len(r.sizes)
		}
		r.of[i] = number[top] - 1
		r.sizes[r.of[i]] += s.Y1 - s.Y0
	}
	return r
}

// keep is the runs of the regions that ok says yes to.
func (r *regions) keep(size image.Point, ok func(region int) bool) []uint32 {
	return runs.FromSegments(size, func(yield func(runs.Segment) bool) {
		for i, s := range r.segments {
			if ok(r.of[i]) && !yield(s) {
				return
			}
		}
	})
}

// anySmall reports whether a region has fewer than area pixels.
func (r *regions) anySmall(area int) bool {
	for _, n := range r.sizes {
		if n < area {
			return true
		}
	}
	return false
}

// fillHoles puts parts of the background of fewer than area pixels into the
// mask. It returns m itself, if there are none.
func (m Mask) fillHoles(area int) (Mask, bool) {
	outside := m.complement()
	r := outside.regions(true)
	if !r.anySmall(area) {
		return m, false
	}
	outside.runs = r.keep(m.Size, func(i int) bool { return r.sizes[i] >= area })
	return outside.complement(), true
}

// dropIslands takes parts of fewer than area pixels from the mask, but for
// the largest, if all are small. It returns m itself, if there are none.
func (m Mask) dropIslands(area int) (Mask, bool) {
	r := m.regions(true)
	if !r.anySmall(area) {
		return m, false
	}
	largest := r.largest()
	if r.sizes[largest] >= area {
		largest = -1
	}
	m.runs = r.keep(m.Size, func(i int) bool { return r.sizes[i] >= area || i == largest })
	return m, true
}

// largest is the region with the most pixels; of equals, the one whose first
// pixel, row by row, comes first.
func (r *regions) largest() int {
	first := make([]image.Point, len(r.sizes))
	for i := range first {
		first[i].Y = -1
	}
	for i, s := range r.segments {
		if p := &first[r.of[i]]; p.Y < 0 || s.Y0 < p.Y {
			*p = image.Pt(s.X, s.Y0)
		}
	}
	best := 0
	for i, n := range r.sizes {
		a, b := first[i], first[best]
		if n > r.sizes[best] || n == r.sizes[best] && (a.Y < b.Y || a.Y == b.Y && a.X < b.X) {
			best = i
		}
	}
	return best
}

// cleaned returns side × side logits without holes and islands of up to area
// cells that are connected by sides or corners: cells of small holes become 10,
// those of small islands -10. Both are found on the logits as they are
// (sam2/utils/transforms.py, SAM2Transforms.postprocess_masks, whose components
// need a GPU).
func cleaned(logits []float32, side, area int) []float32 {
	rows := runs.NewRows(image.Pt(side, side))
	for i, v := range logits {
		if v > 0 {
			rows.Set(i % side)
		}
		if i%side == side-1 {
			rows.Next()
		}
	}
	islands := Mask{Size: image.Pt(side, side), runs: rows.Runs()}
	out := slices.Clone(logits)
	replace := func(m Mask, value float32) {
		r := m.regions(true)
		for i, s := range r.segments {
			if r.sizes[r.of[i]] <= area {
				for y := s.Y0; y < s.Y1; y++ {
					out[y*side+s.X] = value
				}
			}
		}
	}
	replace(islands, -10)
	replace(islands.complement(), 10)
	return out
}
