package sam

import (
	"bytes"
	"errors"
	"image"
	"testing"
	"testing/fstest"

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

// requireKnown: whatever is wrong with a checkpoint has one of these kinds.
func requireKnown(t *testing.T, err error) {
	t.Helper()
	for _, kind := range []error{ErrConfig, ErrSize, weights.ErrMissing, weights.ErrSurplus, weights.ErrShape, weights.ErrDType, weights.ErrNotFinite, weights.ErrFormat} {
		if errors.Is(err, kind) {
			return
		}
	}
	t.Fatalf("untyped error: %v", err)
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

// FuzzShapes changes the tensors of a small model: three bytes each say which
// one, which of its dimensions, and what becomes of it.
func FuzzShapes(f *testing.F) {
	list := &loader{}
	(&Model{config: micro()}).build(list)
	f.Add([]byte{})
	for i := range list.want {
		i := byte(i)
		f.Add([]byte{i, 0, 0})
		f.Add([]byte{i, 1, 7, i, 0, 9, i, 2, 3})
		f.Add([]byte{i, 200, 0})
		f.Add([]byte{i, 100, 1})
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		var tensors []weights.TensorInfo
		gone := map[int]bool{}
		list := &loader{}
		(&Model{config: micro()}).build(list)
		changed := list.want
		for ; len(changes) >= 3; changes = changes[3:] {
			i, axis, value := int(changes[0])%len(changed), int(changes[1]), int(changes[2])
			c := &changed[i]
			c.Shape = append([]int{}, c.Shape...)
			switch {
			case axis >= 200:
				gone[i] = true
			case axis >= 100:
				c.Shape = append(c.Shape, value%3)
			case axis >= 50:
				c.DType = weights.DType(value % 13)
			case len(c.Shape) > 0:
				c.Shape[axis%len(c.Shape)] = value % 40
			}
		}
		for i, c := range changed {
			if !gone[i] && len(c.Shape) <= 8 && volume(c.Shape) <= 1<<18 {
				tensors = append(tensors, c)
			}
		}
		file, err := weights.FromFunc(tensors, func(_ string, dst []float32) error {
			for i := range dst {
				dst[i] = float32(i%7-3) / 8
			}
			return nil
		})
		require.NoError(t, err)
		m, err := Load(file)
		if err != nil {
			requireKnown(t, err)
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
			requireKnown(t, err)
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
