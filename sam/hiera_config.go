package sam

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/clipsurgery/clipsurgery/weights"
)

// HieraConfig is the architecture of SAM 2's image encoder.
type HieraConfig struct {
	Widths  [4]int // per stage, each twice the one before
	Blocks  [4]int // per stage
	Heads   [4]int // per stage
	Windows [4]int // per stage, cells per side
	Globals []int  // blocks with global attention, counted from 0 over all stages
	// Background is the side of the table of positions that is resized to the
	// grid.
	Background int
	Eps        float32 // of its layer norms
}

// global reports whether block n attends globally.
func (c *HieraConfig) global(n int) bool { return slices.Contains(c.Globals, n) }

// publishedHieras are the settings of the published models that do not follow from
// shapes: sam2_hiera_tiny, small, base_plus and large, and those of SAM 2.1
// (sam2/configs).
func publishedHieras() []HieraConfig {
	return []HieraConfig{
		{Widths: [4]int{96}, Blocks: [4]int{1, 2, 7, 2}, Heads: [4]int{1}, Windows: [4]int{8, 4, 14, 7}, Globals: []int{5, 7, 9}},
		{Widths: [4]int{96}, Blocks: [4]int{1, 2, 11, 2}, Heads: [4]int{1}, Windows: [4]int{8, 4, 14, 7}, Globals: []int{7, 10, 13}},
		{Widths: [4]int{112}, Blocks: [4]int{2, 3, 16, 3}, Heads: [4]int{2}, Windows: [4]int{8, 4, 14, 7}, Globals: []int{12, 16, 20}},
		{Widths: [4]int{144}, Blocks: [4]int{2, 6, 36, 4}, Heads: [4]int{2}, Windows: [4]int{8, 4, 16, 8}, Globals: []int{23, 33, 43}},
	}
}

// doubled fills a list from its first entry on.
func doubled(first int) (all [4]int) {
	for i := range all {
		all[i] = first << i
	}
	return all
}

// hieraOf derives the encoder from the tensors. Heads, the windows of the later
// stages and the global blocks come from the published models; they are zero for
// any other.
func hieraOf(s sizes) *HieraConfig {
	const t = "image_encoder.trunk."
	c := &HieraConfig{
		Widths:     doubled(s.at(t+"patch_embed.proj.weight", 4, 0)),
		Background: s.at(t+"pos_embed", 4, 3),
		Eps:        1e-6,
	}
	stage := 0
	for i := range s.count(t + "blocks.%d.norm1.weight") {
		if s.view.Has(fmt.Sprintf(t+"blocks.%d.proj.weight", i)) && stage < len(c.Blocks)-1 {
			stage++
		}
		c.Blocks[stage]++
	}
	c.Windows[0] = s.at(t+"pos_embed_window", 4, 3)
	for _, p := range publishedHieras() {
		if p.Widths[0] == c.Widths[0] && p.Blocks == c.Blocks && p.Windows[0] == c.Windows[0] {
			c.Heads, c.Windows, c.Globals = doubled(p.Heads[0]), p.Windows, p.Globals
		}
	}
	return c
}

// isSAM2 reports whether a file holds a SAM 2.
func isSAM2(f *weights.File) bool {
	return slices.ContainsFunc(f.Names(), func(name string) bool {
		return strings.HasSuffix(name, "trunk.pos_embed_window") || strings.HasSuffix(name, "backbone.pos_embed_window")
	})
}

// hugging2 is the part of a Sam2Model's config.json that does not follow from
// shapes. A missing entry leaves what the published table says.
type hugging2 struct {
	Vision struct {
		Backbone struct {
			Heads   *[]int   `json:"num_attention_heads_per_stage"`
			Windows *[]int   `json:"window_size_per_stage"`
			Globals *[]int   `json:"global_attention_blocks"`
			Eps     *float32 `json:"layer_norm_eps"`
			Size    *[]int   `json:"image_size"`
		} `json:"backbone_config"`
	} `json:"vision_config"`
	Decoder struct {
		Heads *int `json:"num_attention_heads"`
	} `json:"mask_decoder_config"`
	Prompt struct {
		Size *int `json:"image_size"`
	} `json:"prompt_encoder_config"`
}

// hieraSettings completes c from config.json.
func (c *Config) hieraSettings(config []byte) error {
	if config == nil {
		return nil
	}
	var hf hugging2
	if err := json.Unmarshal(config, &hf); err != nil {
		return fmt.Errorf("%w: config.json: %w", ErrConfig, err)
	}
	h, b := c.Hiera, hf.Vision.Backbone
	for _, list := range []struct {
		name string
		from *[]int
		to   *[4]int
	}{{"num_attention_heads_per_stage", b.Heads, &h.Heads}, {"window_size_per_stage", b.Windows, &h.Windows}} {
		if list.from == nil {
			continue
		}
		if len(*list.from) != len(list.to) {
			return fmt.Errorf("%w: config.json: %s has %d entries, want %d", ErrConfig, list.name, len(*list.from), len(list.to))
		}
		copy(list.to[:], *list.from)
	}
	if b.Globals != nil {
		h.Globals = *b.Globals
	}
	if b.Eps != nil {
		h.Eps = *b.Eps
	}
	if hf.Decoder.Heads != nil {
		c.DecoderHeads = *hf.Decoder.Heads
	}
	if hf.Prompt.Size != nil {
		c.ImageSize = *hf.Prompt.Size
	}
	if s := b.Size; s != nil && (len(*s) != 2 || (*s)[0] != c.ImageSize || (*s)[1] != c.ImageSize) {
		return fmt.Errorf("%w: config.json: image_size is %v, want %d×%d", ErrConfig, *s, c.ImageSize, c.ImageSize)
	}
	return nil
}

