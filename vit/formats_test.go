package vit

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// Every layout of the same weights gives the same features.
func TestFormats(t *testing.T) {
	f := golden.Load(t, "formats/clip_expected.safetensors")
	var first []float32
	for _, name := range []string{
		"clip_f32.safetensors", "clip_f16.safetensors", "clip_bf16.safetensors",
		"clip_sharded", "clip_hf", "clip_hf/model.safetensors", "clip_open_clip",
		"clip_jit_f16.pt", "clip_open_clip_train.pt", "clip_f16_legacy.pth",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Open(f.Path("formats/" + name))
			require.NoError(t, err)
			ctx := context.Background()
			var all []float32
			for _, output := range []struct {
				name, input string
				plan        Plan
			}{
				{"plain_tokens", "image", Plan{}},
				{"cs_tokens", "image", surgeryPlan()},
				{"cs_tokens_56", "image56", surgeryPlan()},
			} {
				var rows []float32
				for _, p := range pixelsOf(f.Input(t, output.input)) {
					features, err := c.EncodePixels(ctx, p, Operate(output.plan))
					require.NoError(t, err)
					rows = append(rows, features.Tokens.Data...)
				}
				f.Check(t, output.name, rows)
				all = append(all, rows...)
			}
			text, err := c.EncodeTokens(ctx, idsOf(f.Input(t, "ids")))
			require.NoError(t, err)
			f.Check(t, "text_features", text.Data)
			all = append(all, text.Data...)
			if first == nil {
				first = all
			}
			require.Equal(t, first, all)
		})
	}
}

func TestAssumed(t *testing.T) {
	root := filepath.Join(golden.Root(t), "formats")
	for name, want := range map[string]Assumed{
		"clip_f32.safetensors": {Heads: true, Activation: true, Normalization: true, Interpolation: true, Pooling: true, Mask: true, Eps: true},
		"clip_hf":              {Normalization: true, Interpolation: true},
		"clip_open_clip":       {Interpolation: true},
	} {
		c, err := Open(filepath.Join(root, name))
		require.NoError(t, err)
		require.Equal(t, want, c.Config().Assumed, name)
		require.Equal(t, 1, c.Config().Vision.Heads)
		require.Equal(t, simd.QuickGELU, c.Config().Text.Activation)
	}
	c, err := Open(filepath.Join(root, "clip_f32.safetensors"), Heads(2, 4), Activation(simd.GELU))
	require.NoError(t, err)
	require.Equal(t, Assumed{Normalization: true, Interpolation: true, Pooling: true, Mask: true, Eps: true}, c.Config().Assumed)
	require.Equal(t, 2, c.Config().Vision.Heads)
	require.Equal(t, 4, c.Config().Text.Heads)
	require.Equal(t, simd.GELU, c.Config().Vision.Activation)
	for _, heads := range []Option{Heads(3, 1), Heads(1, 5), Heads(0, 1), Heads(1, -1)} {
		_, err = Open(filepath.Join(root, "clip_f32.safetensors"), heads)
		require.ErrorIs(t, err, ErrConfig)
	}
}

// Heads of models wider than OpenAI's are not guessed.
func TestWideModelsNeedHeads(t *testing.T) {
	wide := micro
	wide.Width, wide.Layers = 1280, 1
	_, err := Load(wide.file(t))
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "vit.Heads")
	c := wide.model(t, Heads(16, 1))
	require.Equal(t, 16, c.Config().Vision.Heads)
	require.False(t, c.Config().Assumed.Heads)
}

func TestConfigFiles(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		want Config
	}{
		"OpenCLIP's H": {
			`{"model_cfg":{"vision_cfg":{"head_width":80},"text_cfg":{"heads":16}},"preprocess_cfg":{"mean":[0.5,0.5,0.5],"std":[0.25,0.5,0.5],"interpolation":"bilinear"}}`,
			Config{Mean: [3]float32{.5, .5, .5}, Std: [3]float32{.25, .5, .5}, Interpolation: "bilinear",
				Vision: VisionConfig{Heads: 16, Activation: simd.GELU, Eps: 1e-5}, Text: TextConfig{Heads: 16, Activation: simd.GELU, Eps: 1e-5}},
		},
		"Hugging Face's H": {
			`{"vision_config":{"num_attention_heads":16,"hidden_act":"gelu"},"text_config":{"num_attention_heads":8},"text_config_dict":{"num_attention_heads":16,"hidden_act":"gelu","layer_norm_eps":1e-6}}`,
			Config{Mean: openAIMean, Std: openAIStd, Interpolation: "bicubic", Assumed: Assumed{Normalization: true, Interpolation: true, Pooling: true},
				Vision: VisionConfig{Heads: 16, Activation: simd.GELU, Eps: 1e-5}, Text: TextConfig{Heads: 16, Activation: simd.GELU, Eps: 1e-6}},
		},
		"Hugging Face's defaults": {
			`{"vision_config":{"num_attention_heads":16},"text_config":{}}`,
			Config{Mean: openAIMean, Std: openAIStd, Interpolation: "bicubic", Assumed: Assumed{Normalization: true, Interpolation: true, Pooling: true},
				Vision: VisionConfig{Heads: 16, Eps: 1e-5, Activation: simd.QuickGELU}, Text: TextConfig{Heads: 8, Eps: 1e-5, Activation: simd.QuickGELU}},
		},
	} {
		s, err := configSettings([]byte(c.data))
		require.NoError(t, err, name)
		got := Config{Vision: VisionConfig{Width: 1280}, Text: TextConfig{Width: 1024, Vocabulary: clipVocabulary}}
		require.NoError(t, got.resolve(s, false), name)
		c.want.Vision.Width, c.want.Text.Width, c.want.Text.Vocabulary = 1280, 1024, clipVocabulary
		require.Equal(t, c.want, got, name)
	}
	for _, data := range []string{
		`[]`, `{`, `{"vision_config":{"hidden_act":"mish"}}`, `{"model_cfg":{"vision_cfg":{"pool_type":"avg"}}}`,
		`{"model_cfg":{"text_cfg":{"no_causal_mask":true}}}`, `{"model_cfg":{"text_cfg":{"pool_type":"last"}}}`,
		`{"model_cfg":{"vision_cfg":{"head_width":-64}}}`,
	} {
		_, err := configSettings([]byte(data))
		require.ErrorIs(t, err, ErrConfig, data)
	}
	for _, data := range []string{
		`{"model_cfg":{},"preprocess_cfg":{"std":[0,1,1],"mean":[0,0,0]}}`,
		`{"model_cfg":{},"preprocess_cfg":{"interpolation":"nearest"}}`,
		`{"model_cfg":{"vision_cfg":{"head_width":77}}}`,
		`{"vision_config":{"layer_norm_eps":-1}}`,
	} {
		s, err := configSettings([]byte(data))
		require.NoError(t, err, data)
		c := Config{Vision: VisionConfig{Width: 768}, Text: TextConfig{Width: 512}}
		require.ErrorIs(t, c.resolve(s, false), ErrConfig, data)
	}
}

