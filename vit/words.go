package vit

import (
	"context"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"gonum.org/v1/gonum/blas/blas32"
)

// TextTokens are the features of a text before they are pooled: one row for
// each token, from the start token to the end token.
type TextTokens struct {
	// IDs are the tokens, Pieces the parts of the text that they stand for:
	// "" for the start and the end token.
	IDs    []int32
	Pieces []string
	// Word is the word of the text that a token belongs to, -1 for the start and
	// the end token.
	Word []int
	// Features is tokens × D, after LN_final and projected into the space of
	// pictures, not normalized. The last row is what EncodeText returns.
	Features blas32.General
}

// TextTokens returns the features of all tokens of a text. As the attention
// mask is causal, the row of a token is the feature of the text up to it,
// without an end token.
func (c *CLIP) TextTokens(ctx context.Context, text string, opts ...TextOption) (*TextTokens, error) {
	seqs, err := c.tokenize(ctx, 1, func(int) string { return text })
	if err != nil {
		return nil, err
	}
	n := len(seqs.ids)
	t := &TextTokens{IDs: seqs.ids, Pieces: make([]string, n), Word: make([]int, n)}
	t.Word[0] = -1
	t.Word[len(t.Word)-1] = -1
	for i, p := range c.tokenizer().Pieces(text) {
		if i+2 >= len(t.IDs) { // an end token spelled out in the text ends it
			break
		}
		t.Pieces[1+i], t.Word[1+i] = p.Text, p.Word
	}
	// Every beginning of the sequence ends at one of its tokens; as a tree they
	// are the sequence itself.
	prefixes := &sequences{}
	for i := range n {
		prefixes.add(t.IDs[:i+1])
	}
	t.Features = nn.Matrix(make([]float32, n*c.config.Embed), n, c.config.Embed)
	err = c.encodeSequences(ctx, prefixes, opts, 1, func(i int, features []float32) {
		copy(t.Features.Data[i*t.Features.Stride:], features)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}
