package surgery

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

// Recognition is how well each of a set of labels fits a whole picture, seen in
// three ways.
//
// None of the numbers is a probability that the label is right. Softmax adds up
// to 1 over the labels that were asked for, so that it picks one of them even
// if none fits, and halves when a synonym is added: it is for choosing one
// label. Cosine and Surgery say something label by label, and order the
// pictures of a collection; but what is high differs between labels, so compare
// them with a threshold per label that was chosen on pictures of known content
// (eval.Ranking.Curve shows the choice). The difference to the empty text,
// [RemoveRedundant], is the simplest score that needs no other labels.
type Recognition struct {
	Cosine  []float32 // of the class token with the label's text
	Softmax []float32 // of Cosine times the model's logit scale
	Surgery []float32 // the class token after [FeatureSurgery], 0 for a single label
}

// Recognize scores labels for a picture. The features' class row has to be the
// untouched tower's: that of every plan of a ViT, of no plan on a ResNet.
// logitScale is [vit.CLIP.LogitScale].
// Source: the paper's multi-label recognition; softmax as in openai/CLIP's
// README.
func Recognize(f *vit.Features, text blas32.General, logitScale float32) (*Recognition, error) {
	if f == nil {
		return nil, fmt.Errorf("surgery: %w: the image features are nil", ErrGrid)
	}
	top := *f // its class row alone, as a grid of one cell
	top.Tokens.Rows = min(f.Tokens.Rows, 1)
	top.Grid.X, top.Grid.Y = 0, 0
	plain, err := Similarity(&top, text)
	if err != nil {
		return nil, err
	}
	operated, err := FeatureSurgery(&top, text)
	if err != nil {
		return nil, err
	}
	r := &Recognition{plain.Class(), plain.Class(), operated.Class()}
	for i := range r.Softmax {
		r.Softmax[i] *= logitScale
	}
	plain.k().Softmax(r.Softmax)
	return r, nil
}

// Ranked is a label's place in a list.
type Ranked struct {
	Label int // index
	Score float32
}

// Top returns the k largest scores, or all if there are fewer, the largest
// first; equal ones in the order of the labels.
func Top(scores []float32, k int) []Ranked {
	all := make([]Ranked, len(scores))
	for i, s := range scores {
		all[i] = Ranked{i, s}
	}
	slices.SortStableFunc(all, func(a, b Ranked) int { return cmp.Compare(b.Score, a.Score) })
	return all[:min(max(k, 0), len(all))]
}

// String is "label 3: 0.250".
func (r Ranked) String() string { return fmt.Sprintf("label %d: %.3f", r.Label, r.Score) }
