package vit

import (
	"context"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/tokenizer"
	"github.com/stretchr/testify/require"
)

func TestTextTokens(t *testing.T) {
	c := tiny.model(t)
	ctx := context.Background()
	const text = "A photo of supercalifragilistic shoes!"
	got, err := c.TextTokens(ctx, text)
	require.NoError(t, err)
	n := len(got.IDs)
	require.Len(t, tokenizer.New().Encode(text), n-2)
	require.Equal(t, tokenizer.Clean(text), strings.Join(splitWords(got), " ")+"!")
	require.Equal(t, []int{n, n, n}, []int{len(got.Pieces), len(got.Word), got.Features.Rows})
	require.Equal(t, [2]int{-1, -1}, [2]int{got.Word[0], got.Word[n-1]})

	whole, err := c.EncodeText(ctx, []string{text})
	require.NoError(t, err)
	golden.Close(t, "end", got.Features.Data[(n-1)*got.Features.Stride:], whole.Data, 2e-6)
	// A row depends on what is before it alone.
	longer, err := c.TextTokens(ctx, text+" and more")
	require.NoError(t, err)
	golden.Close(t, "beginning", longer.Features.Data[:(n-1)*got.Features.Stride], got.Features.Data[:(n-1)*got.Features.Stride], 2e-6)

	_, err = c.TextTokens(ctx, strings.Repeat("word ", 80))
	require.ErrorIs(t, err, tokenizer.ErrTooLong)
	empty, err := c.TextTokens(ctx, "")
	require.NoError(t, err)
	require.Len(t, empty.IDs, 2)
}

// splitWords joins the pieces of each word but the last.
func splitWords(x *TextTokens) []string {
	var words []string
	for i, w := range x.Word {
		switch {
		case w < 0:
		case w == len(words):
			words = append(words, x.Pieces[i])
		default:
			words[w] += x.Pieces[i]
		}
	}
	return words[:len(words)-1]
}
