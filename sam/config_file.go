package sam

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// expected is a key of a configuration file and the only value that it may
// have: the one that follows from the tensors, or the one that the package
// computes with. A key may also be absent or null.
type expected struct {
	section, key string // a section within another behind a dot
	value        any    // as encoding/json decodes it
}

// configKeys are the keys of a SamModel's config.json that change results, but
// for those that [Config.settings] honors. All others are harmless.
// Source: huggingface/transformers models/sam/configuration_sam.py.
func (c *Config) configKeys() []expected {
	if c.Hiera != nil {
		return c.hieraKeys()
	}
	number := func(n int) float64 { return float64(n) }
	const vision, prompt, decoder = "vision_config", "prompt_encoder_config", "mask_decoder_config"
	all := []expected{
		{vision, "hidden_act", "gelu"},
		{vision, "qkv_bias", true},
		{vision, "use_abs_pos", true},
		{vision, "use_rel_pos", true},
		{vision, "num_channels", 3.},
		{vision, "image_size", number(c.ImageSize)},
		{vision, "patch_size", number(c.PatchSize)},
		{vision, "output_channels", number(c.PromptWidth)},
		{prompt, "hidden_act", "gelu"},
		{prompt, "layer_norm_eps", convNormEps},
		{prompt, "num_point_embeddings", 4.},
		{prompt, "image_size", number(c.ImageSize)},
		{prompt, "patch_size", number(c.PatchSize)},
		{prompt, "hidden_size", number(c.PromptWidth)},
		{prompt, "mask_input_channels", number(c.MaskChannels)},
		{decoder, "hidden_act", "relu"},
		{decoder, "hidden_size", number(c.PromptWidth)},
		{decoder, "mlp_dim", number(c.DecoderHidden)},
		{decoder, "num_hidden_layers", number(c.DecoderDepth)},
		{decoder, "num_multimask_outputs", number(c.Masks - 1)},
		{decoder, "attention_downsample_rate", number(c.PromptWidth) / number(max(c.CrossWidth, 1))},
		{decoder, "iou_head_depth", number(c.IoUDepth)},
		{decoder, "iou_head_hidden_dim", number(c.IoUHidden)},
	}
	if v := c.ViT; v != nil {
		all = append(all, []expected{
			{vision, "hidden_size", number(v.Width)},
			{vision, "mlp_dim", number(v.Hidden)},
			{vision, "num_hidden_layers", number(v.Depth)},
			{vision, "num_attention_heads", number(v.Heads)},
		}...)
	}
	return all
}

// preprocessorKeys are those of preprocessor_config.json.
// Source: huggingface/transformers models/sam/image_processing_sam.py.
func (c *Config) preprocessorKeys() []expected {
	size := expected{"size", "longest_edge", float64(c.ImageSize)}
	if c.Hiera != nil {
		size = expected{"size", "height", float64(c.ImageSize)}
	}
	return []expected{
		{"", "do_resize", true},
		{"", "do_rescale", true},
		{"", "do_normalize", true},
		{"", "resample", 2.}, // bilinear
		{"", "rescale_factor", 1. / 255},
		{"", "image_mean", []any{0.485, 0.456, 0.406}},
		{"", "image_std", []any{0.229, 0.224, 0.225}},
		size,
	}
}

// compare reports a key whose value is not the expected one.
func compare(file string, data []byte, keys []expected) error {
	if data == nil {
		return nil
	}
	var root map[string]any
	if err := json.Unmarshal(data, &root); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrConfig, file, err)
	}
	for _, k := range keys {
		in, name := root, k.key
		if k.section != "" {
			for part := range strings.SplitSeq(k.section, ".") {
				in, _ = in[part].(map[string]any)
			}
			name = k.section + "." + k.key
		}
		if v := in[k.key]; v != nil && !reflect.DeepEqual(v, k.value) {
			return fmt.Errorf("%w: %s: %s is %.60v, want %v", ErrConfig, file, name, v, k.value)
		}
	}
	return nil
}
