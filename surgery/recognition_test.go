package surgery

import (
	"image"
	"math"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

func TestRecognize(t *testing.T) {
	f := &vit.Features{Tokens: general(golden.Procedural("recognize", []int{5, 8}, 0, 1), 5, 8), Grid: image.Pt(2, 2), Size: image.Pt(4, 4)}
	text := general(golden.Procedural("recognize/text", []int{3, 8}, 0, 1), 3, 8)
	got, err := Recognize(f, text, 20)
	require.NoError(t, err)
	s, err := Similarity(f, text)
	require.NoError(t, err)
	require.Equal(t, s.Class(), got.Cosine)
	o, err := FeatureSurgery(f, text)
	require.NoError(t, err)
	require.Equal(t, o.Class(), got.Surgery)
	sum := 0.0
	for _, c := range got.Cosine {
		sum += math.Exp(20 * float64(c))
	}
	for i, c := range got.Cosine {
		require.InDelta(t, math.Exp(20*float64(c))/sum, got.Softmax[i], 1e-6)
	}
	_, err = Recognize(f, general(nil, 0, 8), 20)
	require.ErrorIs(t, err, ErrText)
	_, err = Recognize(&vit.Features{Tokens: blas32.General{Cols: 8, Stride: 8}}, text, 20)
	require.Error(t, err)
}

func TestTop(t *testing.T) {
	scores := []float32{0.5, 0.9, 0.5, -1, 0.9}
	require.Equal(t, []Ranked{{1, 0.9}, {4, 0.9}, {0, 0.5}}, Top(scores, 3))
	require.Len(t, Top(scores, 99), 5)
	require.Empty(t, Top(scores, -1))
}
