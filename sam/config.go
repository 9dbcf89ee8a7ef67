package sam

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/clipsurgery/clipsurgery/weights"
)

// ErrConfig reports a setting, from an option, a configuration file or
// metadata, that does not fit the tensors.
var ErrConfig = errors.New("configuration")

// Config is the architecture of a model. Nearly all of it follows from the
// shapes of its tensors. Published models are ViT-B, ViT-L and ViT-H
// (segment_anything/build_sam.py) with widths of 768, 1024 and 1280, 12, 24 and
// 32 blocks, 12, 16 and 16 heads; MobileSAM's TinyViT
// (mobile_sam/build_sam.py).
type Config struct {
	ImageSize int // longest side of the input, pixels
	PatchSize int // pixels per side of a grid cell

	// The image encoder: one of the three. Hiera is SAM 2's.
	ViT   *ViTConfig
	Tiny  *TinyViTConfig
	Hiera *HieraConfig

	PromptWidth   int     // channels of embeddings and decoder tokens
	MaskChannels  int     // of mask prompts, in the middle of their convolutions
	Masks         int     // the single mask and the others
	DecoderDepth  int     // two-way layers
	DecoderHeads  int     // does not follow from shapes; see [DecoderHeads]
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

// sizes reads numbers from the shapes of tensors. A tensor that is missing or
// of another rank counts as zeros; loading will report it.
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

// configOf derives the architecture from the tensors. Other settings have
// Meta's values.
func configOf(view *weights.View) *Config {
	s := sizes{view}
	d, p := "mask_decoder.", "prompt_encoder."
	second := view.Has("image_encoder.trunk.pos_embed_window")
	if second {
		d, p = "sam_"+d, "sam_"+p
	}
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
	if second {
		c.DecoderHidden = s.at(d+"transformer.layers.0.mlp.layers.0.weight", 2, 0)
		c.ImageSize, c.PatchSize, c.Hiera = hieraSide, hieraCell, hieraOf(s)
		return c
	}
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

// huggingFace is the part of a SamModel's config.json that does not follow from
// shapes.
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

// settings completes c from the file's configuration and metadata.
func (c *Config) settings(config []byte, metadata map[string]string) error {
	if text, ok := metadata["decoder_num_heads"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%w: metadata decoder_num_heads: %w", ErrConfig, err)
		}
		c.DecoderHeads = n
	}
	if c.Hiera != nil {
		return c.hieraSettings(config)
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

// Limits of what is loaded or read. They keep every product of sizes below 2³¹,
// and are far above what anybody has published.
const (
	maxSide     = 4096    // pixels of the input: attention takes memory by the number of cells
	minCell     = 2       // pixels per side of a cell: logits, of which it has 4, are at most twice as fine as the input
	maxCells    = 1 << 20 // of a grid
	maxWidth    = 1 << 14 // channels
	maxLayers   = 1 << 10
	maxMasks    = 1 << 6
	maxFeatures = 1 << 28 // floats of an embedding, or of the masks of one prompt
)

// sizeRange is the values that a size may have.
type sizeRange struct {
	name        string
	value       int
	least, most int
	multiple    int // of which it has to be one
}

// ranges lists every size that follows from the tensors of a checkpoint.
// [Config.check] checks combinations of them.
func (c *Config) ranges() []sizeRange {
	all := []sizeRange{
		{"pixels per cell", c.PatchSize, minCell, maxSide, 1},
		{"input side", c.ImageSize, c.PatchSize, maxSide, 1},
		{"prompt width", c.PromptWidth, 8, maxWidth, 8},
		{"mask prompt channels", c.MaskChannels, 4, maxWidth, 4},
		{"mask tokens", c.Masks, 2, maxMasks, 1},
		{"decoder layers", c.DecoderDepth, 1, maxLayers, 1},
		{"decoder MLP width", c.DecoderHidden, 1, maxWidth, 1},
		{"cross-attention width", c.CrossWidth, 1, maxWidth, 1},
		{"quality head layers", c.IoUDepth, 1, maxLayers, 1},
		{"quality head width", c.IoUHidden, 1, maxWidth, 1},
	}
	if v := c.ViT; v != nil {
		all = append(all,
			sizeRange{"encoder width", v.Width, 1, maxWidth, 1},
			sizeRange{"encoder blocks", v.Depth, 1, maxLayers, 1},
			sizeRange{"encoder MLP width", v.Hidden, 1, 4 * maxWidth, 1},
			sizeRange{"encoder heads", v.Heads, 1, maxWidth, 1})
		for i := range v.Windows {
			all = append(all,
				sizeRange{fmt.Sprintf("window of block %d", i), v.Windows[i], 0, c.ImageSize / max(c.PatchSize, 1), 1},
				sizeRange{fmt.Sprintf("relative positions of block %d", i), v.Tables[i], 1, 2*maxSide - 1, 1})
		}
	}
	if h := c.Hiera; h != nil {
		all = append(all, sizeRange{"window positions", h.Windows[0], 1, maxSide, 1}, sizeRange{"background positions", h.Background, 1, maxSide, 1})
		for i := range h.Widths {
			all = append(all,
				sizeRange{fmt.Sprintf("width of stage %d", i), h.Widths[i], 1, maxWidth, 1},
				sizeRange{fmt.Sprintf("blocks of stage %d", i), h.Blocks[i], 1, maxLayers, 1})
		}
	}
	if t := c.Tiny; t != nil {
		for i := range t.Widths {
			all = append(all,
				sizeRange{fmt.Sprintf("width of stage %d", i), t.Widths[i], 2, maxWidth, 2},
				sizeRange{fmt.Sprintf("blocks of stage %d", i), t.Depths[i], 1, maxLayers, 1})
		}
	}
	return all
}

// checkMasks reports more masks than a model can have. The number of masks is
// the only count that is read from a dimension instead of from the number of
// tensors, so a small file can claim any.
func (c *Config) checkMasks() error {
	if c.Masks > maxMasks {
		return fmt.Errorf("%w: mask tokens is %d, want at most %d", ErrConfig, c.Masks, maxMasks)
	}
	return nil
}

// check reports sizes that no network can have.
func (c *Config) check() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, a...))
	}
	for _, r := range c.ranges() {
		if r.value < r.least || r.value > r.most {
			return bad("%s is %d, want %d to %d", r.name, r.value, r.least, r.most)
		}
		if r.value%r.multiple != 0 {
			return bad("%s is %d, want a multiple of %d", r.name, r.value, r.multiple)
		}
	}
	if h := c.DecoderHeads; h < 1 || c.PromptWidth%h != 0 || c.CrossWidth%h != 0 {
		return bad("%d decoder heads for widths of %d and %d; see DecoderHeads", h, c.PromptWidth, c.CrossWidth)
	}
	for _, eps := range []float32{c.DecoderEps, c.encoderEps()} {
		if !(eps > 0 && eps < 1) {
			return bad("layer norm epsilon is %v, want 0 to 1", eps)
		}
	}
	if c.Hiera != nil {
		return c.checkHiera()
	}
	if c.Tiny != nil {
		for i, w := range c.Tiny.Widths {
			if w%tinyHeads[i] != 0 {
				return bad("width of stage %d is %d, want a multiple of its %d heads", i, w, tinyHeads[i])
			}
			if last := i == len(c.Tiny.Widths)-1; last != (w == tinyFixedDim) {
				return bad("width of stage %d is %d: a merging to %d keeps the grid, which the last one has to and no other may", i, w, tinyFixedDim)
			}
		}
		return nil
	}
	if v := c.ViT; v.Width%v.Heads != 0 {
		return bad("encoder width is %d, want a multiple of its %d heads", v.Width, v.Heads)
	}
	for i, rows := range c.ViT.Tables {
		if rows%2 == 0 {
			return bad("block %d has %d relative positions, want an odd number", i, rows)
		}
	}
	return nil
}

// fits reports whether a grid × grid embedding and all that has its rows are
// within limits.
func (c *Config) fits(grid int) bool {
	cells, widest := int64(grid)*int64(grid), max(c.PromptWidth, 16*c.Masks)
	if c.ViT != nil {
		widest = max(widest, c.ViT.Width)
	}
	if c.Hiera != nil {
		widest = max(widest, 3*16*c.Hiera.Widths[0]) // of the first stage's cells
	}
	return cells <= maxCells && cells*int64(widest) <= maxFeatures
}

func (c *Config) encoderEps() float32 {
	if c.ViT != nil {
		return c.ViT.Eps
	}
	if c.Hiera != nil {
		return c.Hiera.Eps
	}
	return tinyEps
}
