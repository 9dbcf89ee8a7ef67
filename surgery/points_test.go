package surgery

import (
	"image"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// TestPointParts draws maps of cells, each two of the grid wide, and expects
// clicks on them part by part.
func TestPointParts(t *testing.T) {
	for name, c := range map[string]struct {
		hot   []string
		parts [][]image.Point // cells
	}{
		"one":      {[]string{"......", ".##...", "......", "......"}, [][]image.Point{{{1, 1}, {2, 1}}}},
		"two":      {[]string{"#.....", "......", "....#.", "......"}, [][]image.Point{{{0, 0}}, {{4, 2}}}},
		"diagonal": {[]string{"#.....", ".#....", "..#...", "......"}, [][]image.Point{{{0, 0}, {1, 1}, {2, 2}}}},
		// Found apart, joined by the last cell.
		"fork": {[]string{"#.#...", ".#....", "......", ".....#"}, [][]image.Point{{{0, 0}, {2, 0}, {1, 1}}, {{5, 3}}}},
	} {
		// Pictures down to one pixel per cell, and a grid that covers a part.
		for _, region := range []image.Rectangle{image.Rect(0, 0, 60, 40), image.Rect(0, 0, 6, 4), image.Rect(0, 0, 10, 7), image.Rect(30, 7, 91, 48)} {
			s := &Scores{Grid: image.Pt(12, 8), Size: image.Pt(100, 50), Region: region}
			s.General = blas32.General{Rows: 1 + 12*8, Cols: 1, Stride: 1, Data: make([]float32, 1+12*8)}
			for i := range 12 * 8 {
				if c.hot[i/12/2][i%12/2] == '#' {
					s.Data[1+i] = 1
				}
			}
			all, err := s.Points(0, 0.8)
			require.NoError(t, err)
			at := map[image.Point]image.Point{} // pixels by cells
			i := 0
			for y, line := range c.hot {
				for x := range line {
					if line[x] == '#' {
						at[image.Pt(x, y)] = all.Foreground[i]
						i++
					}
				}
			}
			got, err := s.PointParts(0, 0.8)
			require.NoError(t, err)
			require.Len(t, got, len(c.parts), "%s on %v", name, region)
			for i, part := range c.parts {
				var want []image.Point
				for _, cell := range part {
					want = append(want, at[cell])
				}
				require.Equal(t, want, got[i].Foreground, "%s on %v", name, region)
				require.Equal(t, all.Background, got[i].Background)
			}
		}
	}
}
