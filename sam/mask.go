package sam

import (
	"fmt"
	"image"
	"iter"

	"github.com/clipsurgery/clipsurgery/internal/runs"
)

// Mask is a set of pixels of a picture, held as run lengths, so that many masks
// fit in memory. It is immutable and safe for concurrent use. The zero Mask is
// that of an empty picture.
type Mask struct {
	// Size is the picture's, in pixels.
	Size image.Point
	// IoU is the model's own estimate of how well the mask fits the object:
	// about 0 to 1, but not limited to that range; 0 for a mask that no model
	// predicted.
	IoU float32

	// The rest is everything mode's; masks of anything else have zeros.

	// Stability is the IoU of the masks that a higher and a lower threshold
	// would have given, NaN where both are empty.
	Stability float32
	// Point is the click that the mask answers.
	Point Point
	// Crop is the part of the picture that was encoded.
	Crop image.Rectangle

	predicted bool     // a model gave the IoU, which may be 0
	runs      []uint32 // see package runs; nil also stands for no pixel of any picture
}

// opaque is the least alpha of a pixel that belongs to a mask.
const opaque = 128

// MaskOf returns the pixels of a that are at least half opaque. The top left
// corner of a becomes (0, 0). For a nil picture it is the zero Mask.
func MaskOf(a *image.Alpha) Mask {
	if a == nil {
		return Mask{}
	}
	size := a.Rect.Size()
	if a.Rect.Empty() {
		return Mask{Size: size}
	}
	b := runs.NewRows(size)
	for y := range size.Y {
		row := a.Pix[a.PixOffset(a.Rect.Min.X, a.Rect.Min.Y+y):][:size.X]
		for x, v := range row {
			if v >= opaque {
				b.Set(x)
			}
		}
		b.Next()
	}
	return Mask{Size: size, runs: b.Runs()}
}

// Alpha returns the mask as a picture of its own, 255 inside and 0 outside.
func (m Mask) Alpha() *image.Alpha {
	a := image.NewAlpha(image.Rectangle{Max: m.size()})
	for s := range m.segments() {
		for y := s.Y0; y < s.Y1; y++ {
			a.Pix[y*a.Stride+s.X] = 255
		}
	}
	return a
}

// Area is the number of pixels in the mask.
func (m Mask) Area() int { return runs.Area(m.runs) }

// Bounds is the smallest rectangle that holds the mask; the zero Rectangle, if
// the mask is empty.
func (m Mask) Bounds() image.Rectangle {
	var b image.Rectangle
	for s := range m.segments() {
		b = b.Union(image.Rect(s.X, s.Y0, s.X+1, s.Y1))
	}
	return b
}

// Union returns the pixels that are in m, in other, or in both. Masks of
// pictures of different sizes are [ErrSize].
func (m Mask) Union(other Mask) (Mask, error) {
	return m.combine(other, func(a, b bool) bool { return a || b })
}

// Intersect returns the pixels that are in m and in other. Masks of pictures
// of different sizes are [ErrSize].
func (m Mask) Intersect(other Mask) (Mask, error) {
	return m.combine(other, func(a, b bool) bool { return a && b })
}

// IoU is the number of pixels in both masks divided by the number in either; 0
// for two empty masks. Masks of pictures of different sizes are [ErrSize].
func IoU(a, b Mask) (float64, error) {
	if err := sameSize(a, b); err != nil {
		return 0, err
	}
	both := runs.Intersection(a.counts(), b.counts())
	either := a.Area() + b.Area() - both
	if either == 0 {
		return 0, nil
	}
	return float64(both) / float64(either), nil
}

func (m Mask) combine(other Mask, op func(a, b bool) bool) (Mask, error) {
	if err := sameSize(m, other); err != nil {
		return Mask{}, err
	}
	return Mask{Size: m.Size, runs: runs.Combine(m.counts(), other.counts(), op)}, nil
}

func sameSize(a, b Mask) error {
	if a.Size != b.Size {
		return fmt.Errorf("sam: %w: masks of %v and %v", ErrSize, a.Size, b.Size)
	}
	return nil
}

// size is Size, or zero for one that no picture has.
func (m Mask) size() image.Point {
	if m.Size.X < 0 || m.Size.Y < 0 || checkSize(image.Pt(max(m.Size.X, 1), max(m.Size.Y, 1))) != nil {
		return image.Point{}
	}
	return m.Size
}

// counts is the runs, also of a mask that was never given any.
func (m Mask) counts() []uint32 {
	if size := m.size(); m.runs == nil && size.X*size.Y > 0 {
		return []uint32{uint32(size.X * size.Y)}
	}
	return m.runs
}

// complement is the pixels that are not in the mask.
func (m Mask) complement() Mask {
	m.runs = runs.Complement(m.counts())
	return m
}

// segments yields the pixels of the mask as stretches of columns, in order.
func (m Mask) segments() iter.Seq[runs.Segment] { return runs.Segments(m.runs, m.Size.Y) }

// uncrop places a mask of the part crop of a picture in the picture.
func (m Mask) uncrop(crop image.Rectangle, size image.Point) Mask {
	if size == m.Size {
		return m
	}
	inner := m
	m.Size = size
	m.runs = runs.FromSegments(size, func(yield func(runs.Segment) bool) {
		for s := range inner.segments() {
			if !yield(runs.Segment{X: s.X + crop.Min.X, Y0: s.Y0 + crop.Min.Y, Y1: s.Y1 + crop.Min.Y}) {
				return
			}
		}
	})
	return m
}
