package vit

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// renamed is a file under other names, and without the tensors whose name
// becomes empty.
func renamed(t *testing.T, f *weights.File, rename func(string) string) *weights.File {
	var infos []weights.TensorInfo
	from := map[string]string{}
	for _, name := range f.Names() {
		if to := rename(name); to != "" {
			shape, _ := f.Shape(name)
			info := weights.TensorInfo{Name: to, Shape: shape}
			if strings.HasSuffix(name, "num_batches_tracked") {
				info.DType = weights.I64
			}
			infos, from[to] = append(infos, info), name
		}
	}
	g, err := weights.FromFunc(infos, func(name string, dst []float32) error { return f.Read(from[name], dst) })
	require.NoError(t, err)
	return g
}

func written(t *testing.T, f *weights.File, dtype weights.DType) []byte {
	var b bytes.Buffer
	require.NoError(t, weights.Write(t.Context(), &b, f, dtype))
	return b.Bytes()
}

func withoutCounts(name string) string {
	if strings.HasSuffix(name, "num_batches_tracked") {
		return ""
	}
	return name
}

func inTextModule(name string) string {
	if strings.HasPrefix(name, "visual.") || name == "logit_scale" {
		return name
	}
	return "text." + name
}

// Every layout of the same weights gives the same features. OpenCLIP's has
// OpenAI's names, or the text tower in a module of its own.
func TestResNetFormats(t *testing.T) {
	a := tinyRN
	a.Vocab, a.Context = 512, 16
	rounded, err := weights.FromBytes(written(t, a.file(t), weights.F16)) // values that both types hold
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "open_clip"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "open_clip", "open_clip_config.json"), []byte(`{"model_cfg": {"embed_dim": 64, "quick_gelu": true,
		"vision_cfg": {"image_size": 128, "layers": [1, 1, 2, 1], "width": 8, "patch_size": null},
		"text_cfg": {"context_length": 16, "vocab_size": 512, "width": 64, "heads": 1, "layers": 3}}}`), 0o600))
	same := func(name string) string { return name }
	var first *Features
	for _, x := range []struct {
		name, open string
		rename     func(string) string
		dtype      weights.DType
	}{
		{"f32.safetensors", "f32.safetensors", same, weights.F32},
		{"f16.safetensors", "f16.safetensors", same, weights.F16},
		{"no-counts.safetensors", "no-counts.safetensors", withoutCounts, weights.F32},
		{"text-module.safetensors", "text-module.safetensors", inTextModule, weights.F32},
		{"open_clip/open_clip_model.safetensors", "open_clip", inTextModule, weights.F16},
	} {
		path := filepath.Join(dir, filepath.FromSlash(x.name))
		require.NoError(t, os.WriteFile(path, written(t, renamed(t, rounded, x.rename), x.dtype), 0o600))
		c, err := Open(filepath.Join(dir, x.open))
		require.NoError(t, err, x.name)
		require.Equal(t, simd.ReLU, c.Config().Vision.Activation)
		require.Equal(t, 4, c.Config().Vision.Heads)
		require.Equal(t, x.open != "open_clip", c.Config().Assumed.Heads)
		f, err := c.EncodeImage(context.Background(), scene(150, 100), ShortSide(64), Operate(surgeryPlan()))
		require.NoError(t, err)
		if first == nil {
			first = f
		}
		require.Equal(t, first.Tokens, f.Tokens, x.name)
		require.Equal(t, first.Grid, f.Grid, x.name)
	}
}

func TestMalformedResNets(t *testing.T) {
	a := tinyRN
	a.Vocab, a.Context = 512, 16
	without := func(part string) func(string) string {
		return func(name string) string {
			if strings.Contains(name, part) {
				return ""
			}
			return name
		}
	}
	for part, want := range map[string][]string{
		"bn2.running_var":        {"visual.bn2.running_var", "visual.layer3.1.bn2.running_var"},
		"layer3.0.conv2":         {"visual.layer3.0.conv2.weight [32 32 3 3]"},
		"layer2":                 {"visual.layer2.0.conv1.weight", "visual.layer2.0.downsample.1.running_mean"},
		"layer4.0.downsample.0.": {"visual.layer4.0.downsample.0.weight [256 128 1 1]"},
		"attnpool.k_proj":        {"visual.attnpool.k_proj.weight [256 256]", "visual.attnpool.k_proj.bias"},
	} {
		_, err := Load(renamed(t, a.file(t), without(part)))
		require.ErrorIs(t, err, weights.ErrMissing, part)
		for _, text := range want {
			require.ErrorContains(t, err, text)
		}
	}
	_, err := Load(renamed(t, a.file(t), without("attnpool.positional_embedding")))
	require.ErrorIs(t, err, weights.ErrMissing)

	f := a.file(t)
	var infos []weights.TensorInfo
	for _, info := range a.config().tensors() {
		if info.Name == "visual.attnpool.positional_embedding" {
			info.Shape = []int{18, 256}
		}
		infos = append(infos, info)
	}
	g, err := weights.FromFunc(infos, func(name string, dst []float32) error { return f.Read(name, dst) })
	require.NoError(t, err)
	_, err = Load(g)
	require.ErrorIs(t, err, weights.ErrShape)

	// A variance below zero has no root.
	infos = a.config().tensors()
	g, err = weights.FromFunc(infos, func(name string, dst []float32) error {
		err := f.Read(name, dst)
		if name == "visual.layer3.1.bn2.running_var" {
			dst[5] = -1
		}
		return err
	})
	require.NoError(t, err)
	_, err = Load(g)
	require.ErrorIs(t, err, weights.ErrNotFinite)
	require.ErrorContains(t, err, "visual.layer3.1.bn2")

	_, err = Load(a.file(t), Heads(3, 1))
	require.ErrorIs(t, err, ErrConfig)
}
