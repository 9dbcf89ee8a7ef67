package sam

import (
	"fmt"
	"image"
)

// Mask is a set of pixels of a picture. It is held as run lengths, so that
// many of them fit in memory, and immutable; its methods are safe for
// concurrent use. The zero Mask is that of an empty picture.
type Mask struct {
	// Size is the picture's, in pixels.
	Size image.Point
	// IoU is how well the mask fits the object, by the model's own estimate;
	// about 0 to 1, but not limited to it.
	IoU float32

	// The rest is everything mode's.

	// Stability is the IoU of the masks that a higher and a lower threshold
	// would have given, NaN where both are empty.
	Stability float32
	// Point is the click that the mask answers.
	Point Point
	// Crop is the part of the picture that was encoded.
	Crop image.Rectangle

	runs []uint32 // see rle.go
}

// opaque is the least alpha of a pixel that belongs to a mask.
const opaque = 128

// MaskOf returns the pixels of a that are at least half opaque. Its top left
// corner becomes (0, 0).
func MaskOf(a *image.Alpha) Mask {
	size := a.Rect.Size()
	b := newRowsToRuns(size)
	for y := range size.Y {
		row := a.Pix[a.PixOffset(a.Rect.Min.X, a.Rect.Min.Y+y):][:size.X]
		for x, v := range row {
			if v >= opaque {
				b.set(x)
			}
		}
		b.next()
	}
	return Mask{Size: size, runs: b.runs()}
}

// Alpha returns the mask as a picture of its own, 255 inside and 0 outside.
func (m Mask) Alpha() *image.Alpha {
	a := image.NewAlpha(image.Rectangle{Max: m.Size})
	for s := range m.segments {
		for y := s.y0; y < s.y1; y++ {
			a.Pix[y*a.Stride+s.x] = 255
		}
	}
	return a
}

// Area is the number of pixels in the mask.
func (m Mask) Area() int {
	n := 0
	for i := 1; i < len(m.runs); i += 2 {
		n += int(m.runs[i])
	}
	return n
}

// Bounds is the smallest rectangle that holds the mask; the zero Rectangle, if
// the mask is empty.
func (m Mask) Bounds() image.Rectangle {
	var b image.Rectangle
	for s := range m.segments {
		b = b.Union(image.Rect(s.x, s.y0, s.x+1, s.y1))
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

// IoU is the number of pixels in both masks by the number in either, 0 for
// two empty ones. Masks of pictures of different sizes are [ErrSize].
func IoU(a, b Mask) (float64, error) {
	if err := sameSize(a, b); err != nil {
		return 0, err
	}
	both := 0
	walk(a.counts(), b.counts(), func(n uint32, a, b bool) {
		if a && b {
			both += int(n)
		}
	})
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
	var b runBuilder
	walk(m.counts(), other.counts(), func(n uint32, x, y bool) { b.add(op(x, y), n) })
	return Mask{Size: m.Size, runs: b.runs}, nil
}

func sameSize(a, b Mask) error {
	if a.Size != b.Size {
		return fmt.Errorf("sam: %w: masks of %v and %v", ErrSize, a.Size, b.Size)
	}
	return nil
}
