package sam

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/clipsurgery/clipsurgery/internal/hostile"
	"github.com/clipsurgery/clipsurgery/internal/nn"
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

// microTiny is micro with a TinyViT.
func microTiny() Config {
	c := micro()
	c.ViT, c.ImageSize, c.PatchSize = nil, tinySide, tinyPatch
	c.Tiny = &TinyViTConfig{Widths: [4]int{16, 32, 40, 320}, Depths: [4]int{1, 1, 1, 1}}
	return c
}

// use loads a model and runs it: whatever its sizes are, there is an error that
// is documented or an answer that is a number.
func use(t testing.TB, f *weights.File, opts ...Option) {
	m, err := Load(f, append(opts, WithWorkers(1))...) // helpers would wait longer than they work
	if err != nil {
		hostile.RequireKnown(t, err, ErrConfig, ErrSize)
		return
	}
	if m.geometry.grid > 16 {
		return // sound, but slow
	}
	e, err := m.Encode(t.Context(), image.NewGray(image.Rect(0, 0, 20, 12)))
	if err != nil {
		require.True(t, errors.Is(err, ErrSize) || errors.Is(err, ErrOverflow), err)
		return
	}
	read, err := ReadEmbedding(bytes.NewReader(saved(t, e)))
	require.NoError(t, err)
	results, err := m.Predict(t.Context(), read, []Prompt{{Points: []Point{{3, 4, Foreground}}}, {Box: &Box{1, 2, 9, 8}, Single: true}})
	if err != nil {
		require.ErrorIs(t, err, ErrOverflow)
		return
	}
	for _, r := range results {
		for i, v := range r.Logits(0) {
			require.True(t, nn.Finite(v), "logit %d is %v", i, v)
		}
		require.True(t, nn.Finite(r.Best().IoU))
		require.Equal(t, image.Pt(20, 12), r.Best().Size)
	}
}

// FuzzShapes changes the tensors of a small model, each by itself.
func FuzzShapes(f *testing.F) {
	tensors := micro().listing().Listed
	hostile.Add(f, len(tensors))
	f.Fuzz(func(t *testing.T, changes []byte) { use(t, hostile.File(t, tensors, changes)) })
}

// sizesOf is the sizes of a model with a ViT that its tensors determine.
func sizesOf(c *Config) []*int {
	v := c.ViT
	return []*int{
		&c.ImageSize, &c.PatchSize, &c.PromptWidth, &c.MaskChannels, &c.Masks, &c.DecoderDepth, &c.DecoderHeads,
		&c.DecoderHidden, &c.CrossWidth, &c.IoUDepth, &c.IoUHidden,
		&v.Width, &v.Depth, &v.Heads, &v.Hidden, &v.Tables[0], &v.Tables[1],
	}
}

// changed is a small model with other sizes, a number and a value each.
func changed(sizes ...byte) Config {
	c := micro()
	all := sizesOf(&c)
	for ; len(sizes) >= 2; sizes = sizes[2:] {
		*all[int(sizes[0])%len(all)] = int(sizes[1]) % 40
	}
	tables := c.ViT.Tables
	c.ViT.Windows, c.ViT.Tables = make([]int, c.ViT.Depth), make([]int, c.ViT.Depth)
	for i := range c.ViT.Tables {
		c.ViT.Tables[i] = tables[i%len(tables)]
	}
	return c
}

// FuzzSizes changes the sizes of a small model and makes all of its tensors to
// match: a checkpoint that is consistent, whether or not there can be such a
// model.
func FuzzSizes(f *testing.F) {
	f.Add([]byte{})
	c := micro()
	n := byte(len(sizesOf(&c)))
	for i := range n {
		for _, value := range []byte{0, 1, 2, 3, 7, 16, 39} {
			f.Add([]byte{i, value})
		}
		f.Add([]byte{i, 0, (i + 1) % n, 0})
	}
	f.Fuzz(func(t *testing.T, sizes []byte) {
		c := changed(sizes...)
		use(t, hostile.File(t, c.listing().Listed, nil), DecoderHeads(c.DecoderHeads))
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
		use(t, file)
	})
}

