package surgery

import (
	"context"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/vit"
)

// Segment assigns a class of the vocabulary to every pixel of a picture.
func Segment(ctx context.Context, clip *vit.CLIP, img image.Image, v *Vocabulary, opts ...SegmentOption) (*LabelMap, error) {
	s, err := newSegmenter(opts)
	if err != nil {
		return nil, err
	}
	if err := v.check(); err != nil {
		return nil, err
	}
	features, err := s.features(ctx, clip, img)
	if err != nil {
		return nil, err
	}
	scores := make([]*Scores, len(features))
	for i, f := range features {
		if scores[i], err = s.score(f, v.Text); err != nil {
			return nil, err
		}
	}
	return s.label(ctx, clip.Workers(), img, scores, v)
}

func (s *segmenter) features(ctx context.Context, clip *vit.CLIP, img image.Image) ([]*vit.Features, error) {
	opts := append([]vit.ImageOption{vit.Operate(s.plan)}, s.encode...)
	if s.windows != nil {
		return clip.EncodeWindows(ctx, img, *s.windows, opts...)
	}
	f, err := clip.EncodeImage(ctx, img, opts...)
	return []*vit.Features{f}, err
}

// Label is the second half of [Segment], for given scores of the whole picture
// or of windows that cover it. Scores are scaled to the picture's size,
// bilinearly with half-pixel centers; every pixel gets the class whose texts
// have the highest score, of equal ones the first. Pixels that no scores cover
// become [Ignore]. The picture itself is used only by [Refine]. Source:
// sinahmr/NACLIP naclip.py; there, windows are averaged before they are scaled
// to the original picture's size.
func Label(ctx context.Context, img image.Image, scores []*Scores, v *Vocabulary, opts ...SegmentOption) (*LabelMap, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	s, err := newSegmenter(opts)
	if err != nil {
		return nil, err
	}
	return s.label(ctx, simd.NewWorkers(0), img, scores, v)
}

func (s *segmenter) label(ctx context.Context, workers *simd.Workers, img image.Image, scores []*Scores, v *Vocabulary) (*LabelMap, error) {
	if s.threshold > 0 && (s.background < 0 || s.background >= len(v.Classes)) {
		return nil, fmt.Errorf("surgery: %w: background is class %d of %d", ErrLabel, s.background, len(v.Classes))
	}
	if s.among != nil && len(s.among) != len(v.Classes) {
		return nil, fmt.Errorf("surgery: %w: choice among %d classes of %d", ErrLabel, len(s.among), len(v.Classes))
	}
	m, err := newMosaic(scores, v.Text.Rows)
	if err != nil {
		return nil, err
	}
	k := scores[0].k()
	out := NewLabelMap(m.size)
	team, err := workers.Team(ctx)
	if err != nil {
		return nil, err
	}
	defer team.Close()
	if s.pamr == nil {
		lines := make([]*line, team.Size())
		team.Do(m.size.Y, func(worker, y int) {
			if ctx.Err() != nil {
				return
			}
			if lines[worker] == nil {
				lines[worker] = m.newLine()
			}
			l := lines[worker]
			m.row(k, l, y)
			for x := range m.size.X {
				values := l.values[x*m.texts : (x+1)*m.texts]
				out.Labels[y*out.Width+x] = s.pixel(k, values, l.counts[x] > 0, v)
			}
		})
		return out, ctx.Err()
	}
	if err := s.labelRefined(ctx, k, team, img, m, v, out); err != nil {
		return nil, err
	}
	return out, nil
}

// labelRefined holds the scores of all pixels, one plane per text.
func (s *segmenter) labelRefined(ctx context.Context, k simd.Kernel, team *simd.Team, img image.Image, m *mosaic, v *Vocabulary, out *LabelMap) error {
	if img == nil {
		return fmt.Errorf("surgery: %w: refinement without the picture", ErrGrid)
	}
	if size := img.Bounds().Size(); size != m.size {
		return fmt.Errorf("surgery: %w: picture of %v, scores of one of %v", ErrGrid, size, m.size)
	}
	pixels := m.size.X * m.size.Y
	planes := make([][]float32, m.texts)
	for c := range planes {
		planes[c] = make([]float32, pixels)
	}
	l := m.newLine()
	covered := make([]bool, pixels)
	for y := range m.size.Y {
		m.row(k, l, y)
		for x := range m.size.X {
			i := y*m.size.X + x
			covered[i] = l.counts[x] > 0
			for c := range planes {
				planes[c][i] = l.values[x*m.texts+c]
			}
		}
	}
	if err := s.pamr.refine(ctx, team, img, planes); err != nil {
		return err
	}
	values := make([]float32, m.texts)
	for i := range out.Labels {
		for c := range planes {
			values[c] = planes[c][i]
		}
		out.Labels[i] = s.pixel(k, values, covered[i], v)
	}
	return nil
}

// pixel takes the label of a pixel; values may be changed.
func (s *segmenter) pixel(k simd.Kernel, values []float32, covered bool, v *Vocabulary) uint16 {
	if !covered {
		return Ignore
	}
	best := -1
	for i, x := range values {
		if (s.among == nil || s.among[v.Of[i]]) && (best < 0 || x > values[best]) {
			best = i
		}
	}
	if best < 0 {
		return Ignore
	}
	if s.threshold > 0 {
		for i := range values {
			values[i] *= s.scale
		}
		k.Softmax(values)
		if !(values[best] >= s.threshold) {
			return uint16(s.background)
		}
	}
	return uint16(v.Of[best])
}
