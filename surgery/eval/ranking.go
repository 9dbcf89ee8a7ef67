package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Ranking measures how labels are ranked by their scores: over the pictures
// for each class, and over the classes for each picture.
type Ranking struct {
	classes []ranked
	picture Mean
}

// ranked are the scores of a class in the pictures that show it, and in those
// that do not.
type ranked struct {
	Present []float32 `json:"present"`
	Absent  []float32 `json:"absent"`
}

// NewRanking returns the empty ranking of n classes, 1 to 4,096; of others the
// error is [ErrMismatch].
func NewRanking(n int) (*Ranking, error) {
	if err := checkClasses(n); err != nil {
		return nil, err
	}
	return newRanking(n), nil
}

func newRanking(n int) *Ranking { return &Ranking{classes: make([]ranked, n)} }

// Classes is how many there are.
func (r *Ranking) Classes() int { return len(r.classes) }

// Add takes the scores of a picture, and which classes it shows.
func (r *Ranking) Add(scores []float32, present []bool) error {
	if len(scores) != len(r.classes) || len(present) != len(r.classes) {
		return fmt.Errorf("eval: %w: %d scores, %d truths, %d classes", ErrMismatch, len(scores), len(present), len(r.classes))
	}
	for _, s := range scores {
		if s != s || math.IsInf(float64(s), 0) {
			return fmt.Errorf("eval: %w: a score of %v", ErrValue, s)
		}
	}
	var own ranked
	for c, s := range scores {
		r.classes[c].add(s, present[c])
		own.add(s, present[c])
	}
	if v := own.averagePrecision(); !math.IsNaN(v) {
		r.picture.add(v)
	}
	return nil
}

func (r *ranked) add(score float32, present bool) {
	if present {
		r.Present = append(r.Present, score)
	} else {
		r.Absent = append(r.Absent, score)
	}
}

// Merge adds the pictures of other.
func (r *Ranking) Merge(other *Ranking) error {
	if len(r.classes) != len(other.classes) {
		return fmt.Errorf("eval: %w: %d and %d classes", ErrMismatch, len(r.classes), len(other.classes))
	}
	for i, o := range other.classes {
		r.classes[i].Present = append(r.classes[i].Present, o.Present...)
		r.classes[i].Absent = append(r.classes[i].Absent, o.Absent...)
	}
	r.picture.Merge(other.picture)
	return nil
}

// point is where a curve stands after all pictures of one score.
type point struct{ hits, all int }

// walk goes down the scores. Equal ones count together, so that their order
// does not matter.
func (r *ranked) walk(f func(point)) {
	present, absent := slices.Clone(r.Present), slices.Clone(r.Absent)
	slices.Sort(present)
	slices.Sort(absent)
	var p point
	for len(present) > 0 {
		score := present[len(present)-1]
		for len(present) > 0 && present[len(present)-1] == score {
			present = present[:len(present)-1]
			p.hits, p.all = p.hits+1, p.all+1
		}
		for len(absent) > 0 && absent[len(absent)-1] >= score {
			absent = absent[:len(absent)-1]
			p.all++
		}
		f(p)
	}
}

// averagePrecision is the mean, over what is present, of the precision down to
// it; NaN where nothing or everything is present.
func (r *ranked) averagePrecision() float64 {
	if len(r.Present) == 0 || len(r.Absent) == 0 {
		return math.NaN()
	}
	sum, before := 0.0, 0
	r.walk(func(p point) {
		sum += float64(p.hits-before) * float64(p.hits) / float64(p.all)
		before = p.hits
	})
	return sum / float64(len(r.Present))
}

// AveragePrecision is that of a class, over the pictures: the area under the
// steps of the precision-recall curve, without interpolation. NaN for a class
// that is in none of them or all.
func (r *Ranking) AveragePrecision(class int) float64 { return r.classes[class].averagePrecision() }

// MeanAveragePrecision is mAP over the given classes, or all; classes in no
// picture or all are left out.
func (r *Ranking) MeanAveragePrecision(classes ...int) float64 {
	var all []float64
	for _, c := range choose(len(r.classes), classes) {
		all = append(all, r.AveragePrecision(c))
	}
	return meanOf(all)
}

// PictureAveragePrecision is the mean over the pictures of the average precision
// of their own ranking of all classes.
func (r *Ranking) PictureAveragePrecision() float64 { return r.picture.Value() }

// Curve returns precision over recall of a class, a point for each distinct
// score of a picture that shows it, from the best.
func (r *Ranking) Curve(class int) (recall, precision []float64) {
	c := &r.classes[class]
	c.walk(func(p point) {
		recall = append(recall, float64(p.hits)/float64(len(c.Present)))
		precision = append(precision, float64(p.hits)/float64(p.all))
	})
	return recall, precision
}

type rankingState struct {
	Classes []ranked `json:"classes"`
	Picture Mean     `json:"picture"`
}

// MarshalJSON saves the ranking, the scores in order: what was added in
// another order is the same.
func (r *Ranking) MarshalJSON() ([]byte, error) {
	s := rankingState{make([]ranked, len(r.classes)), r.picture}
	for i, c := range r.classes {
		s.Classes[i] = ranked{slices.Clone(c.Present), slices.Clone(c.Absent)}
		slices.Sort(s.Classes[i].Present)
		slices.Sort(s.Classes[i].Absent)
	}
	return json.Marshal(s)
}

// UnmarshalJSON restores a saved ranking.
func (r *Ranking) UnmarshalJSON(data []byte) error {
	var s rankingState
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	if len(s.Classes) < 1 || len(s.Classes) > maxClasses {
		return fmt.Errorf("eval: %w: a ranking of %d classes", ErrFormat, len(s.Classes))
	}
	*r = Ranking{s.Classes, s.Picture}
	return nil
}
