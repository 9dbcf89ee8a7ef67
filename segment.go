package clipsurgery

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

// ErrNotPresent reports a label that the picture does not seem to show; see
// [MinPresence].
var ErrNotPresent = errors.New("not present")

// Cutout is what a label names in a picture.
type Cutout struct {
	Label string // joined by "+" with [Combine]
	// Mask is the pixels of it. Its IoU is the one that the segmenter predicts;
	// the least of them, if the mask has several parts.
	Mask sam.Mask
	// Presence says how much the picture as a whole has to do with the label:
	// the cosine of plain CLIP's class token with the label's text, minus that
	// with the empty text. With [Combine] it is the least of the labels'.
	Presence float32
	// Heat is the label's heat map; with [Combine], the mean of the labels'.
	Heat *surgery.HeatMap
	// Clicks are the prompts made of the heat map: one, or one for each part.
	// Results are the segmenter's answers to them, with all of its guesses.
	Clicks  []surgery.Clicks
	Results []sam.Result
	// Err tells why there is no mask: [ErrNotPresent], or what the heat map
	// lacks, as in [surgery.Scores.Points].
	Err error
}

// Option changes how [Segment] works.
type Option func(*options)

type options struct {
	among       []string
	single      bool
	combine     bool
	components  bool
	rerank      bool
	threshold   float32
	minPresence float32
	image       []vit.ImageOption
}

// Among gives labels that pictures may show besides those to cut out: with
// them the map of a label is freed of what it shares with others.
func Among(labels ...string) Option { return func(o *options) { o.among = labels } }

// SingleText makes the map of every label by itself, freed of what it shares
// with the empty text instead of other labels.
func SingleText() Option { return func(o *options) { o.single = true } }

// Combine cuts out what all labels name together, as one object: "person" and
// "bench" are one mask. It implies [SingleText].
func Combine() Option { return func(o *options) { o.combine, o.single = true, true } }

// Components prompts for each connected part of what the heat map has above
// the threshold by itself and joins the masks: two birds, two prompts.
func Components() Option { return func(o *options) { o.components = true } }

// Rerank takes of the segmenter's guesses the one that overlaps best with the
// heat map, instead of the one that it thinks the best.
func Rerank() Option { return func(o *options) { o.rerank = true } }

// Threshold is the value of the heat map, 0–1, from which on it is clicked;
// 0.8 by default.
func Threshold(t float32) Option { return func(o *options) { o.threshold = t } }

// MinPresence answers [ErrNotPresent] for labels with a [Cutout.Presence]
// under x. Without it every label is found somewhere. What is a good minimum
// depends on the model.
func MinPresence(x float32) Option { return func(o *options) { o.minPresence = x } }

// ImageOptions says how the picture enters CLIP, such as [vit.Resize] for
// finer maps.
func ImageOptions(opts ...vit.ImageOption) Option { return func(o *options) { o.image = opts } }

// Segment cuts out of a picture what texts name: CLIP Surgery finds where each
// label is, clicks there and beside it prompt the segmenter, and its best mask
// is the answer.
//
// Labels are told apart from each other and from those of [Among] (the paper's
// label-set mode); a label that is alone is freed of the empty text (its
// single-text mode; see [SingleText]). There is one Cutout for each label in
// their order, or one for all with [Combine]. A label that cannot be cut out
// has its reason in Cutout.Err; only if none can, Segment returns an error too.
//
// To segment many pictures make a [Segmenter].
func Segment(ctx context.Context, clip *vit.CLIP, model *sam.Model, img image.Image, labels []string, opts ...Option) ([]Cutout, error) {
	s, err := NewSegmenter(ctx, clip, model, labels, opts...)
	if err != nil {
		return nil, err
	}
	return s.Segment(ctx, img)
}

// Segmenter is [Segment] for many pictures: its labels are encoded once. It is
// immutable and safe for concurrent use.
type Segmenter struct {
	options
	clip   *vit.CLIP
	model  *sam.Model
	labels []string
	text   blas32.General // of labels, then of those of Among
	empty  blas32.General
}

// NewSegmenter encodes labels for [Segmenter.Segment].
func NewSegmenter(ctx context.Context, clip *vit.CLIP, model *sam.Model, labels []string, opts ...Option) (*Segmenter, error) {
	s := &Segmenter{clip: clip, model: model, labels: slices.Clone(labels)}
	s.threshold, s.minPresence = 0.8, float32(math.Inf(-1))
	for _, o := range opts {
		o(&s.options)
	}
	all := s.labels
	if !s.single {
		for _, other := range s.among {
			if !slices.Contains(all, other) {
				all = append(slices.Clip(all), other)
			}
		}
		s.single = len(all) == 1
	}
	var err error
	if s.text, err = clip.EncodeLabels(ctx, all, surgery.Templates()); err != nil {
		return nil, err
	}
	s.empty, err = clip.EncodeLabels(ctx, []string{""}, surgery.Templates())
	return s, err
}

