package surgery

import (
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tables' ends and middles, as OpenCV and matplotlib print them.
func TestColorMaps(t *testing.T) {
	for name, want := range map[string][3]color.NRGBA{
		"jet":     {{0, 0, 128, 255}, {126, 255, 130, 255}, {128, 0, 0, 255}},
		"viridis": {{68, 1, 84, 255}, {32, 143, 140, 255}, {253, 231, 36, 255}},
		"inferno": {{0, 0, 3, 255}, {186, 54, 85, 255}, {252, 254, 164, 255}},
		"turbo":   {{48, 18, 59, 255}, {161, 252, 61, 255}, {122, 4, 2, 255}},
	} {
		m, err := ColorMapNamed(name)
		require.NoError(t, err)
		for i, v := range []float32{0, 0.5, 1} {
			require.Equal(t, want[i], m.At(v), "%s at %v", name, v)
		}
		require.Equal(t, m.At(0), m.At(-3))
		require.Equal(t, m.At(0), m.At(float32(math.NaN())))
		require.Equal(t, m.At(1), m.At(float32(math.Inf(1))))
		require.Equal(t, m.At(0), m.At(0.999/255), "values are truncated")
	}
	_, err := ColorMapNamed("rainbow")
	require.ErrorContains(t, err, "viridis")
	require.Equal(t, Jet().At(0.3), ColorMap{}.At(0.3))
}

func TestOverlay(t *testing.T) {
	img := image.NewNRGBA(image.Rect(5, 5, 7, 6))
	img.SetNRGBA(5, 5, color.NRGBA{101, 7, 3, 255})
	img.SetNRGBA(6, 5, color.NRGBA{200, 200, 200, 0}) // alpha is dropped, as by the reference
	heat := &HeatMap{2, 1, []float32{0, 1}}
	got, err := Overlay(img, heat)
	require.NoError(t, err)
	// 0.4·101 = 40.4, 0.4·7 = 2.8, 0.4·3 + 0.6·128 = 78; 0.4·200 + 0.6·128 = 156.8.
	require.Equal(t, []uint8{40, 2, 78, 255}, got.Pix[:4])
	require.Equal(t, image.Rect(0, 0, 2, 1), got.Rect)
	bare, err := Overlay(img, heat, Opacity(-1))
	require.NoError(t, err)
	require.Equal(t, []uint8{101, 7, 3, 255}, bare.Pix[:4])
	only, err := Overlay(img, heat, Opacity(2), Colors(Viridis()))
	require.NoError(t, err)
	require.Equal(t, []uint8{68, 1, 84, 255, 253, 231, 36, 255}, only.Pix)
	for _, m := range []*HeatMap{{1, 2, []float32{0, 1}}, {2, 1, []float32{0}}} {
		_, err = Overlay(img, m)
		require.Error(t, err)
	}
}

func TestSheet(t *testing.T) {
	small, large := image.NewGray(image.Rect(0, 0, 30, 20)), image.NewGray(image.Rect(9, 9, 209, 109))
	tiles := []Tile{{small, "small"}, {large, "large, with a caption that goes on and on and on"}, {small, ""}}
	sheet, err := Sheet(tiles, Columns(2))
	require.NoError(t, err)
	// Cells of 200×100; the small picture, four times as large, is 120×80.
	require.Equal(t, image.Pt(8+2*(200+8), 8+2*(100+8+24)), sheet.Rect.Size())
	black, white := color.NRGBA{A: 255}, color.NRGBA{255, 255, 255, 255}
	require.Equal(t, black, sheet.NRGBAAt(8+119, 8+79))
	require.Equal(t, white, sheet.NRGBAAt(8+120, 8+79))
	require.Equal(t, black, sheet.NRGBAAt(8+208+199, 8+99))
	ink := func(r image.Rectangle) (n int) {
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				if sheet.NRGBAAt(x, y) != white {
					n++
				}
			}
		}
		return n
	}
	require.Positive(t, ink(image.Rect(8, 108, 8+60, 132)))
	require.Zero(t, ink(image.Rect(8+208+200, 0, sheet.Rect.Max.X, sheet.Rect.Max.Y)), "captions are cut")
	require.Zero(t, ink(image.Rect(216, 140, sheet.Rect.Max.X, sheet.Rect.Max.Y)), "no fourth picture")
	one, err := Sheet(tiles[:1], Columns(9))
	require.NoError(t, err)
	require.Equal(t, image.Pt(8+120+8, 8+80+8+24), one.Rect.Size())
	_, err = Sheet(nil)
	require.Error(t, err)
	_, err = Sheet([]Tile{{Caption: "nothing"}})
	require.ErrorContains(t, err, "nothing")
}

func TestStack(t *testing.T) {
	a, b := image.NewGray(image.Rect(0, 0, 3, 2)), image.NewGray(image.Rect(7, 7, 9, 8))
	s := Stack(a, b)
	require.Equal(t, image.Pt(3, 3), s.Rect.Size())
	require.Equal(t, color.NRGBA{A: 255}, s.NRGBAAt(1, 2))
	require.Equal(t, color.NRGBA{255, 255, 255, 255}, s.NRGBAAt(2, 2))
}
