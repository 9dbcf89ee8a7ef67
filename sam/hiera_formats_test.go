package sam

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
)

// TestHieraFormats: the same small SAM 2 as Meta and as Hugging Face publish it
// gives the same answers.
func TestHieraFormats(t *testing.T) {
	f := golden.Load(t, "sam2/formats_expected.safetensors")
	var a hieraArchitecture
	f.Arch(t, &a)
	c := a.config()
	meta := []Option{Heads(c.Hiera.Heads), Windows(c.Hiera.Windows), GlobalBlocks(c.Hiera.Globals...), InputSize(a.ImageSize)}
	for _, file := range []struct {
		name string
		opts []Option
	}{{"sam2_tiny.pt", meta}, {"sam2_hf", nil}, {"sam2_hf_video", nil}} {
		t.Run(file.name, func(t *testing.T) {
			m, err := Open(filepath.Join(golden.Root(t), "sam2", "formats", file.name), file.opts...)
			require.NoError(t, err)
			got := m.Config()
			require.Equal(t, c.Hiera, got.Hiera)
			e, err := m.Encode(t.Context(), picture(f.Input(t, "image")))
			require.NoError(t, err)
			f.Check(t, "image_embedding", channelsFirst(e.features))
			f.Check(t, "high_res0", channelsFirst(e.fine[0]))
			f.Check(t, "high_res1", channelsFirst(e.fine[1]))

			var points [][2]float32
			var labels []int
			var box [4]float32
			f.Value(t, "points", &points)
			f.Value(t, "labels", &labels)
			f.Value(t, "box", &box)
			mask := f.Input(t, "mask")
			clicks := fixturePrompt{Points: points, Labels: labels, Multi: true}.prompt(t)
			single := clicks
			single.Single = true
			low := &LowRes{Width: mask.Shape[2], Height: mask.Shape[1], Data: mask.F32}
			for name, prompt := range map[string]Prompt{
				"points": clicks, "single": single,
				"box":  {Box: &Box{box[0], box[1], box[2], box[3]}},
				"mask": {Points: clicks.Points, Mask: low},
			} {
				results, err := m.Predict(t.Context(), e, []Prompt{prompt})
				require.NoError(t, err)
				checkResult(t, f, name+".", results[0])
				f.Check(t, name+".object_score", []float32{results[0].ObjectLogit})
			}
		})
	}
	_, err := Open(filepath.Join(golden.Root(t), "sam2", "formats", "sam2_tiny.pt"))
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "GlobalBlocks")
}

// TestHieraContradictions: a config.json that says otherwise than the tensors or
// the package is refused by the name of its key.
func TestHieraContradictions(t *testing.T) {
	from := filepath.Join(golden.Root(t), "sam2", "formats", "sam2_hf")
	config, err := os.ReadFile(filepath.Join(from, "config.json"))
	require.NoError(t, err)
	tensors, err := os.ReadFile(filepath.Join(from, "model.safetensors"))
	require.NoError(t, err)
	for _, c := range []struct {
		section, key string
		value        any
		fine         bool
	}{
		{"vision_config.backbone_config", "query_stride", []int{1, 1}, false},
		{"vision_config.backbone_config", "mlp_ratio", 3, false},
		{"vision_config.backbone_config", "patch_kernel_size", []int{3, 3}, false},
		{"vision_config.backbone_config", "embed_dim_per_stage", []int{8, 16, 32, 32}, false},
		{"vision_config.backbone_config", "window_size_per_stage", []int{8, 4}, false},
		{"vision_config.backbone_config", "num_attention_heads_per_stage", []int{3, 3, 3, 3}, false},
		{"vision_config.backbone_config", "global_attention_blocks", []int{99}, false},
		{"vision_config.backbone_config", "id2label", nil, true},
		{"vision_config", "fpn_top_down_levels", []int{1, 2, 3}, false},
		{"mask_decoder_config", "dynamic_multimask_stability_thresh", 0.5, false},
		{"mask_decoder_config", "iou_head_depth", 4, false},
		{"prompt_encoder_config", "image_size", 100, false},
	} {
		var root map[string]any
		require.NoError(t, json.Unmarshal(config, &root))
		section := root
		for part := range strings.SplitSeq(c.section, ".") {
			section = section[part].(map[string]any)
		}
		section[c.key] = c.value
		edited, err := json.Marshal(root)
		require.NoError(t, err)
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), edited, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), tensors, 0o600))
		_, err = Open(dir)
		if c.fine {
			require.NoError(t, err, c.key)
			continue
		}
		require.ErrorIs(t, err, ErrConfig, c.key)
	}
}
