package sam

import (
	"image"
	"iter"
	"math/bits"
	"slices"
)

// The run lengths of a mask are those of COCO: of pixels column by column, each
// from top to bottom, outside and inside by turns, the first of them outside.
// Only the first may be 0, and together they cover the picture, so that equal
// masks have equal runs.

// runBuilder appends runs.
type runBuilder struct{ runs []uint32 }

// add appends n pixels that are inside the mask or not.
func (b *runBuilder) add(inside bool, n uint32) {
	switch {
	case n == 0:
	case len(b.runs) == 0 && inside:
		b.runs = append(b.runs, 0, n)
	case len(b.runs) > 0 && inside == (len(b.runs)%2 == 0):
		b.runs[len(b.runs)-1] += n
	default:
		b.runs = append(b.runs, n)
	}
}

// walk calls f with stretches of n pixels over which neither of two masks of
// one size changes.
func walk(a, b []uint32, f func(n uint32, inA, inB bool)) {
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

// complement is the pixels that are not in the mask.
func (m Mask) complement() Mask {
	switch runs := m.counts(); {
	case len(runs) == 0:
	case runs[0] == 0:
		m.runs = runs[1:]
	default:
		m.runs = slices.Insert(slices.Clone(runs), 0, 0)
	}
	return m
}

// counts is the runs, also of a mask that was never given any.
func (m Mask) counts() []uint32 {
	if n := m.Size.X * m.Size.Y; m.runs == nil && n > 0 {
		return []uint32{uint32(n)}
	}
	return m.runs
}

// segment is a stretch of a column: rows y0 to y1, y1 not included.
type segment struct{ x, y0, y1 int }

// segments yields the pixels of the mask as stretches of columns, in order.
func (m Mask) segments(yield func(segment) bool) {
	at := 0 // pixels so far
	for i, n := range m.runs {
		end := at + int(n)
		if i%2 == 0 {
			at = end
			continue
		}
		for at < end {
			x, y := at/m.Size.Y, at%m.Size.Y
			n := min(end-at, m.Size.Y-y)
			if !yield(segment{x, y, y + n}) {
				return
			}
			at += n
		}
	}
}

// runsOf is the runs of segments that come in the order of [Mask.segments].
func runsOf(size image.Point, segments iter.Seq[segment]) []uint32 {
	var b runBuilder
	at := 0
	for s := range segments {
		first := s.x*size.Y + s.y0
		b.add(false, uint32(first-at))
		b.add(true, uint32(s.y1-s.y0))
		at = first + s.y1 - s.y0
	}
	b.add(false, uint32(size.X*size.Y-at))
	return b.runs
}

// uncrop places a mask of the part crop of a picture in the picture.
func (m Mask) uncrop(crop image.Rectangle, size image.Point) Mask {
	if size == m.Size {
		return m
	}
	inner := m
	m.Size = size
	m.runs = runsOf(size, func(yield func(segment) bool) {
		for s := range inner.segments {
			if !yield(segment{s.x + crop.Min.X, s.y0 + crop.Min.Y, s.y1 + crop.Min.Y}) {
				return
			}
		}
	})
	return m
}

// rowsToRuns turns rows of pixels, top to bottom, into runs, which go by
// columns. It remembers where a pixel differs from the one above it: few
// places, for a mask.
type rowsToRuns struct {
	size  image.Point
	above []uint64 // the last row, a bit per pixel
	row   []uint64 // this row
	y     int
	flips []flip
}

// flip is a pixel that differs from the one above it, as those of the first
// row do where they are inside.
type flip struct{ x, y int32 }

func newRowsToRuns(size image.Point) *rowsToRuns {
	words := (size.X + 63) / 64
	both := make([]uint64, 2*words)
	return &rowsToRuns{size: size, above: both[:words], row: both[words:]}
}

// reset makes b ready for another mask of the same size.
func (b *rowsToRuns) reset() {
	clear(b.above)
	clear(b.row)
	b.y, b.flips = 0, b.flips[:0]
}

// set puts pixel x of this row in the mask.
func (b *rowsToRuns) set(x int) { b.row[x/64] |= 1 << (x % 64) }

// next ends this row.
func (b *rowsToRuns) next() {
	for i, w := range b.row {
		for d := w ^ b.above[i]; d != 0; d &= d - 1 {
			b.flips = append(b.flips, flip{int32(64*i + bits.TrailingZeros64(d)), int32(b.y)})
		}
	}
	b.above, b.row = b.row, b.above
	clear(b.row)
	b.y++
}

// runs returns the runs of all rows.
func (b *rowsToRuns) runs() []uint32 {
	// Counting sort by column keeps the rows of a column in order.
	ends := make([]int32, b.size.X+1)
	for _, f := range b.flips {
		ends[f.x+1]++
	}
	for x := range b.size.X {
		ends[x+1] += ends[x]
	}
	rows := make([]int32, len(b.flips))
	for _, f := range b.flips {
		rows[ends[f.x]] = f.y
		ends[f.x]++ // in the end the start of the next column
	}
	var r runBuilder
	first := int32(0)
	for _, end := range ends[:b.size.X] {
		inside, at := false, int32(0)
		for _, y := range rows[first:end] {
			r.add(inside, uint32(y-at))
			inside, at = !inside, y
		}
		r.add(inside, uint32(int32(b.size.Y)-at))
		first = end
	}
	return r.runs
}
