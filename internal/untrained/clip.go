package untrained

import (
	"fmt"

	"github.com/clipsurgery/clipsurgery/weights"
)

// CLIP is an architecture of CLIP with OpenAI's names, context and vocabulary.
type CLIP struct {
	Embed     int
	Side      int // of the native input, pixels
	Patch     int // of a ViT
	Width     int // of the image tower
	Layers    int // of a ViT
	Stages    [4]int
	TextWidth int
}

// OpenAI's models.
var (
	ViTB16 = CLIP{Embed: 512, Side: 224, Patch: 16, Width: 768, Layers: 12, TextWidth: 512}
	ViTL14 = CLIP{Embed: 768, Side: 224, Patch: 14, Width: 1024, Layers: 24, TextWidth: 768}
	RN50   = CLIP{Embed: 1024, Side: 224, Width: 64, Stages: [4]int{3, 4, 6, 3}, TextWidth: 512}
)

// The text tower of all of them.
const (
	TextLayers  = 12
	TextContext = 77
	vocabulary  = 49408
)

// File is the architecture's checkpoint.
func (c CLIP) File() (*weights.File, error) {
	var l list
	if c.Patch > 0 {
		l.vision(c)
	} else {
		l.resNet(c)
	}
	l.add("token_embedding.weight", vocabulary, c.TextWidth)
	l.add("positional_embedding", TextContext, c.TextWidth)
	l.blocks("transformer.resblocks.", TextLayers, c.TextWidth)
	l.layer("ln_final", c.TextWidth)
	l.add("text_projection", c.TextWidth, c.Embed)
	l.add("logit_scale")
	return l.file()
}

func (l *list) vision(c CLIP) {
	grid := c.Side / c.Patch
	l.add("visual.class_embedding", c.Width)
	l.add("visual.conv1.weight", c.Width, 3, c.Patch, c.Patch)
	l.add("visual.positional_embedding", 1+grid*grid, c.Width)
	l.layer("visual.ln_pre", c.Width)
	l.blocks("visual.transformer.resblocks.", c.Layers, c.Width)
	l.layer("visual.ln_post", c.Width)
	l.add("visual.proj", c.Width, c.Embed)
}

func (l *list) blocks(prefix string, layers, width int) {
	for i := range layers {
		p := fmt.Sprintf("%s%d.", prefix, i)
		l.layer(p+"ln_1", width)
		l.add(p+"attn.in_proj_weight", 3*width, width)
		l.add(p+"attn.in_proj_bias", 3*width)
		l.layer(p+"attn.out_proj", width, width)
		l.layer(p+"ln_2", width)
		l.layer(p+"mlp.c_fc", 4*width, width)
		l.layer(p+"mlp.c_proj", width, 4*width)
	}
}

func (l *list) resNet(c CLIP) {
	conv := func(weight, norm string, out, in, side int) {
		l.add(weight+".weight", out, in, side, side)
		l.layer(norm, out)
		l.add(norm+".running_mean", out)
		l.add(norm+".running_var", out)
		l.add(norm + ".num_batches_tracked")
	}
	conv("visual.conv1", "visual.bn1", c.Width/2, 3, 3)
	conv("visual.conv2", "visual.bn2", c.Width/2, c.Width/2, 3)
	conv("visual.conv3", "visual.bn3", c.Width, c.Width/2, 3)
	in := c.Width
	for i, blocks := range c.Stages {
		width := c.Width << i
		for j := range blocks {
			p := fmt.Sprintf("visual.layer%d.%d.", 1+i, j)
			conv(p+"conv1", p+"bn1", width, in, 1)
			conv(p+"conv2", p+"bn2", width, width, 3)
			conv(p+"conv3", p+"bn3", 4*width, width, 1)
			if j == 0 {
				conv(p+"downsample.0", p+"downsample.1", 4*width, in, 1)
			}
			in = 4 * width
		}
	}
	grid := c.Side / 32
	l.add("visual.attnpool.positional_embedding", 1+grid*grid, in)
	for _, name := range []string{"q_proj", "k_proj", "v_proj"} {
		l.layer("visual.attnpool."+name, in, in)
	}
	l.layer("visual.attnpool.c_proj", c.Embed, in)
}

// Flops counts the multiplications and additions of a ViT's untouched image
// tower; with surgery, those of attention and output projection beside the
// last 6 blocks too, less what the last block need not do for other rows than
// the class token's.
func (c CLIP) Flops(side int, surgery bool) float64 {
	n, w := float64(1+(side/c.Patch)*(side/c.Patch)), float64(c.Width)
	flops := 2*(n-1)*3*float64(c.Patch*c.Patch)*w + 2*n*w*float64(c.Embed) + float64(c.Layers)*(24*n*w*w+4*n*n*w)
	if surgery {
		flops += 6*(2*n*w*w+4*n*n*w) - (18*n*w*w + 4*n*n*w)
	}
	return flops
}

// TextFlops counts those of a block of the text tower for a row with so many
// ancestors.
func (c CLIP) TextFlops(ancestors int) float64 {
	w := float64(c.TextWidth)
	return 24*w*w + 4*float64(1+ancestors)*w
}
