package runs

import (
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
)

// ErrPolygon reports a polygon that cannot be drawn.
var ErrPolygon = errors.New("polygon")

const (
	// fine is by how much polygons are enlarged before their edges are drawn.
	fine = 5
	// maxOutside bounds coordinates, in pixels; maxOutline bounds the length of
	// a polygon's edges, in fine pixels.
	maxOutside = 1 << 17
	maxOutline = 1 << 26
)

// Polygon returns the pixels of a polygon of x, y pairs as COCO's own code draws
// it: its edges run on a grid five times finer, and where an edge steps to
// another fine column in the middle of a column of pixels, the mask turns on or
// off below it. The error is [ErrPolygon].
// Source: cocodataset/cocoapi common/maskApi.c:rleFrPoly.
func Polygon(size image.Point, xy []float64) ([]uint32, error) {
	if len(xy) < 6 || len(xy)%2 != 0 {
		return nil, fmt.Errorf("%w of %d coordinates", ErrPolygon, len(xy))
	}
	n := len(xy) / 2
	corner := make([][2]int, n)
	for i := range corner {
		for k, v := range xy[2*i : 2*i+2] {
			if !(math.Abs(v) <= maxOutside) {
				return nil, fmt.Errorf("%w with coordinate %v", ErrPolygon, v)
			}
			corner[i][k] = int(float64(fine*v) + 0.5)
		}
	}
	var turns []int // pixels where the mask turns on or off
	before, started, length := [2]int{}, false, 0
	visit := func(u, v int) {
		if started && u != before[0] {
			// The middle column of the five is the pixel's own.
			left := min(u, before[0])
			if left >= 0 && left%fine == fine/2 && left/fine < size.X {
				y := math.Ceil((float64(min(v, before[1]))+0.5)/fine - 0.5)
				turns = append(turns, left/fine*size.Y+int(min(max(y, 0), float64(size.Y))))
			}
		}
		before, started = [2]int{u, v}, true
	}
	for i, from := range corner {
		to := corner[(i+1)%n]
		dx, dy := to[0]-from[0], to[1]-from[1]
		if length += max(abs(dx), abs(dy)); length > maxOutline {
			return nil, fmt.Errorf("%w with an outline of over %d pixels", ErrPolygon, maxOutline/fine)
		}
		line(from, to, visit)
	}
	slices.Sort(turns)
	var b Builder
	at := 0
	for i, turn := range turns {
		b.Add(i%2 == 1, uint32(turn-at))
		at = turn
	}
	b.Add(len(turns)%2 == 1, uint32(size.X*size.Y-at))
	return b.Runs, nil
}

func abs(v int) int { return max(v, -v) }

// line visits the points of an edge, both ends included. Rounding does not
// depend on the direction, only the order does.
func line(from, to [2]int, visit func(u, v int)) {
	long := 0 // the axis of the larger extent
	if abs(to[0]-from[0]) < abs(to[1]-from[1]) {
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