// TestImpossibleSizes: a checkpoint that is consistent and cannot be a model is
// refused when it is loaded, by the name of what is wrong.
func TestImpossibleSizes(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		"pixels per cell is 1":                 func(c *Config) { c.PatchSize, c.ImageSize = 1, 4 },
		"input side is 0":                      func(c *Config) { c.ImageSize = 0 },
		"prompt width is 0":                    func(c *Config) { c.PromptWidth = 0 },
		"prompt width is 12":                   func(c *Config) { c.PromptWidth = 12 },
		"mask prompt channels is 0":            func(c *Config) { c.MaskChannels = 0 },
		"mask prompt channels is 6":            func(c *Config) { c.MaskChannels = 6 },
		"mask tokens is 1":                     func(c *Config) { c.Masks = 1 },
		"mask tokens is 65":                    func(c *Config) { c.Masks = 65 },
		"decoder layers is 0":                  func(c *Config) { c.DecoderDepth = 0 },
		"decoder MLP width is 0":               func(c *Config) { c.DecoderHidden = 0 },
		"cross-attention width is 0":           func(c *Config) { c.CrossWidth = 0 },
		"quality head layers is 0":             func(c *Config) { c.IoUDepth = 0 },
		"quality head width is 0":              func(c *Config) { c.IoUHidden = 0 },
		"encoder width is 0":                   func(c *Config) { c.ViT.Width = 0 },
		"encoder blocks is 0":                  func(c *Config) { *c = changed(12, 0) },
		"encoder MLP width is 0":               func(c *Config) { c.ViT.Hidden = 0 },
		"relative positions of block 0 is 0":   func(c *Config) { c.ViT.Tables[0] = 0 },
		"block 0 has 4 relative positions":     func(c *Config) { c.ViT.Tables[0] = 4 },
		"8 decoder heads for widths of 16 and": func(c *Config) { c.CrossWidth = 12 },
	} {
		c := micro()
		change(&c)
		_, err := Load(hostile.File(t, c.listing().Listed, nil))
		require.ErrorIs(t, err, ErrConfig, want)
		require.ErrorContains(t, err, want)
	}
	for want, change := range map[string]func(c *Config){
		"width of stage 0 is 0":  func(c *Config) { c.Tiny.Widths[0] = 0 },
		"width of stage 1 is 30": func(c *Config) { c.Tiny.Widths[1] = 30 },
		"width of stage 3 is 40": func(c *Config) { c.Tiny.Widths[3] = 40 },
	} {
		c := microTiny()
		change(&c)
		_, err := Load(checkpoint(t, c, func([]float32, string, []int) {}))
		require.ErrorIs(t, err, ErrConfig, want)
		require.ErrorContains(t, err, want)
	}
}

// TestConfigKeys: a key of a file beside the weights that says something else
// than the tensors, or asks for something that there is not, is named.
func TestConfigKeys(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, weights.Write(t.Context(), &b, procedural(t, micro()), weights.F32))
	load := func(name, data string) error {
		file, err := weights.OpenFS(fstest.MapFS{"model.safetensors": {Data: b.Bytes()}, name: {Data: []byte(data)}}, ".")
		require.NoError(t, err)
		_, err = Load(file)
		return err
	}
	c := micro()
	for file, keys := range map[string][]expected{"config.json": c.configKeys(), "preprocessor_config.json": c.preprocessorKeys()} {
		for _, k := range keys {
			with := func(v any) string {
				set := map[string]any{k.key: v, "unknown": 1}
				if k.section != "" {
					set = map[string]any{k.section: set}
				}
				data, err := json.Marshal(set)
				require.NoError(t, err)
				return string(data)
			}
			require.NoError(t, load(file, with(k.value)))
			require.NoError(t, load(file, with(nil)))
			err := load(file, with("gelu_new"))
			require.ErrorIs(t, err, ErrConfig)
			require.ErrorContains(t, err, k.key)
		}
	}
}

// TestHugeClaims: sizes without data behind them are not believed.
func TestHugeClaims(t *testing.T) {
	tensors := micro().listing().Listed
	for i := range tensors {
		for axis := range tensors[i].Shape {
			huge := slices.Clone(tensors)
			huge[i].Shape = slices.Clone(huge[i].Shape)
			clear(huge[i].Shape)
			huge[i].Shape[axis] = 1 << 24
			if len(huge[i].Shape) == 1 {
				continue // which would have data
			}
			_, err := Load(hostile.File(t, huge, nil))
			hostile.RequireKnown(t, err, ErrConfig, ErrSize)
		}
	}
}

// TestNegativeVariance: a batch norm without a root is an error, not a model
// that answers NaN.
func TestNegativeVariance(t *testing.T) {
	c := microTiny()
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
