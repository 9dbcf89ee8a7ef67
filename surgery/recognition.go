package surgery

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

// Recognition says in three ways how well each of a set of labels fits a whole
// picture.
//
// None of the numbers is the probability that a label is right. Softmax sums to
// 1 over the given labels, so it favors one of them even if none fits, and
// halves when a synonym is added: use it to choose one label. Cosine and
// Surgery are meaningful label by label, for example to rank the pictures of a
// collection. Their range differs between labels, so compare them with a
// threshold per label, chosen on pictures of known content (see
// eval.Ranking.Curve). The simplest score that needs no other labels is the
// difference to the empty text, [RemoveRedundant].
type Recognition struct {
	Cosine  []float32 // of the class token with the label's text
	Softmax []float32 // of Cosine times the model's logit scale
	Surgery []float32 // the class token after [FeatureSurgery], 0 for a single label
}

// Recognize scores labels for a picture. The class row of the features must be
// that of the untouched tower, as it is under every plan on a ViT, but without
// a plan only on a ResNet. logitScale is [vit.CLIP.LogitScale]. Source: the
// paper's multi-label recognition; softmax as in openai/CLIP's README.
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

// Top returns the k largest scores, or all if there are fewer, in descending
// order; equal scores are in the order of the labels.
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
