package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"slices"
	"time"

	"github.com/clipsurgery/clipsurgery/surgery"
	"gonum.org/v1/gonum/blas/blas32"
)

// Score is everything that can be measured about one way of scoring pictures
// whose pixels are labeled.
type Score struct {
	// All is the segmentation by the best of all classes, Present by the best of
	// those that the picture shows.
	All     *Confusion `json:"all"`
	Present *Confusion `json:"present"`
	// Maps is the heat maps of the classes that pictures show, by class.
	Maps []Maps `json:"maps"`
	// Ranking is by the class token.
	Ranking *Ranking `json:"ranking"`
	// Time is what scoring took, as the caller says; Pictures is how many.
	Time     time.Duration `json:"time"`
	Pictures int           `json:"pictures"`
}

// NewScore returns the empty score of n classes, 1 to 4,096; of others the error
// is [ErrMismatch].
func NewScore(n int) (*Score, error) {
	if err := checkClasses(n); err != nil {
		return nil, err
	}
	return &Score{All: newConfusion(n), Present: newConfusion(n), Maps: make([]Maps, n), Ranking: newRanking(n)}, nil
}

// Truth is what a picture shows.
type Truth struct {
	Labels *surgery.LabelMap
	// Shown says which classes are asked for and ranked; nil means those with a
	// pixel in Labels.
	Shown []bool
}

// Add measures the scores of a picture: of the whole of it, or of windows over
// it, a vocabulary's texts in columns. The picture itself is looked at only
// with [surgery.Refine], and may be nil without. Heat maps and the ranking are of
// the best text of every class, cell by cell; they are left out with windows,
// and where a class has no text. A constant map counts as an IoU, a contrast and a
// pointing game of 0.
func (s *Score) Add(ctx context.Context, img image.Image, scores []*surgery.Scores, v *surgery.Vocabulary, truth Truth, opts ...surgery.SegmentOption) error {
	if s == nil || s.All == nil || v == nil {
		return fmt.Errorf("eval: %w: no score or no vocabulary", ErrMismatch)
	}
	n := len(v.Classes)
	if s.All.Classes != n {
		return fmt.Errorf("eval: %w: %d classes, %d in the vocabulary", ErrMismatch, s.All.Classes, n)
	}
	if truth.Labels == nil {
		return fmt.Errorf("eval: %w: truth without labels", ErrMismatch)
	}
	there := truth.Labels.Present(n)
	shown := truth.Shown
	if shown == nil {
		shown = there
	}
	if len(shown) != n {
		return fmt.Errorf("eval: %w: %d classes, truth about %d", ErrMismatch, n, len(shown))
	}
	labels, err := surgery.Label(ctx, img, scores, v, opts...)
	if err != nil {
		return err
	}
	among, err := surgery.Label(ctx, img, scores, v, append(slices.Clip(opts), surgery.Among(there))...)
	if err != nil {
		return err
	}
	one, err := NewScore(n) // so that an error leaves s as it was
	if err != nil {
		return err
	}
	if err := errors.Join(one.All.Add(labels, truth.Labels), one.Present.Add(among, truth.Labels)); err != nil {
		return err
	}
	if best := byClass(scores, v); best != nil {
		if err := one.addMaps(best, shown, truth.Labels); err != nil {
			return err
		}
	}
	one.Pictures = 1
	return s.Merge(one)
}

// byClass is the scores of each class's best text, or nil; scores fit v.
func byClass(scores []*surgery.Scores, v *surgery.Vocabulary) *surgery.Scores {
	n := len(v.Classes)
	texts := make([]int, n)
	for _, class := range v.Of {
		texts[class]++
	}
	if len(scores) != 1 || slices.Contains(texts, 0) {
		return nil
	}
	best := *scores[0]
	best.General = blas32.General{Rows: best.Rows, Cols: n, Stride: n, Data: make([]float32, best.Rows*n)}
	for i := range best.Rows {
		row, from := best.Data[i*n:(i+1)*n], scores[0].Data[i*scores[0].Stride:]
		for text, class := range v.Of {
			if text == 0 || v.Of[text-1] != class || from[text] > row[class] {
				row[class] = from[text]
			}
		}
	}
	return &best
}

// addMaps measures heat maps and ranking of scores by class.
func (s *Score) addMaps(scores *surgery.Scores, shown []bool, labels *surgery.LabelMap) error {
	for c := range shown {
		if !shown[c] {
			continue
		}
		heat, err := scores.Map(c)
		if errors.Is(err, surgery.ErrConstant) {
			s.Maps[c].addNothing()
			continue
		}
		if err != nil {
			return err
		}
		if _, err := s.Maps[c].Add(heat, labels.Mask(c)); err != nil {
			return err
		}
	}
	return s.Ranking.Add(scores.Class(), shown)
}

func (m *Maps) addNothing() {
	for i := range m.Overlap {
		m.Overlap[i].Add(0)
	}
	m.Contrast.Add(0)
	m.Pointing.Add(0)
}

// Merge adds what other has measured.
func (s *Score) Merge(other *Score) error {
	if s.All.Classes != other.All.Classes || s.Present.Classes != other.Present.Classes ||
		len(s.Maps) != len(other.Maps) || s.Ranking.Classes() != other.Ranking.Classes() {
		return fmt.Errorf("eval: %w: scores of %d and %d classes", ErrMismatch, s.All.Classes, other.All.Classes)
	}
	for i := range s.Maps {
		s.Maps[i].Merge(&other.Maps[i])
	}
	s.Time += other.Time
	s.Pictures += other.Pictures
	return errors.Join(s.All.Merge(other.All), s.Present.Merge(other.Present), s.Ranking.Merge(other.Ranking))
}

// MapsOf joins the maps of the given classes, or all.
func (s *Score) MapsOf(classes ...int) *Maps {
	var all Maps
	for _, c := range choose(len(s.Maps), classes) {
		all.Merge(&s.Maps[c])
	}
	return &all
}

// UnmarshalJSON restores a saved score.
func (s *Score) UnmarshalJSON(data []byte) error {
	type plain Score
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	if p.All == nil || p.Present == nil || p.Ranking == nil || p.Pictures < 0 || p.Time < 0 ||
		p.Present.Classes != p.All.Classes || len(p.Maps) != p.All.Classes || p.Ranking.Classes() != p.All.Classes {
		return fmt.Errorf("eval: %w: a score with parts missing or of different classes", ErrFormat)
	}
	*s = Score(p)
	return nil
}
