package surgery

import (
	"fmt"

	"github.com/clipsurgery/clipsurgery/vit"
)

// Words shows where a picture supports each token of a sentence. It is
// label-set surgery of the image features with the features of all tokens
// before pooling, with a column for each token from the start token to the end
// token. The feature of a token stands for the sentence up to that token, that
// of the end token for the whole sentence. As in the paper, pictures tend to
// support the end token most, and words without a thing of their own ("in", a
// comma) often more than the nouns before them, whose meaning they carry on.
// Source: the paper's multimodal visualization, after xmed-lab/CLIP_Surgery
// issue 5.
func Words(f *vit.Features, t *vit.TextTokens) (*Scores, error) {
	if t == nil {
		return nil, fmt.Errorf("surgery: %w: the text's tokens are nil", ErrText)
	}
	return FeatureSurgery(f, t.Features)
}

// Support returns the largest score of any cell for each text.
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
