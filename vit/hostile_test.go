package vit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/clipsurgery/clipsurgery/internal/hostile"
	"github.com/clipsurgery/clipsurgery/tokenizer"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// use runs a model that loaded, whatever comes out.
func use(t *testing.T, c *CLIP) {
	for _, plan := range []Plan{{}, {Blocks: 1, Beside: true, Attention: []Term{{Query: V, Key: V}}, WithoutFFN: true}} {
		if _, err := c.EncodeImage(context.Background(), image.NewGray(image.Rect(0, 0, 20, 12)), Operate(plan)); err != nil {
			require.True(t, errors.Is(err, ErrSize) || errors.Is(err, ErrPlan) || errors.Is(err, weights.ErrNotFinite), "%v", err)
		}
	}
	if _, err := c.EncodeTokens(context.Background(), [][]int32{{0, 1}}); err != nil {
		require.True(t, errors.Is(err, ErrToken) || errors.Is(err, tokenizer.ErrTooLong) || errors.Is(err, weights.ErrNotFinite), "%v", err)
	}
}

// FuzzShapes changes the tensors of a small model.
func FuzzShapes(f *testing.F) {
	tensors := micro.config().tensors()
	hostile.Add(f, len(tensors))
	f.Fuzz(func(t *testing.T, changes []byte) {
		c, err := Load(hostile.File(t, tensors, changes))
		if err != nil {
			hostile.RequireKnown(t, err, ErrConfig)
			return
		}
		use(t, c)
	})
}

// FuzzConfig puts anything beside the weights of a small model.
func FuzzConfig(f *testing.F) {
	for _, config := range []string{
		`{"model_cfg":{"vision_cfg":{"head_width":32},"text_cfg":{"heads":1}},"preprocess_cfg":{"mean":[0.5,0.5,0.5],"std":[0.25,0.5,0.5],"interpolation":"bilinear"}}`,
		`{"vision_config":{"num_attention_heads":1,"hidden_act":"gelu"},"text_config":{"num_attention_heads":2,"layer_norm_eps":1e-6}}`,
		`{"model_cfg":{"vision_cfg":{"head_width":-9223372036854775808}}}`, `{"vision_config_dict":{"num_attention_heads":1e3}}`, `[]`,
	} {
		f.Add([]byte(config), []byte(`{"image_mean":[0.5,0.5,0.5],"image_std":[1,1,1],"resample":2}`))
	}
	f.Fuzz(func(t *testing.T, config, preprocessor []byte) {
		loadConfigured(t, toy, string(config), string(preprocessor))
	})
}

// toy is so small that thousands of it load and run in a second.
var toy = architecture{"toy", 4, 8, 1, 8, 4, 2, 6, 16, 8, 2, 1}

// folder is a checkpoint beside configuration files, as far as they have text.
func folder(t testing.TB, a architecture, config, preprocessor string) fstest.MapFS {
	var b bytes.Buffer
	require.NoError(t, weights.Write(t.Context(), &b, a.file(t), weights.F32))
	files := fstest.MapFS{"model.safetensors": {Data: b.Bytes()}}
	for name, text := range map[string]string{"config.json": config, "preprocessor_config.json": preprocessor} {
		if text != "" {
			files[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return files
}

// loadConfigured runs a model beside its configuration, unless the two do not
// go together, which is an error of a known kind.
func loadConfigured(t *testing.T, a architecture, config, preprocessor string) (loaded bool) {
	file, err := weights.OpenFS(folder(t, a, config, preprocessor), ".")
	require.NoError(t, err)
	c, err := Load(file, WithWorkers(1))
	if err != nil {
		hostile.RequireKnown(t, err, ErrConfig)
		return false
	}
	use(t, c)
	return true
}

// FuzzConsistentConfig draws a small architecture and configuration files that
// agree with it, so that they load, and puts one more key into them.
func FuzzConsistentConfig(f *testing.F) {
	f.Add([]byte{}, "", "")
	f.Add([]byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, "pool_type", `"eos"`)
	f.Add([]byte{2, 0, 2, 1, 0, 2, 1, 3, 1, 2, 0, 1}, "eos_token_id", "3")
	f.Add([]byte{0, 2, 1, 2, 1, 0, 2, 5, 0, 1, 2, 0}, "image_size", "[8, 16]")
	f.Fuzz(func(t *testing.T, choices []byte, key, value string) {
		next := func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			v := int(choices[0]) % n
			choices = choices[1:]
			return v
		}
		a := toy
		a.Embed, a.Width, a.TextWidth = 1+next(5), 4*(1+next(3)), 4*(1+next(3))
		a.Layers, a.TextLayers = 1+next(2), 1+next(2)
		a.Patch, a.Context, a.Vocab = 1+next(5), 1+next(7), 1+next(20)
		a.Image = a.Patch * (1 + next(4))
		config, preprocessor := a.configFiles(next)
		changed := len(key) > 0 && json.Valid([]byte(value))
		if changed {
			place := []string{`"model_type"`, `"image_size"`, `"vocab_size"`, `"quick_gelu"`}[next(4)]
			config = strings.Replace(config, place, fmt.Sprintf("%q: %s, %s", key, value, place), 1)
		}
		loaded := loadConfigured(t, a, config, preprocessor)
		require.True(t, loaded || changed, "%+v: %s %s", a, config, preprocessor)
	})
}

// configFiles are configuration files that the architecture goes with.
func (a architecture) configFiles(next func(n int) int) (config, preprocessor string) {
	heads := []int{1, 2, 4}
	act := []string{"gelu", "quick_gelu", "gelu_new", "relu"}[next(4)]
	if next(2) == 0 {
		config = fmt.Sprintf(`{"model_type": "clip", "projection_dim": %d,
			"vision_config": {"image_size": [%d, %d], "patch_size": %d, "hidden_size": %d, "num_hidden_layers": %d, "num_attention_heads": %d, "hidden_act": %q},
			"text_config": {"vocab_size": %d, "hidden_size": %d, "num_hidden_layers": %d, "num_attention_heads": %d, "eos_token_id": %d}}`,
			a.Embed, a.Image, a.Image, a.Patch, a.Width, a.Layers, heads[next(3)], act,
			a.Vocab, a.TextWidth, a.TextLayers, heads[next(3)], []int{2, a.Vocab - 1}[next(2)])
	} else {
		config = fmt.Sprintf(`{"model_cfg": {"quick_gelu": %t, "embed_dim": %d,
			"vision_cfg": {"image_size": %d, "patch_size": %d, "width": %d, "layers": %d, "head_width": %d, "mlp_ratio": 4.0},
			"text_cfg": {"vocab_size": %d, "width": %d, "layers": %d, "heads": %d}}}`,
			act == "quick_gelu", a.Embed, a.Image, a.Patch, a.Width, a.Layers, heads[next(3)],
			a.Vocab, a.TextWidth, a.TextLayers, heads[next(3)])
	}
	return config, fmt.Sprintf(`{"do_normalize": %t, "rescale_factor": %v, "resample": %d, "size": %d, "crop_size": %d}`,
		next(2) == 0, []float64{1 / 255., 0.5}[next(2)], 2+next(2), a.Image+next(3), a.Image)
}
