package draw

import (
	"image"
	"image/color"
	"testing"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/stretchr/testify/require"
)

func square(size image.Point, r image.Rectangle) sam.Mask {
	a := image.NewAlpha(image.Rectangle{Max: size})
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			a.SetAlpha(x, y, color.Alpha{A: 255})
		}
	}
	return sam.MaskOf(a)
}

// TestMasks: a small mask is seen on a large one that is drawn after it.
func TestMasks(t *testing.T) {
	size := image.Pt(40, 30)
	on, err := Canvas(image.NewGray(image.Rectangle{Max: size}.Add(image.Pt(-7, 3))))
	require.NoError(t, err)
	require.Equal(t, image.Rectangle{Max: size}, on.Rect)
	red, blue := color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 0, 200, 255}
	Masks(on, []sam.Mask{square(size, image.Rect(10, 10, 20, 20)), square(size, image.Rect(5, 5, 40, 30))}, color.Palette{red, blue})
	require.Equal(t, color.NRGBA{0, 0, 0, 255}, on.NRGBAAt(1, 1))
	require.Equal(t, blue, on.NRGBAAt(5, 7), "an edge")
	require.Equal(t, color.NRGBA{0, 0, 100, 255}, on.NRGBAAt(30, 20))
	require.Equal(t, red, on.NRGBAAt(10, 10))
	require.Equal(t, color.NRGBA{100, 0, 50, 255}, on.NRGBAAt(15, 15))
}

func TestCutOut(t *testing.T) {
	size := image.Pt(9, 9)
	img := image.NewGray(image.Rectangle{Max: size})
	for i := range img.Pix {
		img.Pix[i] = 90
	}
	on, err := CutOut(img, square(size, image.Rect(3, 3, 6, 6)))
	require.NoError(t, err)
	require.Equal(t, color.NRGBA{90, 90, 90, 255}, on.NRGBAAt(4, 4))
	require.Equal(t, color.NRGBA{255, 200, 0, 255}, on.NRGBAAt(2, 4))
	require.Equal(t, color.NRGBA{30, 30, 30, 255}, on.NRGBAAt(0, 8))
}

func TestDrawOutside(t *testing.T) {
	on, err := Canvas(image.NewGray(image.Rect(0, 0, 5, 5)))
	require.NoError(t, err)
	c := color.NRGBA{1, 2, 3, 255}
	Dots(on, []image.Point{{-9, -9}, {100, 2}, {2, 2}}, c)
	Frame(on, image.Rect(-3, -3, 90, 90), c)
	require.Equal(t, c, on.NRGBAAt(2, 2))
	two := []sam.Mask{square(image.Pt(5, 5), image.Rect(0, 0, 2, 2)), square(image.Pt(9, 9), image.Rect(3, 3, 9, 9))}
	Masks(on, two, color.Palette{c})
	require.Equal(t, c, on.NRGBAAt(0, 0), "a palette that is short begins again")
	Masks(on, two, nil)
	require.NotEqual(t, c, on.NRGBAAt(0, 0))
	Masks(nil, two, nil)
	Dots(nil, []image.Point{{}}, c)
	Frame(nil, image.Rect(0, 0, 1, 1), c)
}
