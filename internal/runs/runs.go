// Package runs is the algebra of masks as COCO's run lengths: of pixels column
// by column, each from top to bottom, outside and inside by turns, the first run
// outside. Only the first run may be 0, and together the runs cover the picture,
// so that equal masks have equal runs.
//
// Packages sam and surgery/eval both stand on it.
package runs

import (
	"image"
	"iter"
	"slices"
)

// Builder appends runs. The zero Builder is empty.
type Builder struct{ Runs []uint32 }

// Add appends n pixels that are inside the mask or not.
func (b *Builder) Add(inside bool, n uint32) {
	switch {
	case n == 0:
	case len(b.Runs) == 0 && inside:
		b.Runs = append(b.Runs, 0, n)
	case len(b.Runs) > 0 && inside == (len(b.Runs)%2 == 0):
		b.Runs[len(b.Runs)-1] += n
	default:
		b.Runs = append(b.Runs, n)
	}
}

// Walk calls f with stretches of n pixels over which neither of two masks of
// one size changes.
func Walk(a, b []uint32, f func(n uint32, inA, inB bool)) {
	var leftA, leftB uint32
	i, j := 0, 0
	for {
		for leftA == 0 {
			if i == len(a) {
				return
			}
			leftA, i = a[i], i+1
		}
		for leftB == 0 {
			leftB, j = b[j], j+1
		}
		n := min(leftA, leftB)
		f(n, i%2 == 0, j%2 == 0)
		leftA, leftB = leftA-n, leftB-n
	}
}

// Complement returns the runs of the pixels that are not in the mask. It may
// share memory with runs.
func Complement(runs []uint32) []uint32 {
	switch {
	case len(runs) == 0:
		return nil
	case runs[0] == 0:
		return runs[1:]
	}
	return slices.Insert(slices.Clone(runs), 0, 0)
}

// Area is the number of pixels in the mask.
func Area(runs []uint32) int {
	n := 0
	for i := 1; i < len(runs); i += 2 {
		n += int(runs[i])
	}
	return n
}

// Intersection is the number of pixels in both of two masks of one size.
func Intersection(a, b []uint32) int {
	both := 0
	Walk(a, b, func(n uint32, a, b bool) {
		if a && b {
			both += int(n)
		}
	})
	return both
}

// Combine returns the runs of the pixels for which op says yes, of two masks of
// one size.
func Combine(a, b []uint32, op func(inA, inB bool) bool) []uint32 {
	var out Builder
	Walk(a, b, func(n uint32, x, y bool) { out.Add(op(x, y), n) })
	return out.Runs
}

// Union returns the runs of the pixels in either of two masks of one size.
func Union(a, b []uint32) []uint32 {
	return Combine(a, b, func(inA, inB bool) bool { return inA || inB })
}

// Segment is a stretch of column X: rows Y0 to Y1, Y1 not included.
type Segment struct{ X, Y0, Y1 int }

// Segments yields the pixels of a mask as stretches of columns, in order.
func Segments(runs []uint32, height int) iter.Seq[Segment] {
	return func(yield func(Segment) bool) {
		at := 0 // pixels so far
		for i, n := range runs {
			end := at + int(n)
			if i%2 == 0 {
				at = end
				continue
			}
			for at < end {
				x, y := at/height, at%height
				n := min(end-at, height-y)
				if !yield(Segment{x, y, y + n}) {
					return
				}
				at += n
			}
		}
	}
}

// FromSegments returns the runs of segments that come in the order of
// [Segments], in a picture of the given size.
func FromSegments(size image.Point, segments iter.Seq[Segment]) []uint32 {
	var b Builder
	at := 0
	for s := range segments {
		first := s.X*size.Y + s.Y0
		b.Add(false, uint32(first-at))
		b.Add(true, uint32(s.Y1-s.Y0))
		at = first + s.Y1 - s.Y0
	}
	b.Add(false, uint32(size.X*size.Y-at))
	return b.Runs
}
