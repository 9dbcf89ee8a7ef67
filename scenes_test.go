package clipsurgery_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"testing"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
)

var scenesFolder = flag.String("scenes", "", "folder of scenes that tools/shapes/scenes.py drew, measured instead of the 24 embedded ones")

// scenes returns drawn scenes and, by the name of its prompts, the mean IoU that
// the reference implementations reach on them.
func scenes(t *testing.T) ([]shapes.Scene, map[string]float64) {
	all, err := shapes.Scenes()
	if *scenesFolder != "" {
		all, err = shapes.ReadScenes(os.DirFS(*scenesFolder))
	}
	require.NoError(t, err)
	for _, name := range []string{"metrics-24.json", "metrics.json", "metrics-fresh.json"} {
		data, err := os.ReadFile(filepath.Join(golden.Root(t), "..", "shapes", name))
		require.NoError(t, err)
		var metrics struct {
			Scenes, Seed int
			Prompts      map[string]struct{ MIoU float64 }
		}
		require.NoError(t, json.Unmarshal(data, &metrics))
		if metrics.Scenes != len(all) || metrics.Seed != all[0].Seed {
			continue
		}
		reference := map[string]float64{}
		for prompt, m := range metrics.Prompts {
			reference[prompt] = m.MIoU
		}
		return all, reference
	}
	t.Fatalf("no metrics of %d scenes from seed %d", len(all), all[0].Seed)
	return nil, nil
}

// demo is the embedded models.
func demo(t testing.TB) (*vit.CLIP, *sam.Model) {
	f, err := shapes.CLIP()
	require.NoError(t, err)
	clip, err := vit.Load(f)
	require.NoError(t, err)
	f, err = shapes.SAM()
	require.NoError(t, err)
	model, err := sam.Load(f)
	require.NoError(t, err)
	return clip, model
}

// labelSets are the nouns, and the colored shapes with the grounds.
func labelSets() map[string][]string {
	nouns := shapes.Classes()
	pairs := append(slices.Clone(nouns[:8]), shapes.ColoredShapes()...)
	return map[string][]string{"shape": nouns, "pair": pairs}
}

// things is how many objects of a scene a noun or a colored shape names.
func things(s *shapes.Scene, name string) int {
	n := 0
	for _, thing := range s.Things {
		if name == thing.Name || name == thing.Shape {
			n++
		}
	}
	return n
}

// average is the mean of what is added to it.
type average struct {
	sum float64
	n   int
}

func (a *average) add(v float64)  { a.sum, a.n = a.sum+v, a.n+1 }
func (a *average) value() float64 { return a.sum / float64(max(a.n, 1)) }
func iou(t *testing.T, a, b sam.Mask) float64 {
	v, err := sam.IoU(a, b)
	require.NoError(t, err)
	return v
}

// outcome is what masks of texts are worth.
type outcome struct {
	one    average // IoU, of texts that name one object
	many   average // IoU with all of them, of texts that name several
	oracle average // IoU of the segmenter's best guess, of texts that name one
	// Presence of texts that the picture shows, grounds included, and of others.
	present, absent []float32
}

// cutOut measures text to mask on scenes, with all labels of a set.
func cutOut(t *testing.T, clip *vit.CLIP, model *sam.Model, all []shapes.Scene, labels []string, opts ...clipsurgery.Option) *outcome {
	s, err := clipsurgery.NewSegmenter(t.Context(), clip, model, labels, opts...)
	require.NoError(t, err)
	var o outcome
	for i := range all {
		scene := &all[i]
		cutouts, err := s.Segment(t.Context(), scene.Picture)
		require.NoError(t, err)
		for _, c := range cutouts {
			n := things(scene, c.Label)
			if n == 0 && !slices.Contains(scene.Grounds, c.Label) {
				o.absent = append(o.absent, c.Presence)
				continue
			}
			o.present = append(o.present, c.Presence)
			truth := sam.MaskOf(scene.NounMask(c.Label))
			switch {
			case n > 1:
				o.many.add(iou(t, c.Mask, truth))
			case n == 1:
				require.NoError(t, c.Err)
				o.one.add(iou(t, c.Mask, truth))
				best := 0.
				for _, m := range c.Results[0].Masks {
					best = max(best, iou(t, m, truth))
				}
				o.oracle.add(best)
			}
		}
	}
	return &o
}

