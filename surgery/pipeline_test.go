package surgery_test

import (
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// TestPipeline compares every stage from the picture to the points with the
// reference: trained weights (the demo CLIP), drawn scenes.
func TestPipeline(t *testing.T) {
	dir := filepath.Join(golden.Root(t), "pipeline")
	var index struct {
		Nouns     []string
		Threshold float32
		Scenes    []struct {
			File  string
			Cases []struct{ Mode, Noun string }
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &index))
	stored, err := golden.ReadFile(filepath.Join(dir, "text.safetensors"))
	require.NoError(t, err)

	// A tenth of the suggested tolerance, absolute, of unit rows.
	const tolerance = 2e-6
	f, err := shapes.CLIP()
	require.NoError(t, err)
	clip, err := vit.Load(f)
	require.NoError(t, err)
	text, err := clip.EncodeLabels(t.Context(), index.Nouns, surgery.Templates())
	require.NoError(t, err)
	golden.Close(t, "text", text.Data, stored["text"].F32, tolerance)
	empty, err := clip.EncodeLabels(t.Context(), []string{""}, surgery.Templates())
	require.NoError(t, err)
	golden.Close(t, "empty", empty.Data, stored["empty"].F32, tolerance)

	for _, scene := range index.Scenes {
		t.Run(strings.TrimSuffix(scene.File, ".safetensors"), func(t *testing.T) {
			stored, err := golden.ReadFile(filepath.Join(dir, scene.File))
			require.NoError(t, err)
			picture := picture(stored["picture"])
			raw, err := clip.EncodeImage(t.Context(), picture)
			require.NoError(t, err)
			golden.Close(t, "raw96.features", unitRows(raw.Tokens), stored["raw96.features"].F32, tolerance)
			modes := make(map[string]*surgery.Scores)
			for size, name := range map[int]string{96: "cs96", 192: "cs192"} {
				features, err := clip.EncodeImage(t.Context(), picture, vit.Resize(size), vit.Operate(surgery.CLIPSurgery()))
				require.NoError(t, err)
				golden.Close(t, name+".features", unitRows(features.Tokens), stored[name+".features"].F32, tolerance)
				labelSet, err := surgery.FeatureSurgery(features, text)
				require.NoError(t, err)
				golden.Close(t, name+".label_set", labelSet.Data, stored[name+".label_set"].F32, tolerance)
				single, err := surgery.RemoveRedundant(features, text, empty)
				require.NoError(t, err)
				golden.Close(t, name+".single", single.Data, stored[name+".single"].F32, tolerance)
				if size == 96 {
					modes["label_set"], modes["single"] = labelSet, single
				}
			}
			features, err := clip.EncodeImage(t.Context(), picture, vit.Operate(surgery.CLIPSurgery()))
			require.NoError(t, err)
			for _, c := range scene.Cases {
				var got surgery.Clicks
				if scores, ok := modes[c.Mode]; ok {
					got, err = scores.Points(indexOf(index.Nouns, c.Noun), index.Threshold)
				} else {
					var several blas32.General
					several, err = clip.EncodeLabels(t.Context(), strings.Split(c.Noun, "+"), surgery.Templates())
					require.NoError(t, err)
					combined, err2 := surgery.RemoveRedundant(features, several, empty)
					require.NoError(t, err2)
					got, err = combined.CombinedPoints(index.Threshold)
				}
				require.NoError(t, err)
				name := c.Mode + "." + c.Noun
				require.Equal(t, clicks(stored[name+".points"].I32, stored[name+".labels"].I32), got, name)
			}
		})
	}
}

// clicks splits the reference's points by their labels.
func clicks(points, labels []int32) surgery.Clicks {
	var c surgery.Clicks
	for i, label := range labels {
		p := image.Pt(int(points[2*i]), int(points[2*i+1]))
		if label == 1 {
			c.Foreground = append(c.Foreground, p)
		} else {
			c.Background = append(c.Background, p)
		}
	}
	return c
}

func picture(t golden.Tensor) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, t.Shape[1], t.Shape[0]))
	for i := range t.Shape[0] * t.Shape[1] {
		copy(img.Pix[4*i:], t.U8[3*i:3*i+3])
		img.Pix[4*i+3] = 255
	}
	return img
}

func unitRows(m blas32.General) []float32 {
	var out []float32
	for i := range m.Rows {
		row := m.Data[i*m.Stride:][:m.Cols]
		norm := blas32.Nrm2(blas32.Vector{N: m.Cols, Inc: 1, Data: row})
		for _, v := range row {
			out = append(out, v/norm)
		}
	}
	return out
}

func indexOf(list []string, s string) int {
	for i, v := range list {
		if v == s {
			return i
		}
	}
	return -1
}