// Segment is [Segment] with the labels and options of s.
func (s *Segmenter) Segment(ctx context.Context, img image.Image) ([]Cutout, error) {
	cutouts, err := s.find(ctx, img)
	if err != nil {
		return nil, err
	}
	var prompts []sam.Prompt
	var failed []error
	for _, c := range cutouts {
		for _, k := range c.Clicks {
			prompts = append(prompts, sam.Clicks(k.Foreground, k.Background))
		}
		failed = append(failed, c.Err)
	}
	if len(prompts) == 0 {
		return cutouts, errors.Join(failed...)
	}
	e, err := s.model.Encode(ctx, img)
	if err != nil {
		return nil, err
	}
	results, err := s.model.Predict(ctx, e, prompts)
	if err != nil {
		return nil, err
	}
	for i := range cutouts {
		c := &cutouts[i]
		c.Results, results = results[:len(c.Clicks)], results[len(c.Clicks):]
		if err := c.join(s.rerank); err != nil {
			return nil, err
		}
	}
	return cutouts, nil
}

// find makes heat maps and clicks.
func (s *Segmenter) find(ctx context.Context, img image.Image) ([]Cutout, error) {
	both, err := s.clip.EncodePlans(ctx, img, []vit.Plan{{}, surgery.CLIPSurgery()}, s.image...)
	if err != nil {
		return nil, err
	}
	plain, operated := both[0], both[1]
	whole, err := surgery.RemoveRedundant(plain, s.text, s.empty)
	if err != nil {
		return nil, err
	}
	presence := whole.Class()[:len(s.labels)]
	var scores *surgery.Scores
	if s.single {
		scores, err = surgery.RemoveRedundant(operated, s.text, s.empty)
	} else {
		scores, err = surgery.FeatureSurgery(operated, s.text)
	}
	if err != nil {
		return nil, err
	}
	if s.combine {
		c := Cutout{Label: strings.Join(s.labels, "+"), Presence: slices.Min(presence)}
		s.locate(&c, scores, scores.CombinedPoints, func() (*surgery.HeatMap, error) { return meanMap(scores) })
		return []Cutout{c}, nil
	}
	cutouts := make([]Cutout, len(s.labels))
	for i, label := range s.labels {
		cutouts[i] = Cutout{Label: label, Presence: presence[i]}
		s.locate(&cutouts[i], scores,
			func(threshold float32) (surgery.Clicks, error) { return scores.Points(i, threshold) },
			func() (*surgery.HeatMap, error) { return scores.Map(i) })
	}
	return cutouts, nil
}

// locate gives c its clicks and its heat map, or the reason why it has none.
func (s *Segmenter) locate(c *Cutout, scores *surgery.Scores, points func(float32) (surgery.Clicks, error), heat func() (*surgery.HeatMap, error)) {
	if c.Presence < s.minPresence {
		c.Err = fmt.Errorf("clipsurgery: %q is %w: presence %.3f, want %.3f", c.Label, ErrNotPresent, c.Presence, s.minPresence)
		return
	}
	clicks, err := points(s.threshold)
	if err == nil {
		c.Heat, err = heat()
	}
	switch {
	case err != nil:
		c.Err = fmt.Errorf("clipsurgery: %q: %w", c.Label, err)
	case s.components:
		c.Clicks = components(clicks, scores)
	default:
		c.Clicks = []surgery.Clicks{clicks}
	}
}

// meanMap is the mean of the maps of all labels.
func meanMap(scores *surgery.Scores) (*surgery.HeatMap, error) {
	var mean *surgery.HeatMap
	for label := range scores.Cols {
		m, err := scores.Map(label)
		if err != nil {
			return nil, err
		}
		if mean == nil {
			mean = &surgery.HeatMap{Width: m.Width, Height: m.Height, Values: make([]float32, len(m.Values))}
		}
		for i, v := range m.Values {
			mean.Values[i] += v / float32(scores.Cols)
		}
	}
	return mean, nil
}

// join makes the mask of the results.
func (c *Cutout) join(rerank bool) error {
	for i, r := range c.Results {
		best := r.Best()
		if rerank {
			best = nearest(r, c.Heat)
		}
		if i == 0 {
			c.Mask = best
			continue
		}
		iou := min(best.IoU, c.Mask.IoU)
		var err error
		if c.Mask, err = c.Mask.Union(best); err != nil {
			return err
		}
		c.Mask.IoU = iou
	}
	return nil
}
