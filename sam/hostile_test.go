package sam

import (
	"bytes"
	"image"
	"testing"
	"testing/fstest"

	"github.com/clipsurgery/clipsurgery/internal/hostile"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// micro is a model small enough to be loaded thousands of times.
func micro() Config {
	return Config{
		ImageSize: 32, PatchSize: 8, PromptWidth: 16, MaskChannels: 4, Masks: 4,
		DecoderDepth: 1, DecoderHeads: 8, DecoderHidden: 16, DecoderEps: 1e-5, CrossWidth: 8, IoUDepth: 2, IoUHidden: 8,
		ViT: &ViTConfig{Width: 16, Depth: 2, Heads: 2, Hidden: 16, Eps: 1e-6, Windows: []int{2, 0}, Tables: []int{3, 7}},
	}
}

// use runs a model that loaded, whatever comes out.
func use(t *testing.T, m *Model) {
	if m.Config().ImageSize > 128 {
		return // sound, but slow
	}
	e, err := m.Encode(t.Context(), image.NewGray(image.Rect(0, 0, 20, 12)))
	if err != nil {
		require.ErrorIs(t, err, ErrSize)
		return
	}
	_, err = m.Predict(t.Context(), e, []Prompt{{Points: []Point{{3, 4, Foreground}}}, {Box: &Box{1, 2, 9, 8}, Single: true}})
	require.NoError(t, err)
}

// FuzzShapes changes the tensors of a small model.
func FuzzShapes(f *testing.F) {
	tensors := tensorsOf(micro())
	hostile.Add(f, len(tensors))
	f.Fuzz(func(t *testing.T, changes []byte) {
		m, err := Load(hostile.File(t, tensors, changes))
		if err != nil {
			hostile.RequireKnown(t, err, ErrConfig, ErrSize)
			return
		}
		use(t, m)
	})
}

// FuzzConfig puts anything beside the weights of a small model.
func FuzzConfig(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, weights.Write(f.Context(), &b, procedural(f, micro()), weights.F32))
	for _, config := range []string{
		`{"vision_config":{"layer_norm_eps":1e-6,"window_size":2,"global_attn_indexes":[1]},"mask_decoder_config":{"layer_norm_eps":1e-6,"num_attention_heads":4}}`,
		`{"vision_config":{"window_size":-2,"global_attn_indexes":[]}}`, `{"vision_config":{"window_size":9223372036854775807,"global_attn_indexes":[-1]}}`,
		`{"mask_decoder_config":{"num_attention_heads":0}}`, `[]`,
	} {
		f.Add([]byte(config))
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		file, err := weights.OpenFS(fstest.MapFS{"model.safetensors": {Data: b.Bytes()}, "config.json": {Data: config}}, ".")
		require.NoError(t, err)
		m, err := Load(file)
		if err != nil {
			hostile.RequireKnown(t, err, ErrConfig, ErrSize)
			return
		}
		use(t, m)
	})
}

// TestNegativeVariance: a batch norm without a root is an error, not a model
// that answers NaN.
func TestNegativeVariance(t *testing.T) {
	c := micro()
	c.ViT, c.ImageSize, c.PatchSize = nil, tinySide, tinyPatch
	c.Tiny = &TinyViTConfig{Widths: [4]int{16, 32, 40, 320}, Depths: [4]int{1, 1, 1, 1}}
	const norm = "image_encoder.patch_embed.seq.0.bn"
	_, err := Load(checkpoint(t, c, func(dst []float32, tensor string, shape []int) {
		for i := range dst {
			dst[i] = 0.5
			if tensor == norm+".running_var" {
				dst[i] = -1
			}
		}
	}))
	require.ErrorIs(t, err, weights.ErrNotFinite)
	require.ErrorContains(t, err, norm)
}
