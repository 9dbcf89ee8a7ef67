package sam

import (
	"encoding/binary"
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPolygons: outlines lose nothing, whatever the mask.
func TestPolygons(t *testing.T) {
	manyMasks(func(m Mask, pixels []bool, _ *rand.Rand) {
		polygons := m.Polygons()
		require.Len(t, polygons, len(m.regions(false).sizes))
		back, err := FromPolygons(m.Size, polygons)
		require.NoError(t, err)
		require.Equal(t, pixels, pixelsOf(back))
		for _, p := range polygons {
			require.Positive(t, area(p.Outer))
			for _, h := range p.Holes {
				require.Negative(t, area(h))
			}
		}
	})
}

// area is that of a ring that runs clockwise, with y down; negative, if it
// runs the other way.
func area(r Ring) float64 {
	sum := 0.0
	for i, v := range r {
		w := r[(i+1)%len(r)]
		sum += float64(v.X)*float64(w.Y) - float64(w.X)*float64(v.Y)
	}
	return sum / 2
}

func TestPolygonsOfAFrame(t *testing.T) {
	a := image.NewAlpha(image.Rect(0, 0, 6, 5))
	for i, v := range []byte("" +
		"......" +
		".###.." +
		".#.#.." +
		".###.." +
		"....#.") {
		if v == '#' {
			a.Pix[i] = 255
		}
	}
	require.Equal(t, []Polygon{
		{Outer: Ring{{4, 1}, {4, 4}, {1, 4}, {1, 1}}, Holes: []Ring{{{2, 3}, {3, 3}, {3, 2}, {2, 2}}}},
		{Outer: Ring{{5, 4}, {5, 5}, {4, 5}, {4, 4}}},
	}, normal(MaskOf(a).Polygons()))
}

// normal starts every hole at its lowest vertex, leftmost of equals; which one
// comes first is not said.
func normal(polygons []Polygon) []Polygon {
	for _, p := range polygons {
		for i, h := range p.Holes {
			first := 0
			for j, v := range h {
				if v.Y > h[first].Y || v.Y == h[first].Y && v.X < h[first].X {
					first = j
				}
			}
			p.Holes[i] = append(h[first:len(h):len(h)], h[:first]...)
		}
	}
	return polygons
}

// disc is a ring of pixels around a point, wobbling n times by a tenth.
func disc(size image.Point, x, y, inner, outer float64, n int) Mask {
	a := image.NewAlpha(image.Rectangle{Max: size})
	for i := range a.Pix {
		dx, dy := float64(i%size.X)+0.5-x, float64(i/size.X)+0.5-y
		d := math.Hypot(dx, dy) * (1 + 0.1*math.Sin(float64(n)*math.Atan2(dy, dx)))
		if d >= inner && d < outer {
			a.Pix[i] = 255
		}
	}
	return MaskOf(a)
}

// TestSimplify: few vertices show a smooth mask well.
func TestSimplify(t *testing.T) {
	for _, m := range []Mask{
		disc(image.Pt(200, 150), 90, 70, 0, 60, 0),
		disc(image.Pt(200, 150), 90, 70, 30, 64, 5),
		disc(image.Pt(64, 64), 60, 5, 0, 30, 3), // cut by the edge
	} {
		before, after := 0, 0
		var simple []Polygon
		for _, p := range m.Polygons() {
			simple = append(simple, p.Simplify(1))
			for i, r := range append([]Ring{p.Outer}, p.Holes...) {
				before += len(r)
				after += len(append([]Ring{simple[len(simple)-1].Outer}, simple[len(simple)-1].Holes...)[i])
			}
		}
		back, err := FromPolygons(m.Size, simple)
		require.NoError(t, err)
		iou, err := IoU(m, back)
		require.NoError(t, err)
		t.Logf("%d of %d vertices: IoU %.4f", after, before, iou)
		require.GreaterOrEqual(t, iou, 0.98)
		require.Less(t, after, before/3)
	}
	require.Equal(t, Polygon{}, Polygon{Outer: Ring{{0, 0}, {1, 0}, {1, 1}, {0, 1}}}.Simplify(5))
	require.Equal(t, Polygon{}, Polygon{}.Simplify(1))
	require.Equal(t, Polygon{}, Polygon{Outer: Ring{{1, 1}, {1, 1}}}.Simplify(0))
}

func TestFromPolygons(t *testing.T) {
	size := image.Pt(10, 8)
	square := func(x0, y0, x1, y1 float32) Ring { return Ring{{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}} }
	for name, c := range map[string]struct {
		polygons []Polygon
		area     int
	}{
		"nothing":            {nil, 0},
		"no ring":            {[]Polygon{{}}, 0},
		"a point":            {[]Polygon{{Outer: Ring{{3, 3}}}}, 0},
		"beyond all sides":   {[]Polygon{{Outer: square(-1e30, -1e30, 1e30, 1e30)}}, 80},
		"outside":            {[]Polygon{{Outer: square(11, 0, 20, 8)}, {Outer: square(0, -5, 10, -1)}}, 0},
		"overlap is no hole": {[]Polygon{{Outer: square(0, 0, 4, 4)}, {Outer: square(2, 2, 6, 6)}}, 28},
		"a hole":             {[]Polygon{{Outer: square(0, 0, 4, 4), Holes: []Ring{square(1, 1, 3, 3)}}}, 12},
		"between centers":    {[]Polygon{{Outer: square(0.6, 0.6, 1.4, 1.4)}}, 0},
		"around a center":    {[]Polygon{{Outer: square(1.4, 1.4, 1.6, 1.6)}}, 1},
		"a triangle":         {[]Polygon{{Outer: Ring{{0, 0}, {8, 0}, {0, 8}}}}, 28},
	} {
		m, err := FromPolygons(size, c.polygons)
		require.NoError(t, err, name)
		require.Equal(t, size, m.Size)
		require.Equal(t, c.area, m.Area(), name)
	}
	nan := float32(math.NaN())
	_, err := FromPolygons(size, []Polygon{{Outer: square(0, 0, 1, 1)}, {Outer: Ring{{nan, 0}}}})
	require.ErrorIs(t, err, ErrPolygon)
	require.ErrorContains(t, err, "polygon 1")
	_, err = FromPolygons(image.Pt(0, 1), nil)
	require.ErrorIs(t, err, ErrSize)
}

// FuzzFromPolygons takes every eight bytes as a vertex, and a vertex at the
// origin as the end of a ring.
func FuzzFromPolygons(f *testing.F) {
	f.Add(9, 7, []byte("\x00\x00\x80\x3f\x00\x00\x80\x3f\x00\x00\xa0\x40\x00\x00\x80\x3f\x00\x00\x80\x3f\x00\x00\xa0\x40"))
	f.Add(1, 1, []byte("\xff\xff\x7f\x7f\xff\xff\x7f\xff\xff\xff\x7f\xff\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, width, height int, data []byte) {
		if width > 1<<12 || height > 1<<12 {
			return
		}
		polygons := []Polygon{{}}
		for ; len(data) >= 8; data = data[8:] {
			v := Vertex{math.Float32frombits(binary.LittleEndian.Uint32(data)), math.Float32frombits(binary.LittleEndian.Uint32(data[4:]))}
			p := &polygons[len(polygons)-1]
			switch {
			case v != Vertex{}:
				p.Outer = append(p.Outer, v)
			case len(p.Holes) > 2:
				polygons = append(polygons, Polygon{})
			default:
				p.Holes = append(p.Holes, p.Outer)
			}
		}
		m, err := FromPolygons(image.Pt(width, height), polygons)
		if err != nil {
			return
		}
		again, err := FromRuns(m.Size, m.Runs())
		require.NoError(t, err)
		require.Equal(t, m, again)
		for _, p := range polygons {
			p.Simplify(0.5)
		}
	})
}