// auroc is the probability that one of present is above one of absent.
func auroc(present, absent []float32) float64 {
	absent = slices.Clone(absent)
	slices.Sort(absent)
	below := 0
	for _, v := range present {
		// Half of the equal ones, by counting those below and those not above.
		below += sort.Search(len(absent), func(i int) bool { return absent[i] >= v }) +
			sort.Search(len(absent), func(i int) bool { return absent[i] > v })
	}
	return float64(below) / 2 / float64(len(present)*len(absent))
}

// refused is the share of absent that a minimum refuses under which only a
// share of present is.
func refused(present, absent []float32, share float64) (minimum float32, of float64) {
	present = slices.Clone(present)
	slices.Sort(present)
	minimum = present[int(share*float64(len(present)))]
	n := 0
	for _, v := range absent {
		if v < minimum {
			n++
		}
	}
	return minimum, float64(n) / float64(len(absent))
}

// TestScenes: masks of texts and of boxes are as good as the reference
// implementations'.
func TestScenes(t *testing.T) {
	all, reference := scenes(t)
	clip, model := demo(t)
	for kind, labels := range labelSets() {
		for variant, opts := range map[string][]clipsurgery.Option{
			"label set":          nil,
			"single text":        {clipsurgery.SingleText()},
			"label set, 192px":   {clipsurgery.ImageOptions(vit.Resize(192))},
			"single text, 192px": {clipsurgery.SingleText(), clipsurgery.ImageOptions(vit.Resize(192))},
		} {
			if kind == "pair" && opts != nil && *scenesFolder == "" {
				continue // 88 labels on every scene take their time
			}
			got := cutOut(t, clip, model, all, labels, opts...).one
			want, ok := reference["CS "+variant+" -> SAM, "+kind+" texts"]
			require.True(t, ok)
			t.Logf("%s, %s: IoU %.4f of %d texts, the reference's %.4f", kind, variant, got.value(), got.n, want)
			require.InDelta(t, want, got.value(), 0.01)
		}
	}
	var boxes average
	for i := range all {
		e, err := model.Encode(t.Context(), all[i].Picture)
		require.NoError(t, err)
		var prompts []sam.Prompt
		for _, thing := range all[i].Things {
			b := thing.Box
			prompts = append(prompts, sam.Prompt{Single: true,
				Box: &sam.Box{X0: float32(b.Min.X), Y0: float32(b.Min.Y), X1: float32(b.Max.X - 1), Y1: float32(b.Max.Y - 1)}})
		}
		results, err := model.Predict(t.Context(), e, prompts)
		require.NoError(t, err)
		for j, r := range results {
			boxes.add(iou(t, r.Best(), sam.MaskOf(all[i].Mask(j))))
		}
	}
	t.Logf("boxes: IoU %.4f of %d, the reference's %.4f", boxes.value(), boxes.n, reference["SAM, box"])
	require.InDelta(t, reference["SAM, box"], boxes.value(), 0.01)
}

// TestOptionsGain measures what the options are worth beyond the reference.
func TestOptionsGain(t *testing.T) {
	all, _ := scenes(t)
	clip, model := demo(t)
	for kind, labels := range labelSets() {
		if kind == "pair" && *scenesFolder == "" {
			continue
		}
		measure := func(name string, opts ...clipsurgery.Option) *outcome {
			o := cutOut(t, clip, model, all, labels, opts...)
			t.Logf("%s, %s: one %.4f (%d), oracle %.4f, many %.4f (%d)", kind, name,
				o.one.value(), o.one.n, o.oracle.value(), o.many.value(), o.many.n)
			return o
		}
		plain := measure("no option")
		parts := measure("components", clipsurgery.Components())
		ranked := measure("reranked", clipsurgery.Rerank())
		measure("both", clipsurgery.Components(), clipsurgery.Rerank())

		require.Greater(t, parts.many.value(), plain.many.value()+0.05, "components are for several objects")
		require.Greater(t, parts.one.value(), plain.one.value()-0.02, "and cost little for one")
		require.Greater(t, ranked.one.value(), plain.one.value(), "reranking gains")
		require.Equal(t, plain.oracle.value(), ranked.oracle.value())

		area := auroc(plain.present, plain.absent)
		minimum, share := refused(plain.present, plain.absent, 0.05)
		t.Logf("%s, presence: AUROC %.4f of %d present and %d absent; a minimum of %.4f refuses 5%% of those and %.1f%% of these",
			kind, area, len(plain.present), len(plain.absent), minimum, 100*share)
		require.Greater(t, area, 0.95)
	}
}
