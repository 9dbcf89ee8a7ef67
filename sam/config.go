package sam

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/clipsurgery/clipsurgery/weights"
)

// ErrConfig reports a setting that does not fit the tensors, from an option,
// a config file or metadata.
var ErrConfig = errors.New("configuration")

// Config is the architecture of a model. Nearly all of it follows from the
// shapes of its tensors. Published: ViT-B, ViT-L and ViT-H
// (segment_anything/build_sam.py) with widths of 768, 1024 and 1280, 12, 24
// and 32 blocks, 12, 16 and 16 heads; MobileSAM's TinyViT
// (mobile_sam/build_sam.py).
type Config struct {
	ImageSize int // longest side of the input, pixels
	PatchSize int // pixels per side of a grid cell

	// The image encoder: one of the two.
	ViT  *ViTConfig
	Tiny *TinyViTConfig

	PromptWidth   int     // channels of embeddings and decoder tokens
	MaskChannels  int     // of mask prompts, in the middle of their convolutions
	Masks         int     // the single mask and the others
	DecoderDepth  int     // two-way layers
	DecoderHeads  int     // no shape tells; see [DecoderHeads]
	DecoderHidden int     // of the two-way layers' MLPs
	DecoderEps    float32 // of the two-way layers' layer norms; see [DecoderEpsilon]
	CrossWidth    int     // queries, keys and values of cross-attention
	IoUDepth      int     // layers of the quality head
	IoUHidden     int
}

// ViTConfig is the architecture of a plain Vision Transformer.
type ViTConfig struct {
	Width, Depth, Heads, Hidden int
	Eps                         float32 // of its layer norms
	Windows                     []int   // per block, cells per side; 0 is global attention
	Tables                      []int   // per block, rows of its relative-position tables
}

// TinyViTConfig is the architecture of a TinyViT.
type TinyViTConfig struct {
	Widths, Depths [4]int // per stage
}

// Grid is the side of the embedding's grid at the native input size.
func (c Config) Grid() int { return c.ImageSize / c.PatchSize }

// sizes reads numbers from the shapes of tensors. A tensor that is absent or
// of another rank counts as zeros: loading will name it.
type sizes struct {
	view *weights.View
}

func (s sizes) at(name string, rank, axis int) int {
	shape, ok := s.view.Shape(name)
	if !ok || len(shape) != rank {
		return 0
	}
	return shape[axis]
}

// count is the number of consecutive i from 0 for which format names a tensor.
func (s sizes) count(format string) int {
	for i := 0; ; i++ {
		if !s.view.Has(fmt.Sprintf(format, i)) {
			return i
		}
	}
}

// configOf reads the architecture that the tensors show; what they do not
// show has Meta's values.
func configOf(view *weights.View) *Config {
	s := sizes{view}
	const d, p = "mask_decoder.", "prompt_encoder."
	c := &Config{
		PromptWidth:   s.at(d+"iou_token.weight", 2, 1),
		MaskChannels:  s.at(p+"mask_downscaling.3.weight", 4, 0),
		Masks:         s.at(d+"mask_tokens.weight", 2, 0),
		DecoderDepth:  s.count(d + "transformer.layers.%d.norm1.weight"),
		DecoderHeads:  8,
		DecoderHidden: s.at(d+"transformer.layers.0.mlp.lin1.weight", 2, 0),
		DecoderEps:    1e-5,
		CrossWidth:    s.at(d+"transformer.final_attn_token_to_image.q_proj.weight", 2, 0),
		IoUDepth:      s.count(d + "iou_prediction_head.layers.%d.weight"),
		IoUHidden:     s.at(d+"iou_prediction_head.layers.0.weight", 2, 0),
	}
	const e = "image_encoder."
	if view.Has(e + "patch_embed.seq.0.c.weight") {
		c.ImageSize, c.PatchSize, c.Tiny = tinySide, tinyPatch, &TinyViTConfig{}
		for i := range c.Tiny.Widths {
			layer := e + "layers." + strconv.Itoa(i) + ".blocks."
			if i == 0 {
				c.Tiny.Widths[i] = s.at(e+"patch_embed.seq.2.c.weight", 4, 0)
				c.Tiny.Depths[i] = s.count(layer + "%d.conv1.c.weight")
			} else {
				c.Tiny.Widths[i] = s.at(layer+"0.attn.norm.weight", 1, 0)
				c.Tiny.Depths[i] = s.count(layer + "%d.attn.norm.weight")
			}
		}
		return c
	}
	v := &ViTConfig{
		Width:  s.at(e+"patch_embed.proj.weight", 4, 0),
		Depth:  s.count(e + "blocks.%d.norm1.weight"),
		Hidden: s.at(e+"blocks.0.mlp.lin1.weight", 2, 0),
		Eps:    1e-6,
	}
	c.ViT = v
	c.PatchSize = s.at(e+"patch_embed.proj.weight", 4, 2)
	grid := s.at(e+"pos_embed", 4, 1)
	c.ImageSize = grid * c.PatchSize
	if dim := s.at(e+"blocks.0.attn.rel_pos_h", 2, 1); dim > 0 {
		v.Heads = v.Width / dim
	}
	v.Windows, v.Tables = make([]int, v.Depth), make([]int, v.Depth)
	for i := range v.Depth {
		rows := s.at(e+"blocks."+strconv.Itoa(i)+".attn.rel_pos_h", 2, 0)
		v.Tables[i] = rows
		if rows < 2*grid-1 {
			v.Windows[i] = (rows + 1) / 2
		}
	}
	return c
}

