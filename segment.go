package clipsurgery

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"

	"github.com/clipsurgery/clipsurgery/internal/option"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

// ErrNotPresent reports a label whose presence is below [MinPresence].
var ErrNotPresent = errors.New("not present")

// Cutout is what a label names in a picture.
type Cutout struct {
	Label string // joined by "+" with [Combine]
	// Mask is its pixels. Mask.IoU is the segmenter's prediction, for a mask of
	// several parts the lowest of theirs.
	Mask sam.Mask
	// Presence measures whether the picture shows the label: the cosine of
	// plain CLIP's class token with the label's text, minus its cosine with the
	// empty text. With [Combine] it is the lowest of the labels'.
	Presence float32
	// Heat is the label's heat map, with [Combine] the mean of the labels'. It
	// is nil where Err is not.
	Heat *surgery.HeatMap
	// Clicks are the prompts made from the heat map: one, or one for each part.
	// Results are the segmenter's answers to them, with all guesses.
	Clicks  []surgery.Clicks
	Results []sam.Result
	// Err says why there is no mask: [ErrNotPresent], or an error of
	// [surgery.Scores.Points].
	Err error
}

// Segment cuts the objects that texts name out of a picture. CLIP Surgery finds
// where each label is; clicks on and beside that place prompt the segmenter;
// its best mask is the answer.
//
// Several labels, those of [Among] included, are told apart from each other
// (the paper's label-set mode); a single one is compared with the empty text
// (its single-text mode, see [SingleText]). The result has one Cutout for each
// label, in order, or one for all with [Combine]. If a label cannot be cut out,
// Cutout.Err says why; if none can, Segment returns an error as well.
//
// Other errors are those of [vit.CLIP.EncodeLabels] and [sam.Model.Encode]. A
// picture that is nil, empty or too large is both [vit.ErrSize] and
// [sam.ErrSize]; a nil model is [vit.ErrConfig] or [sam.ErrConfig]. To segment
// many pictures, or one of them several times, make a [Segmenter].
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
	switch {
	case clip == nil:
		return nil, fmt.Errorf("clipsurgery: %w: the CLIP is nil", vit.ErrConfig)
	case model == nil:
		return nil, fmt.Errorf("clipsurgery: %w: the segmenter is nil", sam.ErrConfig)
	}
	s := &Segmenter{clip: clip, model: model, labels: slices.Clone(labels)}
	s.threshold, s.minPresence, s.templates = 0.8, float32(math.Inf(-1)), surgery.Templates()
	if err := option.Apply(&s.options, opts, Option.segment); err != nil {
		return nil, fmt.Errorf("clipsurgery: %w", err)
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
	if s.text, err = clip.EncodeLabels(ctx, all, s.templates, s.textOptions...); err != nil {
		return nil, err
	}
	s.empty, err = clip.EncodeLabels(ctx, []string{""}, s.templates)
	return s, err
}

// Segment is [Segment] with the labels and options of s.
func (s *Segmenter) Segment(ctx context.Context, img image.Image) ([]Cutout, error) {
	if err := checkPicture(img); err != nil {
		return nil, err
	}
	return s.segment(ctx, img, func() (*sam.Embedding, error) { return s.model.Encode(ctx, img) })
}

// SegmentEncoded is Segment for a picture that the segmenter has already
// encoded, for other labels or in another program ([sam.ReadEmbedding]). An
// embedding that is nil or of a picture of another size is [sam.ErrEmbedding].
func (s *Segmenter) SegmentEncoded(ctx context.Context, img image.Image, e *sam.Embedding) ([]Cutout, error) {
	if err := checkPicture(img); err != nil {
		return nil, err
	}
	if e == nil {
		return nil, fmt.Errorf("clipsurgery: %w: it is nil", sam.ErrEmbedding)
	}
	if size := img.Bounds().Size(); e.Size() != size {
		return nil, fmt.Errorf("clipsurgery: %w of a picture of %v, not %v", sam.ErrEmbedding, e.Size(), size)
	}
	return s.segment(ctx, img, func() (*sam.Embedding, error) { return e, nil })
}

// checkPicture reports a picture that is nil, empty or too large, to which both
// models have an error.
func checkPicture(img image.Image) error {
	if _, err := pix.Size(img); err != nil {
		return fmt.Errorf("clipsurgery: %w: %w: %w", vit.ErrSize, sam.ErrSize, err)
	}
	return nil
}

// segment asks for an embedding only if there is something to cut out.
func (s *Segmenter) segment(ctx context.Context, img image.Image, encoded func() (*sam.Embedding, error)) ([]Cutout, error) {
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
	e, err := encoded()
	if err != nil {
		return nil, err
	}
	results, err := s.model.Predict(ctx, e, prompts)
	if err != nil {
		return nil, err
	}
	for i := range cutouts {
		c := &cutouts[i]
		c.Results, results = results[:len(c.Clicks):len(c.Clicks)], results[len(c.Clicks):]
		if err := c.join(s.rerank); err != nil {
			return nil, err
		}
	}
	return cutouts, nil
}

// find makes heat maps and clicks.
func (s *Segmenter) find(ctx context.Context, img image.Image) ([]Cutout, error) {
	plans := []vit.Plan{surgery.CLIPSurgery()}
	if s.clip.Config().Vision.Stages != [4]int{} {
		// A ResNet's operated pool changes the class token too.
		plans = append(plans, vit.Plan{})
	}
	features, err := s.clip.EncodePlans(ctx, img, plans, s.imageOptions...)
	if err != nil {
		return nil, err
	}
	operated, plain := features[0], features[len(features)-1]
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
		s.locate(&c, scores.CombinedMap, scores.CombinedPoints, scores.CombinedPointParts)
		return []Cutout{c}, nil
	}
	cutouts := make([]Cutout, len(s.labels))
	for i, label := range s.labels {
		cutouts[i] = Cutout{Label: label, Presence: presence[i]}
		s.locate(&cutouts[i],
			func() (*surgery.HeatMap, error) { return scores.Map(i) },
			func(threshold float32) (surgery.Clicks, error) { return scores.Points(i, threshold) },
			func(threshold float32) ([]surgery.Clicks, error) { return scores.PointParts(i, threshold) })
	}
	return cutouts, nil
}

// locate gives c its clicks, whole or in parts, and its heat map, or the reason
// why it has none.
func (s *Segmenter) locate(c *Cutout, heat func() (*surgery.HeatMap, error), points func(float32) (surgery.Clicks, error), parts func(float32) ([]surgery.Clicks, error)) {
	if !(c.Presence >= s.minPresence) { // nor if one is not a number
		c.Err = fmt.Errorf("clipsurgery: %q is %w: presence %.3f, want %.3f", c.Label, ErrNotPresent, c.Presence, s.minPresence)
		return
	}
	var clicks []surgery.Clicks
	var err error
	if s.components {
		clicks, err = parts(s.threshold)
	} else {
		clicks = make([]surgery.Clicks, 1)
		clicks[0], err = points(s.threshold)
	}
	if err == nil {
		c.Heat, err = heat()
	}
	if err != nil {
		c.Err = fmt.Errorf("clipsurgery: %q: %w", c.Label, err)
		return
	}
	c.Clicks = clicks
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
