package surgery

import (
	"context"
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
}
