package clipsurgery

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

var scenesFolder = flag.String("scenes", "", "folder of drawn scenes that are measured instead of the 24 embedded ones")

// scenes returns the drawn scenes and what the reference implementations score
// on as many of them.
func scenes(t *testing.T) ([]shapes.Scene, map[string]struct{ MIoU float64 }) {
	all, err := shapes.Scenes()
	metrics := "metrics-24.json"
	if *scenesFolder != "" {
		all, err = shapes.ReadScenes(os.DirFS(*scenesFolder))
		metrics = "metrics.json"
	}
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(golden.Root(t), "..", "shapes", metrics))
	require.NoError(t, err)
	var reference struct {
		Scenes, Seed int
		Prompts      map[string]struct{ MIoU float64 }
	}
	require.NoError(t, json.Unmarshal(data, &reference))
	require.Len(t, all, reference.Scenes)
	require.Equal(t, all[0].Seed, reference.Seed)
	return all, reference.Prompts
}

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

// colouredShapes are the 80 of them.
func colouredShapes() []string {
	var all []string
	for _, colour := range []string{"red", "green", "blue", "yellow", "purple", "orange", "white", "black"} {
		for _, shape := range shapes.Classes()[8:] {
			all = append(all, colour+" "+shape)
		}
	}
	return all
}

// mean is a mean of what is added to it.
type mean struct{ sum, n float64 }

func (m *mean) add(v float64) { m.sum, m.n = m.sum+v, m.n+1 }
func (m *mean) of() float64   { return m.sum / max(m.n, 1) }

// count is how many things of a scene a noun or a coloured shape names.
func count(s *shapes.Scene, name string) int {
	n := 0
	for _, thing := range s.Things {
		if name == thing.Name || name == thing.Shape {
			n++
		}
	}
	return n
}

// only returns s for some of its labels, still told apart from all.
func (s *Segmenter) only(labels []string) *Segmenter {
	part := *s
	part.labels = labels
	order := slices.Clone(labels)
	for _, l := range s.labels {
		if !slices.Contains(labels, l) {
			order = append(order, l)
		}
	}
	part.text = blas32.General{Rows: s.text.Rows, Cols: s.text.Cols, Stride: s.text.Cols}
	for _, l := range order {
		part.text.Data = append(part.text.Data, s.text.Data[slices.Index(s.labels, l)*s.text.Stride:][:s.text.Cols]...)
	}
	return &part
}

// auroc is the probability that one of present is above one of absent.
func auroc(present, absent []float32) float64 {
	slices.Sort(absent)
	var above float64
	for _, v := range present {
		lo, _ := slices.BinarySearch(absent, v)
		hi, _ := slices.BinarySearchFunc(absent, v, func(a, v float32) int { return cmp.Or(cmp.Compare(a, v), -1) })
		above += float64(lo+hi) / 2
	}
	return above / float64(len(present)*len(absent))
}

func TestScenes(t *testing.T) {
	all, reference := scenes(t)
	clip, model := demo(t)
	ctx := context.Background()
	grounds := shapes.Classes()[:8]
	sets := map[string][]string{
		"shape": shapes.Classes(),
		"pair":  append(slices.Clone(colouredShapes()), grounds...),
	}
	variants := []struct {
		name string
		opts []Option
	}{
		{"label set", nil}, {"label set, components", []Option{Components()}},
		{"label set, reranked", []Option{Rerank()}},
		{"label set, both", []Option{Components(), Rerank()}},
	}
	for _, kind := range []string{"shape", "pair"} {
		for _, v := range variants {
			s, err := NewSegmenter(ctx, clip, model, sets[kind], v.opts...)
			require.NoError(t, err)
			one, many, oracle := mean{}, mean{}, mean{}
			var present, absent []float32
			for i := range all {
				scene := &all[i]
				var names []string
				for _, name := range sets[kind] {
					if count(scene, name) > 0 {
						names = append(names, name)
					}
				}
				cut, err := s.only(names).Segment(ctx, scene.Picture)
				require.NoError(t, err)
				for _, c := range cut {
					truth := sam.MaskOf(scene.NounMask(c.Label))
					iou, err := sam.IoU(c.Mask, truth)
					require.NoError(t, err)
					if count(scene, c.Label) > 1 {
						many.add(iou)
						continue
					}
					one.add(iou)
					best := 0.
					for _, m := range c.Results[0].Masks {
						iou, err := sam.IoU(m, truth)
						require.NoError(t, err)
						best = max(best, iou)
					}
					oracle.add(best)
				}
				if v.name == "label set" {
					q := s.only(sets[kind])
					q.threshold = 2
					cut, _ := q.find(ctx, scene.Picture)
					for _, c := range cut {
						if count(scene, c.Label) > 0 || slices.Contains(scene.Grounds, c.Label) {
							present = append(present, c.Presence)
						} else {
							absent = append(absent, c.Presence)
						}
					}
				}
			}
			want := reference["CS "+v.name+" -> SAM, "+kind+" texts"].MIoU
			fmt.Printf("%s %s: one %.4f (%v; want %.4f) oracle %.4f many %.4f (%v)\n", kind, v.name, one.of(), one.n, want, oracle.of(), many.of(), many.n)
			if present != nil {
				fmt.Printf("  auroc %.4f %d %d\n", auroc(present, absent), len(present), len(absent))
			}
		}
	}
	_ = math.Inf
	_ = surgery.Templates
}
