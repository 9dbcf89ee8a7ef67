package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// TestConvert: every kind of file, to every type, holds the same tensors and
// the same configuration, for the fixtures' values fit all types.
func TestConvert(t *testing.T) {
	for _, file := range []string{
		"clip_f32.safetensors", "clip_f16.safetensors", "clip_bf16.safetensors", "clip_hf", "clip_open_clip", "clip_sharded",
		"clip_jit_f16.pt", "clip_open_clip_train.pt", "clip_f16_legacy.pth", "sam_f16.safetensors", "sam_f32.pth", "sam_hf",
	} {
		path := filepath.Join(golden.Root(t), "formats", file)
		want, err := weights.Open(path)
		require.NoError(t, err)
		defer want.Close()
		for name, to := range map[string]weights.DType{"f32": weights.F32, "f16": weights.F16, "bf16": weights.BF16} {
			*in, *dtype, *out = path, name, filepath.Join(t.TempDir(), "folder", "model.safetensors")
			require.NoError(t, run(t.Context()), file)
			got, err := weights.Open(filepath.Dir(*out))
			require.NoError(t, err)
			defer got.Close()
			require.Equal(t, want.Config(), got.Config())
			require.Equal(t, want.PreprocessorConfig(), got.PreprocessorConfig())
			require.Equal(t, want.Names(), got.Names())
			for _, tensor := range want.Names() {
				info, _ := got.Info(tensor)
				require.True(t, info.DType == to || !info.DType.Float())
				a, err := want.Float32(tensor)
				require.NoError(t, err)
				b, err := got.Float32(tensor, append([]int{}, info.Shape...)...)
				require.NoError(t, err)
				require.Equal(t, a, b, tensor)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	path := filepath.Join(golden.Root(t), "formats", "clip_hf")
	other := filepath.Join(t.TempDir(), "config.json")
	require.NoError(t, os.WriteFile(other, []byte("{}"), 0o600))
	beside := filepath.Join(filepath.Dir(other), "model.safetensors")
	for _, c := range []struct{ in, dtype, out, says string }{
		{"", "f32", "", "-in"},
		{path, "int8", beside, "-dtype int8"},
		{path, "f32", beside, "another folder"},
		{filepath.Join(path, "none.safetensors"), "f32", beside, "none.safetensors"},
		{other, "f32", beside, "not a readable checkpoint"},
	} {
		*in, *dtype, *out = c.in, c.dtype, c.out
		require.ErrorContains(t, run(t.Context()), c.says)
		require.NoFileExists(t, beside)
	}
}
