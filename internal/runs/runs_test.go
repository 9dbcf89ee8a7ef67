package runs

import (
	"image"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// random returns a mask of a picture as pixels, column by column, and as runs.
func random(r *rand.Rand, size image.Point) (pixels []bool, runs []uint32) {
	var b Builder
	for range size.X * size.Y {
		in := len(pixels) > 0 && r.IntN(4) > 0 && pixels[len(pixels)-1] || r.IntN(3) == 0
		pixels = append(pixels, in)
		b.Add(in, 1)
	}
	return pixels, b.Runs
}

func TestAlgebra(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		size := image.Pt(1+r.IntN(70), 1+r.IntN(20))
		a, runsA := random(r, size)
		b, runsB := random(r, size)
		areaA, both := 0, 0
		var union, outside Builder
		rows := NewRows(size)
		for i := range a {
			if a[i] {
				areaA++
			}
			if a[i] && b[i] {
				both++
			}
			union.Add(a[i] || b[i], 1)
			outside.Add(!a[i], 1)
		}
		for y := range size.Y {
			for x := range size.X {
				if a[x*size.Y+y] {
					rows.Set(x)
				}
			}
			rows.Next()
		}
		require.Equal(t, areaA, Area(runsA))
		require.Equal(t, both, Intersection(runsA, runsB))
		require.Equal(t, union.Runs, Union(runsA, runsB))
		require.Equal(t, outside.Runs, Complement(runsA))
		require.Equal(t, runsA, rows.Runs())
		require.Equal(t, runsA, FromSegments(size, Segments(runsA, size.Y)))
		packed, err := Decompress(size, Compress(runsA))
		require.NoError(t, err)
		require.Equal(t, runsA, packed)
		plain, err := Check(size, runsA)
		require.NoError(t, err)
		require.Equal(t, runsA, plain)
	}
}

func TestBadRuns(t *testing.T) {
	size := image.Pt(3, 4)
	for _, counts := range [][]int64{nil, {11}, {13}, {-1, 13}, {6, 7}, {1 << 40}, {5, 1 << 62, 1 << 62}} {
		_, err := Check(size, counts)
		require.ErrorIs(t, err, ErrRuns, "%v", counts)
	}
	_, err := Check(size, []int64{0, 0, 5, 0, 7, 0})
	require.NoError(t, err, "runs of nothing may stand anywhere")
	for _, text := range []string{"", "<<", "\x00", "ooooooooo0", "o", "\xff"} {
		_, err := Decompress(size, text)
		require.ErrorIs(t, err, ErrRuns, "%q", text)
	}
	for _, xy := range [][]float64{nil, {1, 2, 3, 4}, {1, 2, 3, 4, 5}, {0, 0, 1e300, 0, 1, 1}} {
		_, err := Polygon(size, xy)
		require.ErrorIs(t, err, ErrPolygon, "%v", xy)
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add(3, 4, "<")
	f.Add(9, 7, "52Q1O0")
	f.Fuzz(func(t *testing.T, w, h int, counts string) {
		size := image.Pt(w&63, h&63)
		all, err := Decompress(size, counts)
		if err != nil {
			require.ErrorIs(t, err, ErrRuns)
			return
		}
		again, err := Decompress(size, Compress(all))
		require.NoError(t, err)
		require.Equal(t, all, again)
	})
}
