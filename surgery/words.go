package surgery

import (
	"fmt"

	"github.com/clipsurgery/clipsurgery/vit"
)

// Words says where a picture supports each token of a sentence: label-set
// surgery of the image features with the features of all tokens before pooling,
// a column for each token from the start token to the end token. A token's
// feature is what the sentence up to it means, and the end token's is the
// whole sentence's. As in the paper, it is the end token that pictures tend to
// support most, and words without a thing of their own ("in", a comma) often
// more than the nouns before them, whose meaning they carry on.
// Source: the multimodal visualisation of the paper, after xmed-lab/CLIP_Surgery
// issue 5.
func Words(f *vit.Features, t *vit.TextTokens) (*Scores, error) {
	if t == nil {
		return nil, fmt.Errorf("surgery: %w: the text's tokens are nil", ErrText)
	}
	return FeatureSurgery(f, t.Features)
}

// Support is the largest score of a cell for each text: how much the picture
// supports it anywhere.
func (s *Scores) Support() []float32 {
	out := make([]float32, s.Cols)
	for i := 1; i < s.Rows; i++ {
		for c, v := range s.Data[i*s.Stride : i*s.Stride+s.Cols] {
			if i == 1 || v > out[c] {
				out[c] = v
			}
		}
	}
	return out
}
