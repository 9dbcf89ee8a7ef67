package draw

import (
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
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
	heat := &surgery.HeatMap{Width: 2, Height: 1, Values: []float32{0, 1}}
	got, err := Overlay(img, heat)
	require.NoError(t, err)
	// 0.4·101 = 40.4, 0.4·7 = 2.8, 0.4·3 + 0.6·128 = 78; 0.4·200 + 0.6·128 = 156.8.
	require.Equal(t, []uint8{40, 2, 78, 255}, got.Pix[:4])
	require.Equal(t, image.Rect(0, 0, 2, 1), got.Rect)
	bare, err := Overlay(img, heat, Opacity(0))
	require.NoError(t, err)
	require.Equal(t, []uint8{101, 7, 3, 255}, bare.Pix[:4])
	only, err := Overlay(img, heat, Opacity(1), Colors(Viridis()))
	require.NoError(t, err)
	require.Equal(t, []uint8{68, 1, 84, 255, 253, 231, 36, 255}, only.Pix)
	for _, a := range []float64{-0.1, 1.1, math.NaN()} {
		_, err = Overlay(img, heat, Opacity(a))
		require.ErrorIs(t, err, ErrOption)
	}
	for _, m := range []*surgery.HeatMap{{Width: 1, Height: 2, Values: []float32{0, 1}}, {Width: 2, Height: 1, Values: []float32{0}}, nil} {
		_, err = Overlay(img, m)
		require.ErrorIs(t, err, ErrSize)
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
	require.ErrorIs(t, err, ErrSize)
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

func TestOverlayLabels(t *testing.T) {
	img := image.NewGray(image.Rect(3, 3, 5, 4))
	img.Pix = []uint8{100, 100}
	m := &surgery.LabelMap{Width: 2, Height: 1, Labels: []uint16{1, surgery.Ignore}}
	got, err := OverlayLabels(img, m, nil, Opacity(0.5))
	require.NoError(t, err)
	require.Equal(t, []uint8{114, 50, 50, 255, 100, 100, 100, 255}, got.Pix)
	_, err = OverlayLabels(img, m, color.Palette{color.Black})
	require.ErrorIs(t, err, surgery.ErrLabel)
	_, err = OverlayLabels(img, surgery.NewLabelMap(image.Pt(1, 1)), nil)
	require.ErrorIs(t, err, ErrSize)
}

func TestLegend(t *testing.T) {
	names := []string{"grass", "sky", "a class with a long name"}
	colors := []color.Color{color.White, color.Black, color.Gray{90}}
	wide, err := Legend(names, colors, 1000)
	require.NoError(t, err)
	narrow, err := Legend(names, colors, 10)
	require.NoError(t, err)
	require.Equal(t, wide.Rect.Dy()+2*legendLine, narrow.Rect.Dy())
	_, err = Legend(names, colors[:2], 100)
	require.ErrorIs(t, err, ErrSize)
	stack := Stack(wide, narrow)
	require.Equal(t, image.Pt(wide.Rect.Dx(), wide.Rect.Dy()+narrow.Rect.Dy()), stack.Rect.Size())
	require.Equal(t, wide.NRGBAAt(9, 1), stack.NRGBAAt(9, 1))
}

func TestBrightPalette(t *testing.T) {
	p := BrightPalette(30)
	require.Equal(t, color.NRGBA{255, 38, 38, 255}, p[0])
	for i, a := range p {
		a := a.(color.NRGBA)
		require.Greater(t, max(a.R, a.G, a.B)-min(a.R, a.G, a.B), uint8(100), "%d is gray", i)
		for j, b := range p[:i] {
			b := b.(color.NRGBA)
			far := max(math.Abs(float64(a.R)-float64(b.R)), math.Abs(float64(a.G)-float64(b.G)), math.Abs(float64(a.B)-float64(b.B)))
			require.Greater(t, far, 20.0, "%d and %d", j, i)
		}
	}
	require.Empty(t, BrightPalette(-1))
}

func TestSentence(t *testing.T) {
	tokens := &vit.TextTokens{
		Pieces: []string{"", "a", "blue", "heart", "on", "water", ""},
		Word:   []int{0, 1, 2, 3, 4, 5, 6},
	}
	support := []float32{9, 1, 2, 5, 1, 3, 4}
	_, err := Sentence(tokens, support[1:], 200)
	require.ErrorIs(t, err, ErrSize)
	wide, err := Sentence(tokens, support, 1000)
	require.NoError(t, err)
	narrow, err := Sentence(tokens, support, 60)
	require.NoError(t, err)
	require.Greater(t, narrow.Rect.Dy(), wide.Rect.Dy())
	require.LessOrEqual(t, narrow.Rect.Dx(), 60)
	same, err := Sentence(tokens, make([]float32, 7), 1000) // nothing stands out
	require.NoError(t, err)
	require.NotEqual(t, same.Pix, wide.Pix)
}
