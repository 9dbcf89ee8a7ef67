package surgery

import (
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/simd"
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

// What is computed from features runs with the model's kernel: plain Go and the
// machine's best round differently, and alike with the model.
func TestScoresUseTheModelsKernel(t *testing.T) {
	generic, err := simd.Select("generic")
	require.NoError(t, err)
	c, err := vit.Load(micro.file(t), vit.Heads(micro.heads, 1), vit.WithKernel(generic), vit.WithWorkers(1))
	require.NoError(t, err)
	f, err := c.EncodePixels(t.Context(), pixels(40, 24))
	require.NoError(t, err)
	require.Equal(t, "generic", f.Kernel().Name())
	text := general(golden.Procedural("text", []int{3, f.Tokens.Cols}, 0, 1), 3, f.Tokens.Cols)
	s, err := Similarity(f, text)
	require.NoError(t, err)
	require.Equal(t, "generic", s.k().Name())
	require.Equal(t, simd.Best(), (&Scores{}).k(), "of scores made by hand")

	// The same product by hand.
	unit, err := unitRows(text)
	require.NoError(t, err)
	rows, err := unitRows(f.Tokens)
	require.NoError(t, err)
	want := matrix(rows.Rows, unit.Rows)
	generic.MatMul(nil, want, rows, simd.Pack(generic, unit), simd.Epilogue{})
	require.Equal(t, want.Data, s.Data)
	_, err = s.Map(0)
	require.NoError(t, err)
}
