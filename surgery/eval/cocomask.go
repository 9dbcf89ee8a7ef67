package eval

import (
	"fmt"
	"math"
	"slices"
)

// Masks of COCO: run lengths and polygons over columns of pixels.
// Source: cocodataset/cocoapi common/maskApi.c.

// unpackRuns reads compressed run lengths: five bits a character from '0', the
// lowest first, a sixth for more; from the fourth run on, differences from the
// run before the last.
func unpackRuns(text string) ([]int64, error) {
	var runs []int64
	value, shift := int64(0), 0
	for i := range len(text) {
		c := text[i] - '0'
		if c > 63 || shift > 30 {
			return nil, fmt.Errorf("%w: run lengths at byte %d", ErrFormat, i)
		}
		value |= int64(c&31) << shift
		shift += 5
		if c&32 != 0 {
			continue
		}
		if c&16 != 0 {
			value |= -1 << shift
		}
		if n := len(runs); n > 2 {
			value += runs[n-2]
		}
		runs = append(runs, value)
		value, shift = 0, 0
	}
	if shift != 0 {
		return nil, fmt.Errorf("%w: run lengths end inside a run", ErrFormat)
	}
	return runs, nil
}

// fillRuns sets every second run, from the second on.
func fillRuns(mask []bool, runs []int64) error {
	at := int64(0)
	for i, n := range runs {
		if n < 0 || n > int64(len(mask))-at {
			return fmt.Errorf("%w: a run of %d pixels, %d are left", ErrFormat, n, int64(len(mask))-at)
		}
		if i%2 == 1 {
			for j := range n {
				mask[at+j] = true
			}
		}
		at += n
	}
	if at != int64(len(mask)) {
		return fmt.Errorf("%w: %d of %d pixels are missing", ErrFormat, int64(len(mask))-at, len(mask))
	}
	return nil
}

const (
	// fine is by how much polygons are enlarged before their edges are drawn.
	fine = 5
	// maxOutside bounds coordinates, in pixels; maxOutline bounds the length of
	// a polygon's edges, in fine pixels.
	maxOutside = 1 << 17
	maxOutline = 1 << 26
)

// fillPolygon sets the pixels of a polygon of x, y pairs. Its edges are drawn
// on a grid five times finer; where an edge steps to another fine column in the
// middle of a column of pixels, the mask turns on or off below it.
func fillPolygon(mask []bool, xy []float64, width, height int) error {
	if len(xy) < 6 || len(xy)%2 != 0 {
		return fmt.Errorf("%w: a polygon of %d coordinates", ErrFormat, len(xy))
	}
	n := len(xy) / 2
	corner := make([][2]int, n)
	for i := range corner {
		for k, v := range xy[2*i : 2*i+2] {
			if !(math.Abs(v) <= maxOutside) {
				return fmt.Errorf("%w: a polygon with %v", ErrFormat, v)
			}
			corner[i][k] = int(float64(fine*v) + 0.5)
		}
	}
	var turns []int // indices of the mask
	before, started, length := [2]int{}, false, 0
	visit := func(u, v int) {
		if started && u != before[0] {
			// The middle column of the five is the pixel's own.
			left := min(u, before[0])
			if left >= 0 && left%fine == fine/2 && left/fine < width {
				y := math.Ceil((float64(min(v, before[1]))+0.5)/fine - 0.5)
				turns = append(turns, left/fine*height+int(min(max(y, 0), float64(height))))
			}
		}
		before, started = [2]int{u, v}, true
	}
	for i, from := range corner {
		to := corner[(i+1)%n]
		dx, dy := to[0]-from[0], to[1]-from[1]
		if length += max(absInt(dx), absInt(dy)); length > maxOutline {
			return fmt.Errorf("%w: a polygon with an outline of over %d pixels", ErrFormat, maxOutline/fine)
		}
		line(from, to, visit)
	}
	slices.Sort(turns)
	for i := 0; i < len(turns); i += 2 {
		end := len(mask)
		if i+1 < len(turns) {
			end = turns[i+1]
		}
		for at := turns[i]; at < end; at++ {
			mask[at] = true
		}
	}
	return nil
}

func absInt(v int) int { return max(v, -v) }

// line visits the points of an edge, both ends included. Rounding does not
// depend on the direction, only the order does.
func line(from, to [2]int, visit func(u, v int)) {
	long := 0 // the axis of the larger extent
	if absInt(to[0]-from[0]) < absInt(to[1]-from[1]) {
		long = 1
	}
	flip := from[long] > to[long]
	if flip {
		from, to = to, from
	}
	steps := to[long] - from[long]
	slope := float64(to[1-long]-from[1-long]) / float64(steps)
	for d := range steps + 1 {
		if flip {
			d = steps - d
		}
		var p [2]int
		p[long] = from[long] + d
		p[1-long] = from[1-long]
		if steps > 0 {
			p[1-long] = int(float64(from[1-long]) + slope*float64(d) + 0.5)
		}
		visit(p[0], p[1])
	}
}