func TestMalformedModels(t *testing.T) {
	dir := filepath.Join(golden.Root(t), "formats", "malformed")
	for _, c := range []struct {
		file string
		err  error
		says []string
	}{
		{"clip_micro_ok.safetensors", nil, nil},
		{"clip_missing_key.safetensors", weights.ErrMissing, []string{"visual.transformer.resblocks.0.mlp.c_fc.bias"}},
		{"clip_wrong_shape.safetensors", weights.ErrShape, []string{"mlp.c_fc.weight", "255", "256"}},
		{"clip_nan.safetensors", weights.ErrNotFinite, []string{"visual.transformer.resblocks.0.ln_1.weight"}},
		{"clip_inf.safetensors", weights.ErrNotFinite, []string{"visual.proj"}},
		{"clip_int_weight.safetensors", weights.ErrDType, []string{"visual.conv1.weight"}},
		{"truncated_data.safetensors", weights.ErrFormat, nil},
		{"ok.safetensors", weights.ErrMissing, nil},
	} {
		_, err := Open(filepath.Join(dir, c.file))
		if c.err == nil {
			require.NoError(t, err, c.file)
			continue
		}
		require.ErrorIs(t, err, c.err, c.file)
		for _, word := range c.says {
			require.ErrorContains(t, err, word)
		}
	}
	_, err := Open(filepath.Join(dir, "no such file"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// The towers take text as it comes, but the vocabulary is the model's.
func TestVocabulary(t *testing.T) {
	c, err := Open(filepath.Join(golden.Root(t), "formats", "clip_f16.safetensors"))
	require.NoError(t, err)
	_, err = c.EncodeText(context.Background(), []string{"a cat"})
	require.ErrorIs(t, err, ErrToken)
}

func TestLabels(t *testing.T) {
	c := tiny.model(t)
	ctx := context.Background()
	names, templates := []string{"cat", "dog", ""}, []string{"{}", "a photo of a {}."}
	l, err := c.Labels(ctx, names, templates)
	require.NoError(t, err)
	want, err := c.EncodeLabels(ctx, names, templates)
	require.NoError(t, err)
	require.Equal(t, want, l.Features)
	require.Equal(t, TemplatesDigest(templates), l.Templates)
	require.NotEqual(t, TemplatesDigest([]string{"{}a photo of a {}."}), l.Templates)

	path := filepath.Join(t.TempDir(), "labels.safetensors")
	require.NoError(t, l.Save(path))
	again, err := c.OpenLabels(path)
	require.NoError(t, err)
	require.Equal(t, l, again)

	// Another kernel is the same model; other heads are not.
	for _, k := range simd.All() {
		again, err = tiny.model(t, WithKernel(k)).OpenLabels(path)
		require.NoError(t, err)
		require.Equal(t, l, again)
	}
	_, err = tiny.model(t, Heads(2, 2)).OpenLabels(path)
	require.ErrorIs(t, err, ErrModel)
	_, err = tiny.model(t, Activation(simd.GELU)).OpenLabels(path)
	require.ErrorIs(t, err, ErrModel)

	var buf bytes.Buffer
	_, err = l.WriteTo(&buf)
	require.NoError(t, err)
	for _, broken := range [][]byte{
		buf.Bytes()[:buf.Len()-1],
		[]byte(strings.Replace(buf.String(), `\"cat\"`, `\"cat, `, 1)),
		[]byte(strings.Replace(buf.String(), `labels 1`, `labels 9`, 1)),
	} {
		f, err := weights.FromBytes(broken)
		if err == nil {
			_, err = c.LoadLabels(f)
		}
		require.ErrorIs(t, err, weights.ErrFormat)
	}
	f, err := weights.FromBytes([]byte(strings.Replace(buf.String(), `\"cat\",\"dog\"`, `\"cat and dog\"`, 1)))
	require.NoError(t, err)
	_, err = c.LoadLabels(f)
	require.ErrorIs(t, err, weights.ErrShape)
	_, err = (&Labels{Names: names}).WriteTo(&buf)
	require.Error(t, err)
}

func TestDigestIsOfTheTextTower(t *testing.T) {
	a := tiny.model(t)
	other := tiny
	other.Width, other.Heads = 64, 1
	require.Equal(t, a.digest, other.model(t).digest)
	other.TextLayers = 2
	require.NotEqual(t, a.digest, other.model(t).digest)
}
