package vit

import (
	"image"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// architecture is how the fixtures describe a CLIP.
type architecture struct {
	Name    string `json:"name"`
	Embed   int    `json:"embed_dim"`
	Image   int    `json:"image_resolution"`
	Layers  int    `json:"vision_layers"`
	Width   int    `json:"vision_width"`
	Patch   int    `json:"vision_patch_size"`
	Heads   int    `json:"vision_heads"`
	Context int    `json:"context_length"`
	Vocab   int    `json:"vocab_size"`

	TextWidth  int `json:"text_width"`
	TextHeads  int `json:"text_heads"`
	TextLayers int `json:"text_layers"`
}

// published architectures, for benchmarks and full-size tests.
var (
	vitB32 = architecture{"ViT-B/32", 512, 224, 12, 768, 32, 12, 77, 49408, 512, 8, 12}
	vitB16 = architecture{"ViT-B/16", 512, 224, 12, 768, 16, 12, 77, 49408, 512, 8, 12}
	vitL14 = architecture{"ViT-L/14", 768, 224, 24, 1024, 14, 16, 77, 49408, 768, 12, 12}
	tiny   = architecture{"tiny", 64, 64, 8, 128, 16, 2, 77, 49408, 64, 1, 3}
)

func (a architecture) config() Config {
	grid := a.Image / a.Patch
	return Config{
		Embed:  a.Embed,
		Vision: VisionConfig{Patch: a.Patch, Grid: image.Pt(grid, grid), Width: a.Width, Layers: a.Layers, Hidden: 4 * a.Width},
		Text:   textConfig(a.Context, a.Vocab, a.TextWidth, a.TextLayers),
	}
}

func textConfig(context, vocabulary, width, layers int) TextConfig {
	return TextConfig{Context: context, Vocabulary: vocabulary, Width: width, Layers: layers, Hidden: 4 * width}
}

// file is a checkpoint of procedural weights.
func (a architecture) file(t testing.TB) *weights.File { return procedural(t, a.config().tensors()) }

// procedural is a checkpoint of procedural weights, none of them held.
func procedural(t testing.TB, tensors []weights.TensorInfo) *weights.File {
	shapes := map[string][]int{}
	for _, info := range tensors {
		shapes[info.Name] = info.Shape
	}
	f, err := weights.FromFunc(tensors, func(name string, dst []float32) error {
		golden.WeightInto(dst, name, "", shapes[name])
		return nil
	})
	require.NoError(t, err)
	return f
}

// model is the architecture with procedural weights.
func (a architecture) model(t testing.TB, opts ...Option) *CLIP {
	opts = append([]Option{Heads(a.Heads, a.TextHeads)}, opts...)
	c, err := Load(a.file(t), opts...)
	require.NoError(t, err)
	return c
}

// fixtureModel is the model of a fixture; full sizes are behind -long.
func fixtureModel(t testing.TB, f *golden.Fixture, opts ...Option) *CLIP {
	var a architecture
	f.Arch(t, &a)
	if a.Width > 256 {
		golden.Long(t)
	}
	return a.model(t, opts...)
}

// pixelsOf turns NCHW into one Pixels per picture.
func pixelsOf(x golden.Tensor) []Pixels {
	n, h, w := x.Shape[0], x.Shape[2], x.Shape[3]
	all := make([]Pixels, n)
	for i := range all {
		all[i] = Pixels{w, h, x.F32[i*3*h*w : (i+1)*3*h*w]}
	}
	return all
}

// surgeryPlan is CLIP Surgery's, package surgery being above this one.
func surgeryPlan() Plan {
	return Plan{Blocks: 6, Beside: true, Attention: []Term{{Query: V, Key: V}}, WithoutFFN: true}
}
