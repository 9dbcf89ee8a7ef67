package surgery

import (
	"fmt"
	"math"

	"github.com/clipsurgery/clipsurgery/internal/option"
	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

// SegmentOption is an option of [Segment] and [Label]. Of equal options the last
// counts.
type SegmentOption interface{ segment(*segmenter) error }

// segmenter is the options of a call.
type segmenter struct {
	plan       vit.Plan
	score      func(*vit.Features, blas32.General) (*Scores, error)
	windows    *vit.Windows
	encode     []vit.ImageOption
	scale      float32
	background int
	threshold  float32
	among      []bool
	pamr       *PAMR
}

type segmentOption func(*segmenter) error

func (f segmentOption) segment(s *segmenter) error { return f(s) }

// Operate encodes under a plan, as [vit.Operate] does; the default is
// [CLIPSurgery].
func Operate(p vit.Plan) SegmentOption {
	return segmentOption(func(s *segmenter) error { s.plan = p; return nil })
}

// ScoreBy computes scores by f, such as [FeatureSurgery]; the default, also for
// nil, is [Similarity].
func ScoreBy(f func(*vit.Features, blas32.General) (*Scores, error)) SegmentOption {
	return segmentOption(func(s *segmenter) error {
		if f == nil {
			f = Similarity
		}
		s.score = f
		return nil
	})
}

// ImageOptions passes options to the image encoder, such as [vit.Resize] and
// [vit.WithProgress]. A [vit.Operate] among them replaces [Operate].
func ImageOptions(opts ...vit.ImageOption) SegmentOption {
	return segmentOption(func(s *segmenter) error { s.encode = opts; return nil })
}

// SlidingWindow resizes the picture to a short side and encodes windows of it;
// where windows overlap, their scores are averaged. [DefaultWindows] is the
// protocol of SCLIP, NACLIP and others. With windows, an option that resizes is
// [vit.ErrSize], and so are windows without extent.
func SlidingWindow(w vit.Windows) SegmentOption {
	return segmentOption(func(s *segmenter) error { s.windows = &w; return nil })
}

// DefaultWindows are the windows of the field's protocol for PASCAL VOC,
// PASCAL Context and COCO: short side 336, window 224, stride 112.
func DefaultWindows() vit.Windows { return vit.Windows{ShortSide: 336, Side: 224, Stride: 112} }

// LogitScale is the factor of the scores in the softmax over all texts, whose
// probabilities [Background] compares with its threshold; without Background it
// has no effect. The default, 40, is that of SCLIP and NACLIP. A scale that is
// not finite is [ErrThreshold].
func LogitScale(x float64) SegmentOption {
	return segmentOption(func(s *segmenter) error {
		if err := checkFinite("LogitScale", x); err != nil {
			return err
		}
		s.scale = float32(x)
		return nil
	})
}

// Background assigns a class, given by its index, to pixels where the
// probability of the best class is below the threshold. Without it, or with a
// threshold of 0, every pixel gets its best class. A threshold that is not
// finite is [ErrThreshold]; an index beyond the vocabulary is [ErrLabel].
func Background(class int, threshold float64) SegmentOption {
	return segmentOption(func(s *segmenter) error {
		if err := checkFinite("Background's threshold", threshold); err != nil {
			return err
		}
		s.background, s.threshold = class, float32(threshold)
		return nil
	})
}

// checkFinite reports a value that is no number of float32.
func checkFinite(name string, x float64) error {
	if !(math.Abs(x) <= math.MaxFloat32) {
		return fmt.Errorf("%w: %s is %v, want a finite number", ErrThreshold, name, x)
	}
	return nil
}

// Among restricts the choice to classes for which present is true; nil
// restricts nothing. A list of another length than the classes is [ErrLabel].
func Among(present []bool) SegmentOption {
	return segmentOption(func(s *segmenter) error { s.among = present; return nil })
}

// Refine smooths scores along the edges of the picture before labels are
// assigned. It holds texts × pixels floats. A negative number of iterations,
// more than 1000 of them, and distances of less than one pixel are [ErrOption].
func Refine(p PAMR) SegmentOption {
	return segmentOption(func(s *segmenter) error { s.pamr = &p; return p.check() })
}

func newSegmenter(opts []SegmentOption) (*segmenter, error) {
	s := &segmenter{plan: CLIPSurgery(), score: Similarity, scale: 40}
	if err := option.Apply(s, opts, SegmentOption.segment); err != nil {
		return nil, fmt.Errorf("surgery: %w", err)
	}
	return s, nil
}
