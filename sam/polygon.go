package sam

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/runs"
)

// ErrPolygon reports a polygon with coordinates that are not finite.
var ErrPolygon = errors.New("polygon")

// Polygon is an area with holes.
type Polygon struct {
	Outer Ring
	Holes []Ring
}

// Ring is a closed line; its last vertex is joined to the first.
type Ring []Vertex

// Vertex is a place in a picture, in pixels: the first pixel's corners are
// (0, 0) and (1, 1).
type Vertex struct{ X, Y float32 }

// Polygons returns the outlines of the mask along the sides of its pixels,
// without loss: one polygon for each part whose pixels are connected by their
// sides, row by row. Outer rings run clockwise, holes counterclockwise.
// [Polygon.Simplify] reduces the vertices.
func (m Mask) Polygons() []Polygon {
	t := newTracer(m)
	all := make([]Polygon, t.regions)
	order := make([]int, 0, t.regions)
	for y := range t.size.Y {
		for x := range t.size.X {
			region := t.at(x, y)
			if region == 0 || t.at(x, y-1) != 0 || t.seen[y*t.size.X+x] {
				continue
			}
			// The first ring of a region is found at its top.
			ring := t.ring(x, y)
			if p := &all[region-1]; p.Outer == nil {
				p.Outer = ring
				order = append(order, region-1)
			} else {
				p.Holes = append(p.Holes, ring)
			}
		}
	}
	sorted := make([]Polygon, len(all))
	for i, region := range order {
		sorted[i] = all[region]
	}
	return sorted
}

// tracer follows outlines on the part of a picture that a mask fills.
type tracer struct {
	offset  image.Point
	size    image.Point
	label   []int32 // of pixels, row by row: their region from 1, 0 outside
	regions int
	seen    []bool // pixels whose upper side was followed
}

func newTracer(m Mask) *tracer {
	b := m.Bounds()
	t := &tracer{offset: b.Min, size: b.Size()}
	t.label = make([]int32, t.size.X*t.size.Y)
	t.seen = make([]bool, len(t.label))
	r := m.regions(false)
	t.regions = len(r.sizes)
	for i, s := range r.segments {
		for y := s.Y0; y < s.Y1; y++ {
			t.label[(y-b.Min.Y)*t.size.X+s.X-b.Min.X] = int32(r.of[i] + 1)
		}
	}
	return t
}

func (t *tracer) at(x, y int) int {
	if x < 0 || y < 0 || x >= t.size.X || y >= t.size.Y {
		return 0
	}
	return int(t.label[y*t.size.X+x])
}

// ring follows an outline from the upper left corner of a pixel along its
// upper side, the mask to the right, until it is there again.
func (t *tracer) ring(x, y int) Ring {
	// Right, down, left, up: a step, and the pixels ahead on both sides.
	steps := [4]struct{ step, right, left image.Point }{
		{image.Pt(1, 0), image.Pt(0, 0), image.Pt(0, -1)},
		{image.Pt(0, 1), image.Pt(-1, 0), image.Pt(0, 0)},
		{image.Pt(-1, 0), image.Pt(-1, -1), image.Pt(-1, 0)},
		{image.Pt(0, -1), image.Pt(0, -1), image.Pt(-1, -1)},
	}
	region := t.at(x, y)
	inside := func(p image.Point) bool { return t.at(p.X, p.Y) == region }
	var ring Ring
	start := image.Pt(x, y)
	for at, way := start, 0; ; {
		if way == 0 {
			t.seen[at.Y*t.size.X+at.X] = true
		}
		at = at.Add(steps[way].step)
		turn := 0
		if !inside(at.Add(steps[way].right)) {
			turn = 1
		} else if inside(at.Add(steps[way].left)) {
			turn = 3
		}
		if turn != 0 {
			corner := at.Add(t.offset)
			ring = append(ring, Vertex{float32(corner.X), float32(corner.Y)})
			way = (way + turn) % 4
		}
		if at == start && way == 0 {
			return ring
		}
	}
}

// Simplify removes vertices that lie no further than tolerance, in pixels, from
// the line without them (Douglas and Peucker 1973). Holes that vanish are
// removed; a polygon that vanishes has no outer ring.
func (p Polygon) Simplify(tolerance float32) Polygon {
	out := Polygon{Outer: p.Outer.simplify(tolerance)}
	for _, h := range p.Holes {
		if h = h.simplify(tolerance); h != nil {
			out.Holes = append(out.Holes, h)
		}
	}
	return out
}

func (r Ring) simplify(tolerance float32) Ring {
	if len(r) == 0 {
		return nil
	}
	// A ring is two lines, to the vertex farthest from the first and back.
	far, most := 0, 0.0
	for i, v := range r {
		if d := math.Hypot(float64(v.X-r[0].X), float64(v.Y-r[0].Y)); d > most {
			far, most = i, d
		}
	}
	keep := make([]bool, len(r)+1)
	keep[0], keep[far] = true, true
	closed := append(slices.Clone(r), r[0])
	mark(closed, keep, 0, far, float64(tolerance))
	mark(closed, keep, far, len(r), float64(tolerance))
	var out Ring
	for i, v := range r {
		if keep[i] {
			out = append(out, v)
		}
	}
	if len(out) < 3 {
		return nil
	}
	return out
}