// huggingFace is what of a SamModel's config.json no shape tells.
type huggingFace struct {
	Vision struct {
		Eps     *float32 `json:"layer_norm_eps"`
		Window  *int     `json:"window_size"`
		Globals []int    `json:"global_attn_indexes"`
	} `json:"vision_config"`
	Decoder struct {
		Eps   *float32 `json:"layer_norm_eps"`
		Heads *int     `json:"num_attention_heads"`
	} `json:"mask_decoder_config"`
}

// settings completes c by what the file says beside its tensors.
func (c *Config) settings(config []byte, metadata map[string]string) error {
	if text, ok := metadata["decoder_num_heads"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%w: metadata decoder_num_heads: %w", ErrConfig, err)
		}
		c.DecoderHeads = n
	}
	if config == nil {
		return nil
	}
	var hf huggingFace
	if err := json.Unmarshal(config, &hf); err != nil {
		return fmt.Errorf("%w: config.json: %w", ErrConfig, err)
	}
	if hf.Decoder.Heads != nil {
		c.DecoderHeads = *hf.Decoder.Heads
	}
	if hf.Decoder.Eps != nil {
		c.DecoderEps = *hf.Decoder.Eps
	}
	if v := c.ViT; v != nil {
		if hf.Vision.Eps != nil {
			v.Eps = *hf.Vision.Eps
		}
		if hf.Vision.Window != nil && hf.Vision.Globals != nil {
			for i := range v.Windows {
				v.Windows[i] = *hf.Vision.Window
			}
			for _, i := range hf.Vision.Globals {
				if i < 0 || i >= v.Depth {
					return fmt.Errorf("%w: config.json: global_attn_indexes has %d of %d blocks", ErrConfig, i, v.Depth)
				}
				v.Windows[i] = 0
			}
		}
	}
	return nil
}

// check reports sizes that no network can have. Tensors that the sizes came
// from are known to be there.
func (c *Config) check() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, a...))
	}
	if h := c.DecoderHeads; h < 1 || c.PromptWidth%h != 0 || c.CrossWidth%h != 0 {
		return bad("%d decoder heads for widths of %d and %d; see DecoderHeads", h, c.PromptWidth, c.CrossWidth)
	}
	if c.PromptWidth%8 != 0 || c.MaskChannels%4 != 0 {
		return bad("prompt width %d and mask channels %d are not multiples of 8 and 4", c.PromptWidth, c.MaskChannels)
	}
	if c.Masks < 2 {
		return bad("%d mask tokens", c.Masks)
	}
	if c.DecoderDepth < 1 || c.IoUDepth < 1 {
		return bad("decoder of %d layers, quality head of %d", c.DecoderDepth, c.IoUDepth)
	}
	for _, eps := range []float32{c.DecoderEps, c.encoderEps()} {
		if !(eps > 0 && eps < 1) {
			return bad("layer norm epsilon %v", eps)
		}
	}
	if c.Tiny != nil {
		for i, w := range c.Tiny.Widths {
			if c.Tiny.Depths[i] < 1 || w < 2 || w%2 != 0 || w%tinyHeads[i] != 0 {
				return bad("TinyViT stage %d of %d blocks, width %d", i, c.Tiny.Depths[i], w)
			}
			if last := i == len(c.Tiny.Widths)-1; last != (w == tinyFixedDim) {
				return bad("TinyViT stage %d of width %d: a merging to %d keeps the grid, which the last one has to and no other may", i, w, tinyFixedDim)
			}
		}
		return nil
	}
	v := c.ViT
	if v.Depth < 1 || v.Heads < 1 || v.Width%v.Heads != 0 || c.PatchSize < 1 || c.ImageSize < c.PatchSize || c.ImageSize > maxSide {
		return bad("image encoder of %d blocks, width %d, %d heads, %d pixels, patches of %d", v.Depth, v.Width, v.Heads, c.ImageSize, c.PatchSize)
	}
	for i, n := range v.Windows {
		if n < 0 || n > c.Grid() || v.Tables[i] < 1 {
			return bad("block %d has windows of %d and %d relative positions", i, n, v.Tables[i])
		}
	}
	return nil
}

func (c *Config) encoderEps() float32 {
	if c.ViT != nil {
		return c.ViT.Eps
	}
	return tinyEps
}
