package runs

import (
	"image"
	"math/bits"
)

// Rows turns rows of pixels, top to bottom, into runs, which go by columns. It
// remembers where a pixel differs from the one above it: few places, for a mask.
type Rows struct {
	// Row is the row to fill in, a bit for each pixel from the lowest bit of the
	// first word; no bit is set behind the last pixel.
	Row []uint64

	size  image.Point
	above []uint64 // the row before
	y     int
	flips []flip
}

// flip is a pixel that differs from the one above it, as those of the first
// row do where they are inside.
type flip struct{ x, y int32 }

// NewRows returns an empty mask of a picture of the given size.
func NewRows(size image.Point) *Rows {
	words := (size.X + 63) / 64
	both := make([]uint64, 2*words)
	return &Rows{Row: both[:words], size: size, above: both[words:]}
}

// Reset makes b ready for another mask of the same size.
func (b *Rows) Reset() {
	clear(b.above)
	clear(b.Row)
	b.y, b.flips = 0, b.flips[:0]
}

// Set puts pixel x of this row in the mask.
func (b *Rows) Set(x int) { b.Row[x/64] |= 1 << (x % 64) }

// Next ends this row.
func (b *Rows) Next() {
	for i, w := range b.Row {
		for d := w ^ b.above[i]; d != 0; d &= d - 1 {
			b.flips = append(b.flips, flip{int32(64*i + bits.TrailingZeros64(d)), int32(b.y)})
		}
	}
	b.above, b.Row = b.Row, b.above
	clear(b.Row)
	b.y++
}

// Runs returns the runs of all rows.
func (b *Rows) Runs() []uint32 {
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
	var r Builder
	first := int32(0)
	for _, end := range ends[:b.size.X] {
		inside, at := false, int32(0)
		for _, y := range rows[first:end] {
			r.Add(inside, uint32(y-at))
			inside, at = !inside, y
		}
		r.Add(inside, uint32(int32(b.size.Y)-at))
		first = end
	}
	return r.Runs
}
