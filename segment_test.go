package clipsurgery_test

import (
	"context"
	"image"
	"math"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/untrained"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/tokenizer"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
)

func firstScene(t *testing.T) *shapes.Scene {
	all, err := shapes.Scenes()
	require.NoError(t, err)
	return &all[0]
}

// TestSegmentSteps: Segment is what its steps are one by one.
func TestSegmentSteps(t *testing.T) {
	ctx := t.Context()
	clip, model := demo(t)
	picture := firstScene(t).Picture
	labels := []string{"star", "triangle"}
	text, err := clip.EncodeLabels(ctx, labels, surgery.Templates())
	require.NoError(t, err)
	empty, err := clip.EncodeLabels(ctx, []string{""}, surgery.Templates())
	require.NoError(t, err)
	operated, err := clip.EncodeImage(ctx, picture, vit.Operate(surgery.CLIPSurgery()))
	require.NoError(t, err)
	plain, err := clip.EncodeImage(ctx, picture)
	require.NoError(t, err)
	whole, err := surgery.RemoveRedundant(plain, text, empty)
	require.NoError(t, err)
	set, err := surgery.FeatureSurgery(operated, text)
	require.NoError(t, err)
	alone, err := surgery.RemoveRedundant(operated, text, empty)
	require.NoError(t, err)
	e, err := model.Encode(ctx, picture)
	require.NoError(t, err)

	// want is the mask of clicks.
	want := func(c surgery.Clicks, err error) sam.Mask {
		require.NoError(t, err)
		r, err := model.Predict(ctx, e, []sam.Prompt{sam.Clicks(c.Foreground, c.Background)})
		require.NoError(t, err)
		return r[0].Best()
	}
	for name, c := range map[string]struct {
		scores *surgery.Scores
		opts   []clipsurgery.Option
	}{
		"label set":   {set, nil},
		"single text": {alone, []clipsurgery.Option{clipsurgery.SingleText()}},
	} {
		cutouts, err := clipsurgery.Segment(ctx, clip, model, picture, labels, c.opts...)
		require.NoError(t, err)
		require.Len(t, cutouts, 2)
		for i, got := range cutouts {
			require.NoError(t, got.Err)
			require.Equal(t, labels[i], got.Label)
			require.Equal(t, want(c.scores.Points(i, 0.8)), got.Mask, name)
			require.InDelta(t, whole.Class()[i], got.Presence, 1e-5)
			heat, err := c.scores.Map(i)
			require.NoError(t, err)
			require.Equal(t, heat, got.Heat)
		}
	}
	both, err := clipsurgery.Segment(ctx, clip, model, picture, labels, clipsurgery.Combine(), clipsurgery.Threshold(0.7))
	require.NoError(t, err)
	require.Len(t, both, 1)
	require.Equal(t, "star+triangle", both[0].Label)
	require.Equal(t, want(alone.CombinedPoints(0.7)), both[0].Mask)
	require.InDelta(t, min(whole.Class()[0], whole.Class()[1]), both[0].Presence, 1e-5)
	first, err := alone.Map(0)
	require.NoError(t, err)
	second, err := alone.Map(1)
	require.NoError(t, err)
	require.InDelta(t, (first.At(50, 60)+second.At(50, 60))/2, both[0].Heat.At(50, 60), 1e-6)

	// A label that is alone is a single text, unless others are among the rest.
	one, err := clipsurgery.Segment(ctx, clip, model, picture, labels[:1])
	require.NoError(t, err)
	require.Equal(t, want(alone.Points(0, 0.8)), one[0].Mask)
	one, err = clipsurgery.Segment(ctx, clip, model, picture, labels[:1], clipsurgery.Among("triangle", "star"))
	require.NoError(t, err)
	require.Equal(t, want(set.Points(0, 0.8)), one[0].Mask)

	// An embedding from before.
	s, err := clipsurgery.NewSegmenter(ctx, clip, model, labels)
	require.NoError(t, err)
	again, err := s.SegmentEncoded(ctx, picture, e)
	require.NoError(t, err)
	require.Equal(t, want(set.Points(1, 0.8)), again[1].Mask)
	_, err = s.SegmentEncoded(ctx, image.NewGray(image.Rect(0, 0, 50, 50)), e)
	require.ErrorIs(t, err, sam.ErrEmbedding)
}

func TestSegmentComponents(t *testing.T) {
	all, err := shapes.Scenes()
	require.NoError(t, err)
	clip, model := demo(t)
	cutouts, err := clipsurgery.Segment(t.Context(), clip, model, all[13].Picture, []string{"diamond"},
		clipsurgery.Among(shapes.Classes()...), clipsurgery.Components())
	require.NoError(t, err)
	c := cutouts[0]
	require.Len(t, c.Clicks, 2)
	require.Len(t, c.Results, 2)
	a, b := c.Results[0].Best(), c.Results[1].Best()
	union, err := a.Union(b)
	require.NoError(t, err)
	require.Equal(t, union.COCO(), c.Mask.COCO())
	require.Equal(t, min(a.IoU, b.IoU), c.Mask.IoU)
}

