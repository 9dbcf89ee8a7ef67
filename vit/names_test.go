package vit

import (
	"errors"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/hostile"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// Every layout and container gives the same tensors under the model's own names.
func TestNames(t *testing.T) {
	hostile.CheckNames(t, names(), "clip_f32.safetensors",
		"clip_f16.safetensors", "clip_bf16.safetensors", "clip_hf", "clip_open_clip", "clip_open_clip/open_clip_model.safetensors",
		"clip_sharded", "clip_sharded/model.safetensors.index.json", "clip_jit_f16.pt", "clip_open_clip_train.pt", "clip_f16_legacy.pth")
}

func TestTextModule(t *testing.T) {
	f := hostile.Open(t, "clip_f32.safetensors")
	want, err := weights.NewView(f, names())
	require.NoError(t, err)
	var infos []weights.TensorInfo
	source := map[string]string{}
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		if !strings.HasPrefix(name, "visual.") && name != "logit_scale" {
			info.Name = "text." + name
		}
		source[info.Name] = name
		infos = append(infos, info)
	}
	module, err := weights.FromFunc(infos, func(name string, dst []float32) error { return f.Read(source[name], dst) })
	require.NoError(t, err)
	got, err := weights.NewView(module, names())
	require.NoError(t, err)
	require.Equal(t, want.Names(), got.Names())
	a, err := want.Float32("text_projection")
	require.NoError(t, err)
	b, err := got.Float32("text_projection")
	require.NoError(t, err)
	require.Equal(t, a, b)
}

// TestCheckListsAll: one error names everything that is wrong, in the file's
// words.
func TestCheckListsAll(t *testing.T) {
	var infos []weights.TensorInfo
	add := func(name string, shape ...int) { infos = append(infos, weights.TensorInfo{Name: name, Shape: shape}) }
	layer := "vision_model.encoder.layers.0."
	add(layer+"self_attn.q_proj.weight", 8, 8)
	add(layer+"self_attn.v_proj.weight", 8, 7)
	add(layer+"layer_norm1.weight", 9)
	add("visual_projection.weight", 4, 8)
	add("text_projection.weight", 8, 4)
	add("vision_model.embeddings.position_ids", 1, 5)
	add("classifier.weight", 3)
	zeros := func(string, []float32) error { return nil }
	f, err := weights.FromFunc(infos, zeros)
	require.NoError(t, err)
	want := []weights.TensorInfo{
		{Name: "visual.transformer.resblocks.0.attn.in_proj_weight", Shape: []int{24, 8}},
		{Name: "visual.transformer.resblocks.0.ln_1.weight", Shape: []int{8}},
		{Name: "visual.proj", Shape: []int{8, 4}},
		{Name: "text_projection", Shape: []int{8, 4}},
	}
	v, err := weights.NewView(f, names())
	require.NoError(t, err)
	err = v.Check(want)
	for _, kind := range []error{weights.ErrMissing, weights.ErrShape, weights.ErrSurplus} {
		require.ErrorIs(t, err, kind)
	}
	require.NotErrorIs(t, err, weights.ErrDType)
	for _, s := range []string{
		"missing tensor: " + layer + "self_attn.k_proj.weight [8 8]",
		layer + "self_attn.v_proj.weight: want [8 8], got [8 7]",
		layer + "layer_norm1.weight: want [8], got [9]",
		"text_projection.weight: want [4 8], got [8 4]",
		"surplus tensor: classifier.weight",
	} {
		require.ErrorContains(t, err, s)
	}
	require.NotContains(t, err.Error(), "position_ids")
	require.NotContains(t, err.Error(), "visual_projection")

	for _, opts := range [][]weights.Option{{weights.AllowSurplus()}, nil} {
		f, err := weights.FromFunc(infos, zeros, opts...)
		require.NoError(t, err)
		v, err := weights.NewView(f, names())
		require.NoError(t, err)
		require.Equal(t, opts == nil, errors.Is(v.Check(want), weights.ErrSurplus))
		v, err = weights.NewView(f, names(), weights.AllowSurplus())
		require.NoError(t, err)
		require.NotErrorIs(t, v.Check(want), weights.ErrSurplus)
	}

	// A part of another size is found when read, too.
	require.ErrorIs(t, v.Read("visual.transformer.resblocks.0.attn.in_proj_weight", make([]float32, 192)), weights.ErrMissing)
	require.ErrorIs(t, v.Read("text_projection", make([]float32, 5)), weights.ErrShape)
	_, err = v.Float32("text_projection", 8, 4)
	require.ErrorIs(t, err, weights.ErrShape)
	_, err = v.Float32("ln_final.weight")
	require.ErrorIs(t, err, weights.ErrMissing)
	require.ErrorContains(t, err, "text_model.final_layer_norm.weight")
}

// TestMalformedViews: files that are well formed, but no model. What the
// model wants is what the complete one has.
func TestMalformedViews(t *testing.T) {
	ok := hostile.Open(t, "malformed/clip_micro_ok.safetensors")
	var want []weights.TensorInfo
	for _, name := range ok.Names() {
		info, _ := ok.Info(name)
		want = append(want, info)
	}
	for _, c := range []struct {
		file string
		kind error
		says []string
	}{
		{"clip_micro_ok", nil, nil},
		{"clip_missing_key", weights.ErrMissing, []string{"visual.transformer.resblocks.0.mlp.c_fc.bias"}},
		{"clip_wrong_shape", weights.ErrShape, []string{"visual.transformer.resblocks.0.mlp.c_fc.weight", "[256 64]", "[255 64]"}},
		{"clip_nan", weights.ErrNotFinite, []string{"visual.transformer.resblocks.0.ln_1.weight", "NaN"}},
		{"clip_inf", weights.ErrNotFinite, []string{"visual.proj", "Inf"}},
		{"clip_int_weight", weights.ErrDType, []string{"visual.conv1.weight", "I8"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			view, err := weights.NewView(hostile.Open(t, "malformed/"+c.file+".safetensors"), names())
			require.NoError(t, err)
			err = view.Check(want)
			for _, w := range want {
				if err == nil {
					_, err = view.Float32(w.Name, w.Shape...)
				}
			}
			if c.kind == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.kind)
			for _, s := range append(c.says, c.file) {
				require.ErrorContains(t, err, s)
			}
		})
	}
}
