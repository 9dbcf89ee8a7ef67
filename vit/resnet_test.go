package vit

import (
	"context"
	"fmt"
	"image"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// resNetArchitecture is how the fixtures describe a CLIP with a ResNet.
type resNetArchitecture struct {
	Name    string `json:"name"`
	Embed   int    `json:"embed_dim"`
	Image   int    `json:"image_resolution"`
	Layers  [4]int `json:"vision_layers"`
	Width   int    `json:"vision_width"`
	Context int    `json:"context_length"`
	Vocab   int    `json:"vocab_size"`

	TextWidth  int `json:"text_width"`
	TextHeads  int `json:"text_heads"`
	TextLayers int `json:"text_layers"`
}

// OpenAI's ResNets.
var (
	rn50    = resNetArchitecture{"RN50", 1024, 224, [4]int{3, 4, 6, 3}, 64, 77, 49408, 512, 8, 12}
	rn101   = resNetArchitecture{"RN101", 512, 224, [4]int{3, 4, 23, 3}, 64, 77, 49408, 512, 8, 12}
	rn50x4  = resNetArchitecture{"RN50x4", 640, 288, [4]int{4, 6, 10, 6}, 80, 77, 49408, 640, 10, 12}
	rn50x16 = resNetArchitecture{"RN50x16", 768, 384, [4]int{6, 8, 18, 8}, 96, 77, 49408, 768, 12, 12}
	rn50x64 = resNetArchitecture{"RN50x64", 1024, 448, [4]int{3, 15, 36, 10}, 128, 77, 49408, 1024, 16, 12}
	tinyRN  = resNetArchitecture{"tinyRN", 64, 128, [4]int{1, 1, 2, 1}, 8, 77, 49408, 64, 1, 3}
)

// tensors lists the tensors of a checkpoint in OpenAI's layout.
func (a resNetArchitecture) tensors() []weights.TensorInfo {
	var all []weights.TensorInfo
	add := func(name string, shape ...int) {
		all = append(all, weights.TensorInfo{Name: name, Shape: shape})
	}
	conv := func(weight, norm string, out, in, side int) {
		add(weight, out, in, side, side)
		for _, name := range []string{".weight", ".bias", ".running_mean", ".running_var"} {
			add(norm+name, out)
		}
		add(norm + ".num_batches_tracked")
	}
	conv("visual.conv1.weight", "visual.bn1", a.Width/2, 3, 3)
	conv("visual.conv2.weight", "visual.bn2", a.Width/2, a.Width/2, 3)
	conv("visual.conv3.weight", "visual.bn3", a.Width, a.Width/2, 3)
	in := a.Width
	for i, blocks := range a.Layers {
		width := a.Width << i
		for j := range blocks {
			p := fmt.Sprintf("visual.layer%d.%d.", 1+i, j)
			conv(p+"conv1.weight", p+"bn1", width, in, 1)
			conv(p+"conv2.weight", p+"bn2", width, width, 3)
			conv(p+"conv3.weight", p+"bn3", 4*width, width, 1)
			if j == 0 {
				conv(p+"downsample.0.weight", p+"downsample.1", 4*width, in, 1)
			}
			in = 4 * width
		}
	}
	grid := a.Image / 32
	add("visual.attnpool.positional_embedding", 1+grid*grid, in)
	for _, name := range []string{"q_proj", "k_proj", "v_proj"} {
		add("visual.attnpool."+name+".weight", in, in)
		add("visual.attnpool."+name+".bias", in)
	}
	add("visual.attnpool.c_proj.weight", a.Embed, in)
	add("visual.attnpool.c_proj.bias", a.Embed)
	text := architecture{Embed: a.Embed, Patch: 1, Context: a.Context, Vocab: a.Vocab, TextWidth: a.TextWidth, TextLayers: a.TextLayers}
	for _, info := range text.tensors() {
		if !strings.HasPrefix(info.Name, "visual.") {
			all = append(all, info)
		}
	}
	return all
}

func (a resNetArchitecture) file(t testing.TB) *weights.File {
	shapes := map[string][]int{}
	for _, info := range a.tensors() {
		shapes[info.Name] = info.Shape
	}
	f, err := weights.FromFunc(a.tensors(), func(name string, dst []float32) error {
		golden.WeightInto(dst, name, "", shapes[name])
		return nil
	})
	require.NoError(t, err)
	return f
}

// model is the architecture with procedural weights.
func (a resNetArchitecture) model(t testing.TB, opts ...Option) *CLIP {
	c, err := Load(a.file(t), opts...)
	require.NoError(t, err)
	return c
}

func TestResNetFixtures(t *testing.T) {
	for _, f := range golden.All(t, "clip_resnet") {
		t.Run(f.File, func(t *testing.T) {
			var a resNetArchitecture
			f.Arch(t, &a)
			if a.Width > 16 {
				golden.Long(t)
			}
			for _, k := range simd.All() {
				if a.Width > 16 && k != simd.Best() {
					continue
				}
				checkResNet(t, f, a.model(t, WithKernel(k)))
			}
		})
	}
}

func checkResNet(t *testing.T, f *golden.Fixture, c *CLIP) {
	kind, _, _ := strings.Cut(strings.TrimPrefix(f.File, "clip_resnet/"), "_")
	plan := Plan{}
	if kind == "cs" {
		plan = surgeryPlan()
	}
	features, seen := traced(t, c, pixelsOf(f.Input(t, "image")), []Plan{plan})
	for _, output := range f.Outputs() {
		switch {
		case output == "cosine_cls_to_tokens":
			f.Check(t, output, cosines(features[0][0]))
		case output == "features" && kind == "openai":
			f.Check(t, output, features[0][0].Tokens.Data[:c.config.Embed])
		case output == "features":
			f.Check(t, output, joined(features, 0))
		default:
			shape := f.OutputsRaw[output].Shape
			f.Check(t, output, planes(seen[output], shape[1]))
		}
	}
}

// planes is rows of pixels as [channels, pixels].
func planes(rows []float32, channels int) []float32 {
	n := len(rows) / channels
	out := make([]float32, 0, len(rows))
	for c := range channels {
		for i := range n {
			out = append(out, rows[i*channels+c])
		}
	}
	return out
}

func TestResNetConfig(t *testing.T) {
	c := tinyRN.model(t)
	v := c.Config().Vision
	require.Equal(t, VisionConfig{Patch: 32, Grid: image.Pt(4, 4), Width: 8, Layers: 5, Heads: 4,
		Stages: [4]int{1, 1, 2, 1}, Activation: simd.ReLU, Eps: 1e-5}, v)
	require.Equal(t, 128, v.Size())
	p, err := c.Preprocess(scene(100, 70), ShortSide(128))
	require.NoError(t, err)
	require.Equal(t, image.Pt(192, 128), image.Pt(p.Width, p.Height))
	features, err := c.EncodeImage(context.Background(), scene(100, 70), ShortSide(128))
	require.NoError(t, err)
	require.Equal(t, image.Pt(6, 4), features.Grid)
}
