package surgery

import (
	"context"
	"image"
	"image/color"
	"testing"

	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/stretchr/testify/require"
)

// The end token's column is the whole sentence's, and every token has one.
func TestWords(t *testing.T) {
	c := micro.model(t)
	ctx := context.Background()
	tokens, err := c.TextTokens(ctx, "a blue heart on water")
	require.NoError(t, err)
	f, err := c.EncodePixels(ctx, pixels(40, 24), vit.Operate(CLIPSurgery()))
	require.NoError(t, err)
	s, err := Words(f, tokens)
	require.NoError(t, err)
	require.Equal(t, 7, s.Cols) // five words between start and end
	want, err := FeatureSurgery(f, tokens.Features)
	require.NoError(t, err)
	require.Equal(t, want.Data, s.Data)

	support := s.Support()
	for c, v := range support {
		cells, err := s.cells(c)
		require.NoError(t, err)
		best := cells[0]
		for _, x := range cells {
			best = max(best, x)
		}
		require.Equal(t, best, v)
	}
	_, err = Sentence(tokens, support[1:], 200)
	require.ErrorIs(t, err, ErrLabel)
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

func TestOverlayLabels(t *testing.T) {
	img := image.NewGray(image.Rect(3, 3, 5, 4))
	img.Pix = []uint8{100, 100}
	m := &LabelMap{2, 1, []uint16{1, Ignore}}
	got, err := OverlayLabels(img, m, nil, Opacity(0.5))
	require.NoError(t, err)
	require.Equal(t, []uint8{114, 50, 50, 255, 100, 100, 100, 255}, got.Pix)
	_, err = OverlayLabels(img, m, color.Palette{color.Black})
	require.ErrorIs(t, err, ErrLabel)
	_, err = OverlayLabels(img, NewLabelMap(1, 1), nil)
	require.ErrorIs(t, err, ErrLabel)
}

func TestLegend(t *testing.T) {
	names := []string{"grass", "sky", "a class with a long name"}
	colours := []color.Color{color.White, color.Black, color.Gray{90}}
	wide, err := Legend(names, colours, 1000)
	require.NoError(t, err)
	narrow, err := Legend(names, colours, 10)
	require.NoError(t, err)
	require.Equal(t, wide.Rect.Dy()+2*legendLine, narrow.Rect.Dy())
	_, err = Legend(names, colours[:2], 100)
	require.ErrorIs(t, err, ErrLabel)
	stack := Stack(wide, narrow)
	require.Equal(t, image.Pt(wide.Rect.Dx(), wide.Rect.Dy()+narrow.Rect.Dy()), stack.Rect.Size())
	require.Equal(t, wide.NRGBAAt(9, 1), stack.NRGBAAt(9, 1))
}
