package surgery

import (
	"testing"

	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

func TestNilFeatures(t *testing.T) {
	text := blas32.General{Rows: 1, Cols: 1, Stride: 1, Data: []float32{1}}
	for name, f := range map[string]func() error{
		"Similarity":     func() error { _, err := Similarity(nil, text); return err },
		"FeatureSurgery": func() error { _, err := FeatureSurgery(nil, text); return err },
		"RemoveRedundant": func() error {
			_, err := RemoveRedundant(nil, text, blas32.General{Rows: 1, Cols: 1, Stride: 1, Data: []float32{2}})
			return err
		},
		"Recognize": func() error { _, err := Recognize(nil, text, 1); return err },
		"Words":     func() error { _, err := Words(nil, &vit.TextTokens{Features: text}); return err },
	} {
		require.Error(t, f(), name)
	}
	_, err := Words(new(vit.Features), nil)
	require.ErrorIs(t, err, ErrText)
	_, err = Label(t.Context(), nil, nil, nil)
	require.ErrorIs(t, err, ErrLabel)
	_, err = Segment(t.Context(), nil, nil, nil)
	require.ErrorIs(t, err, ErrLabel)
}