// hieraKeys are the keys of a Sam2Model's config.json that change results, but for
// those that [Config.hieraSettings] honors.
// Source: huggingface/transformers models/sam2/configuration_sam2.py.
func (c *Config) hieraKeys() []expected {
	number := func(n int) float64 { return float64(n) }
	numbers := func(list [4]int) (all []any) {
		for _, n := range list {
			all = append(all, number(n))
		}
		return all
	}
	pair := func(n int) []any { return []any{number(n), number(n)} }
	const (
		vision, prompt, decoder = "vision_config", "prompt_encoder_config", "mask_decoder_config"

		trunk = vision + ".backbone_config"
	)
	return []expected{
		{trunk, "hidden_act", "gelu"},
		{trunk, "num_channels", 3.},
		{trunk, "patch_kernel_size", pair(hieraPatch)},
		{trunk, "patch_stride", pair(hieraStride)},
		{trunk, "patch_padding", pair(hieraPatch / 2)},
		{trunk, "query_stride", pair(2)},
		{trunk, "num_query_pool_stages", 3.},
		{trunk, "mlp_ratio", number(hieraMLP)},
		{trunk, "embed_dim_per_stage", numbers(c.Hiera.Widths)},
		{trunk, "blocks_per_stage", numbers(c.Hiera.Blocks)},
		{trunk, "window_positional_embedding_background_size", pair(c.Hiera.Background)},
		{vision, "num_feature_levels", 3.},
		{vision, "fpn_kernel_size", 1.},
		{vision, "fpn_hidden_size", number(c.PromptWidth)},
		{vision, "fpn_top_down_levels", []any{2., 3.}},
		{prompt, "hidden_act", "gelu"},
		{prompt, "layer_norm_eps", convNormEps},
		{prompt, "num_point_embeddings", 4.},
		{prompt, "hidden_size", number(c.PromptWidth)},
		{prompt, "patch_size", number(c.PatchSize)},
		{prompt, "mask_input_channels", number(c.MaskChannels)},
		{decoder, "hidden_size", number(c.PromptWidth)},
		{decoder, "mlp_dim", number(c.DecoderHidden)},
		{decoder, "num_hidden_layers", number(c.DecoderDepth)},
		{decoder, "iou_head_depth", number(c.IoUDepth)},
		{decoder, "iou_head_hidden_dim", number(c.IoUHidden)},
		{decoder, "num_multimask_outputs", number(c.Masks - 1)},
		{decoder, "attention_downsample_rate", number(c.PromptWidth) / number(max(c.CrossWidth, 1))},
		{decoder, "dynamic_multimask_stability_delta", stableOffset},
		{decoder, "dynamic_multimask_stability_thresh", stableLeast},
	}
}

// checkHiera reports settings of the encoder that no network can have.
func (c *Config) checkHiera() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, a...))
	}
	h := c.Hiera
	if h.Heads == [4]int{} || h.Windows[1] == 0 {
		return bad("width %d with blocks %v is no published model, and there is no config.json that gives its heads, windows and global blocks: use Heads, Windows and GlobalBlocks",
			h.Widths[0], h.Blocks)
	}
	if c.ImageSize%32 != 0 || c.PatchSize != hieraCell {
		return bad("input of %d pixels, want a multiple of 32", c.ImageSize)
	}
	first := 0
	for s := range h.Blocks {
		switch w := h.Windows[s]; {
		case h.Heads[s] < 1 || h.Widths[s]%h.Heads[s] != 0:
			return bad("stage %d has width %d and %d heads, want a divisor; see Heads", s, h.Widths[s], h.Heads[s])
		case w < 1 || w > maxSide/hieraStride:
			return bad("stage %d has windows of %d, want 1 to %d; see Windows", s, w, maxSide/hieraStride)
		case s < 3 && w%2 != 0:
			return bad("stage %d has windows of %d, which the next stage halves: want an even number; see Windows", s, w)
		case s > 0 && h.global(first):
			return bad("block %d is global and begins a stage, want windows; see GlobalBlocks", first)
		}
		first += h.Blocks[s]
	}
	for _, n := range h.Globals {
		if n < 0 || n >= first {
			return bad("global block %d of %d; see GlobalBlocks", n, first)
		}
	}
	return nil
}
