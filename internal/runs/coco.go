package runs

import (
	"errors"
	"fmt"
	"image"
)

// ErrRuns reports run lengths that no mask of that size has.
var ErrRuns = errors.New("run lengths")

// Compressed run lengths are numbers of variable length in characters from '0'
// on: five bits each, the lowest first, a sixth that says that more follow. The
// last five bits are signed. From the fourth on, a number is the difference
// from the one before the last (cocoapi common/maskApi.c, rleToString).
const (
	cocoZero = '0'
	cocoMore = 0x20
	cocoSign = 0x10
	cocoBits = 5
)

// Compress returns COCO's compressed run lengths.
func Compress(runs []uint32) string {
	out := make([]byte, 0, 2*len(runs))
	for i, n := range runs {
		v := int64(n)
		if i > 2 {
			v -= int64(runs[i-2])
		}
		for more := true; more; {
			c := byte(v & (1<<cocoBits - 1))
			v >>= cocoBits
			sign := int64(0)
			if c&cocoSign != 0 {
				sign = -1
			}
			if more = v != sign; more {
				c |= cocoMore
			}
			out = append(out, cocoZero+c)
		}
	}
	return string(out)
}

// Decompress reads COCO's compressed run lengths of a picture of the given
// size. The error is [ErrRuns].
func Decompress(size image.Point, counts string) ([]uint32, error) {
	bad := func(i int, format string, a ...any) ([]uint32, error) {
		return nil, fmt.Errorf("%w at byte %d: %s", ErrRuns, i, fmt.Sprintf(format, a...))
	}
	sum := newSum(size)
	var (
		value int64
		shift uint
		last  [2]int64 // the run before this one, and the one before that
	)
	for i := range len(counts) {
		c := counts[i] - cocoZero
		if c >= 2*cocoMore {
			return bad(i, "character %q", counts[i])
		}
		if shift > 30 { // no picture has 2³⁵ pixels
			return bad(i, "a run of more than seven characters")
		}
		value |= int64(c&(1<<cocoBits-1)) << shift
		shift += cocoBits
		if c&cocoMore != 0 {
			continue
		}
		if c&cocoSign != 0 {
			value |= -1 << shift
		}
		if sum.n > 2 {
			value += last[1]
		}
		if err := sum.add(value); err != nil {
			return bad(i, "%v", err)
		}
		last = [2]int64{value, last[0]}
		value, shift = 0, 0
	}
	if shift != 0 {
		return bad(len(counts), "ends inside a run")
	}
	return sum.all()
}

// Check returns uncompressed run lengths of a picture of the given size as runs:
// runs of nothing may stand anywhere in counts. The error is [ErrRuns].
func Check[T uint32 | int64](size image.Point, counts []T) ([]uint32, error) {
	sum := newSum(size)
	for _, n := range counts {
		if err := sum.add(int64(n)); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRuns, err)
		}
	}
	return sum.all()
}

// sum adds runs up to a picture.
type sum struct {
	Builder
	size image.Point
	n    int   // runs added
	left int64 // pixels
}

func newSum(size image.Point) sum {
	return sum{size: size, left: int64(size.X) * int64(size.Y)}
}

func (s *sum) add(n int64) error {
	if n < 0 || n > s.left {
		return fmt.Errorf("run %d has %d pixels, %d of %d×%d are left", s.n, n, s.left, s.size.X, s.size.Y)
	}
	s.Add(s.n%2 == 1, uint32(n))
	s.left -= n
	s.n++
	return nil
}

func (s *sum) all() ([]uint32, error) {
	if s.left != 0 {
		return nil, fmt.Errorf("%w: %d of %d×%d pixels are missing", ErrRuns, s.left, s.size.X, s.size.Y)
	}
	return s.Runs, nil
}