func TestSegmentErrors(t *testing.T) {
	clip, model := demo(t)
	picture := firstScene(t).Picture
	labels := []string{"star", "triangle"}
	ctx := t.Context()

	cutouts, err := clipsurgery.Segment(ctx, clip, model, picture, labels, clipsurgery.MinPresence(1))
	require.ErrorIs(t, err, clipsurgery.ErrNotPresent)
	require.ErrorContains(t, err, `"triangle"`)
	require.Len(t, cutouts, 2)
	for _, c := range cutouts {
		require.ErrorIs(t, c.Err, clipsurgery.ErrNotPresent)
		require.Zero(t, c.Mask)
		require.Nil(t, c.Heat)
		require.NotZero(t, c.Presence)
	}
	// One of them is found: no error but its own.
	least := (cutouts[0].Presence + cutouts[1].Presence) / 2
	some, err := clipsurgery.Segment(ctx, clip, model, picture, labels, clipsurgery.MinPresence(float64(least)))
	require.NoError(t, err)
	for i, c := range some {
		if cutouts[i].Presence < least {
			require.ErrorIs(t, c.Err, clipsurgery.ErrNotPresent)
		} else {
			require.NoError(t, c.Err)
			require.Positive(t, c.Mask.Area())
		}
	}
	_, err = clipsurgery.Segment(ctx, clip, model, picture, labels, clipsurgery.Combine(), clipsurgery.MinPresence(1))
	require.ErrorIs(t, err, clipsurgery.ErrNotPresent)

	_, err = clipsurgery.Segment(ctx, clip, model, picture, labels, clipsurgery.Threshold(2))
	require.ErrorIs(t, err, surgery.ErrThreshold)
	_, err = clipsurgery.Segment(ctx, clip, model, picture, labels, clipsurgery.Threshold(math.NaN()))
	require.ErrorIs(t, err, surgery.ErrThreshold)
	_, err = clipsurgery.Segment(ctx, clip, model, picture, []string{""})
	require.ErrorIs(t, err, surgery.ErrConstant, "the empty text is what all texts share")
	_, err = clipsurgery.Segment(ctx, clip, model, picture, nil)
	require.ErrorIs(t, err, vit.ErrEmpty)
	_, err = clipsurgery.Segment(ctx, clip, model, picture, []string{strings.Repeat("star ", 100)})
	require.ErrorIs(t, err, tokenizer.ErrTooLong)
	_, err = clipsurgery.Segment(ctx, clip, model, image.NewGray(image.Rectangle{}), labels)
	require.ErrorIs(t, err, vit.ErrSize)
	_, err = clipsurgery.Segment(ctx, clip, model, picture, labels, clipsurgery.ImageOptions(vit.Operate(surgery.CLIPSurgery())))
	require.ErrorIs(t, err, vit.ErrPlan)
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_, err = clipsurgery.Segment(ctx, clip, model, picture, labels)
	require.ErrorIs(t, err, context.Canceled)
}

// TestSegmentMisuse: what is missing is an error before any work.
func TestSegmentMisuse(t *testing.T) {
	ctx, labels := t.Context(), []string{"star"}
	clip, model := demo(t)
	picture := firstScene(t).Picture
	_, err := clipsurgery.NewSegmenter(ctx, nil, model, labels)
	require.ErrorIs(t, err, vit.ErrConfig)
	_, err = clipsurgery.NewSegmenter(ctx, clip, nil, labels)
	require.ErrorIs(t, err, sam.ErrConfig)
	_, err = clipsurgery.Segment(ctx, clip, model, picture, labels, clipsurgery.MinPresence(math.NaN()))
	require.ErrorIs(t, err, surgery.ErrThreshold)
	_, err = clipsurgery.NewSegmenter(ctx, clip, model, labels, clipsurgery.Templates("no place"))
	require.ErrorIs(t, err, vit.ErrTemplate)
	_, err = clipsurgery.NewSegmenter(ctx, clip, model, labels, clipsurgery.Templates())
	require.ErrorIs(t, err, vit.ErrEmpty)
	_, err = clipsurgery.NewSegmenter(ctx, clip, model, labels, nil, clipsurgery.Templates("{}"))
	require.NoError(t, err)
	for _, img := range []image.Image{nil, (*image.NRGBA)(nil), image.NewGray(image.Rectangle{})} {
		_, err = clipsurgery.Segment(ctx, clip, model, img, labels)
		require.ErrorIs(t, err, sam.ErrSize)
		require.ErrorIs(t, err, vit.ErrSize)
	}
	s, err := clipsurgery.NewSegmenter(ctx, clip, model, labels)
	require.NoError(t, err)
	_, err = s.SegmentEncoded(ctx, nil, new(sam.Embedding))
	require.ErrorIs(t, err, sam.ErrSize)
	for _, e := range []*sam.Embedding{nil, new(sam.Embedding)} {
		_, err = s.SegmentEncoded(ctx, picture, e)
		require.ErrorIs(t, err, sam.ErrEmbedding)
	}
}

// TestSegmentResNet: the presence is that of the untouched pool.
func TestSegmentResNet(t *testing.T) {
	ctx := t.Context()
	f, err := untrained.CLIP(untrained.ResNet(32, 64, 8, [4]int{1, 1, 1, 1}, 64))
	require.NoError(t, err)
	clip, err := vit.Load(f)
	require.NoError(t, err)
	_, model := demo(t)
	picture := firstScene(t).Picture
	s, err := clipsurgery.NewSegmenter(ctx, clip, model, []string{"star"}, clipsurgery.ImageOptions(vit.Resize(128)))
	require.NoError(t, err)
	cutouts, err := s.Segment(ctx, picture)
	require.NoError(t, err)
	plain, err := clip.EncodeImage(ctx, picture, vit.Resize(128))
	require.NoError(t, err)
	text, err := clip.EncodeLabels(ctx, []string{"star"}, surgery.Templates())
	require.NoError(t, err)
	empty, err := clip.EncodeLabels(ctx, []string{""}, surgery.Templates())
	require.NoError(t, err)
	whole, err := surgery.RemoveRedundant(plain, text, empty)
	require.NoError(t, err)
	require.Equal(t, whole.Class()[0], cutouts[0].Presence)
}