// mark keeps the vertices between first and last that the line between them
// misses by more than tolerance.
func mark(line []Vertex, keep []bool, first, last int, tolerance float64) {
	for first+1 < last {
		a, b := line[first], line[last]
		dx, dy := float64(b.X-a.X), float64(b.Y-a.Y)
		length := math.Hypot(dx, dy)
		far, most := 0, tolerance
		for i := first + 1; i < last; i++ {
			x, y := float64(line[i].X-a.X), float64(line[i].Y-a.Y)
			d := math.Hypot(x, y)
			if length > 0 {
				d = math.Abs(float64(x*dy)-float64(y*dx)) / length
			}
			if d > most {
				far, most = i, d
			}
		}
		if far == 0 {
			return
		}
		keep[far] = true
		mark(line, keep, first, far, tolerance)
		first = far
	}
}

// FromPolygons returns the pixels of a picture of the given size whose centers
// lie in one of the polygons: inside an odd number of its rings. Rings may
// reach beyond the picture. Coordinates that are not finite are [ErrPolygon],
// an impossible size is [ErrSize].
func FromPolygons(size image.Point, polygons []Polygon) (Mask, error) {
	if err := checkSize(size); err != nil {
		return Mask{}, fmt.Errorf("sam: %w", err)
	}
	var edges []edge
	for i, p := range polygons {
		for _, r := range append([]Ring{p.Outer}, p.Holes...) {
			for j, v := range r {
				if !nn.Finite(v.X) || !nn.Finite(v.Y) {
					return Mask{}, fmt.Errorf("sam: %w %d has a vertex at (%v, %v)", ErrPolygon, i, v.X, v.Y)
				}
				if e := edgeOf(i, v, r[(j+1)%len(r)], size.X); e.first < e.end {
					edges = append(edges, e)
				}
			}
		}
	}
	slices.SortStableFunc(edges, func(a, b edge) int { return cmp.Compare(a.first, b.first) })
	return Mask{Size: size, runs: runs.FromSegments(size, func(yield func(runs.Segment) bool) {
		var open []edge // that cross the column
		for x := range size.X {
			open = slices.DeleteFunc(open, func(e edge) bool { return e.end <= x })
			for len(edges) > 0 && edges[0].first <= x {
				open, edges = append(open, edges[0]), edges[1:]
			}
			for _, s := range column(x, size.Y, open) {
				if !yield(s) {
					return
				}
			}
		}
	})}, nil
}

// edge is a side of a polygon, from left to right, and the columns whose
// centers it crosses.
type edge struct {
	polygon        int
	x0, y0, x1, y1 float64
	first, end     int
}

func edgeOf(polygon int, a, b Vertex, columns int) edge {
	if a.X > b.X {
		a, b = b, a
	}
	e := edge{polygon: polygon, x0: float64(a.X), y0: float64(a.Y), x1: float64(b.X), y1: float64(b.Y)}
	e.first, e.end = firstCenter(e.x0, columns), firstCenter(e.x1, columns)
	return e
}

// firstCenter is the first of n pixels whose center is not before v.
func firstCenter(v float64, n int) int { return int(min(max(math.Ceil(v-0.5), 0), float64(n))) }

// column is the pixels of column x between the edges that cross it.
func column(x, rows int, open []edge) []runs.Segment {
	type crossing struct {
		polygon int
		y       float64
	}
	crossings := make([]crossing, len(open))
	for i, e := range open {
		share := (float64(x) + 0.5 - e.x0) / (e.x1 - e.x0)
		crossings[i] = crossing{e.polygon, e.y0 + float64(share*(e.y1-e.y0))}
	}
	slices.SortFunc(crossings, func(a, b crossing) int {
		return cmp.Or(cmp.Compare(a.polygon, b.polygon), cmp.Compare(a.y, b.y))
	})
	var all []runs.Segment
	for i := 0; i+1 < len(crossings); i += 2 {
		s := runs.Segment{X: x, Y0: firstCenter(crossings[i].y, rows), Y1: firstCenter(crossings[i+1].y, rows)}
		if s.Y0 < s.Y1 {
			all = append(all, s)
		}
	}
	// Polygons may overlap.
	slices.SortFunc(all, func(a, b runs.Segment) int { return cmp.Compare(a.Y0, b.Y0) })
	merged := all[:0]
	for _, s := range all {
		if n := len(merged); n > 0 && s.Y0 <= merged[n-1].Y1 {
			merged[n-1].Y1 = max(merged[n-1].Y1, s.Y1)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}
