package vit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"image"
	"math"
	"strings"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
)

// loader reads CLIP's tensors by their names in OpenAI's checkpoints.
type loader struct{ nn.Loader }

// linear reads a Linear stored as PyTorch does, out×in. shape is that of the
// tensor, where it has more dimensions.
func (l *loader) linear(weight, bias string, out, in int, shape ...int) nn.Linear {
	if shape == nil {
		shape = []int{out, in}
	}
	var b []float32
	if bias != "" {
		b = l.Tensor(bias, out)
	}
	return l.Pack(l.Passing(weight, shape...), out, in, b)
}

// projection reads a matrix that is stored in×out.
func (l *loader) projection(name string, in, out int) nn.Linear {
	w := l.Passing(name, in, out)
	if l.Listing() {
		return nn.Linear{}
	}
	return nn.Linear{Weight: simd.PackTransposed(l.Kernel, nn.Matrix(w, in, out))}
}

func (l *loader) blocks(prefix string, layers, width, hidden int, act simd.Activation, eps float32) []block {
	blocks := make([]block, layers)
	for i := range blocks {
		p := fmt.Sprintf("%s%d.", prefix, i)
		blocks[i] = block{
			ln1: l.Norm(p+"ln_1", width, eps),
			qkv: l.linear(p+"attn.in_proj_weight", p+"attn.in_proj_bias", 3*width, width),
			out: l.linear(p+"attn.out_proj.weight", p+"attn.out_proj.bias", width, width),
			ln2: l.Norm(p+"ln_2", width, eps),
			mlp: nn.MLP{
				In:  l.linear(p+"mlp.c_fc.weight", p+"mlp.c_fc.bias", hidden, width),
				Out: l.linear(p+"mlp.c_proj.weight", p+"mlp.c_proj.bias", width, hidden),
				Act: act,
			},
		}
	}
	return blocks
}

const (
	visionBlocks = "visual.transformer.resblocks."
	textBlocks   = "transformer.resblocks."
)

// tower reads the image tower that the configuration describes.
func (l *loader) tower(c *Config) imageTower {
	if c.Vision.resNet() {
		return l.resNet(c)
	}
	return l.vision(c)
}

func (l *loader) vision(c *Config) *visionTransformer {
	v := &c.Vision
	cells := v.Grid.X * v.Grid.Y
	return &visionTransformer{
		patch:     v.Patch,
		heads:     heads{v.Heads, v.Width / v.Heads},
		native:    v.Grid,
		class:     l.Tensor("visual.class_embedding", v.Width),
		conv:      l.linear("visual.conv1.weight", "", v.Width, 3*v.Patch*v.Patch, v.Width, 3, v.Patch, v.Patch),
		positions: l.Matrix("visual.positional_embedding", 1+cells, v.Width),
		pre:       l.Norm("visual.ln_pre", v.Width, v.Eps),
		blocks:    l.blocks(visionBlocks, v.Layers, v.Width, v.Hidden, v.Activation, v.Eps),
		post:      l.Norm("visual.ln_post", v.Width, v.Eps),
		proj:      l.projection("visual.proj", v.Width, c.Embed),
	}
}

func (l *loader) text(c *Config) *textTower {
	t := &c.Text
	return &textTower{
		heads:     heads{t.Heads, t.Width / t.Heads},
		tokens:    l.Matrix("token_embedding.weight", t.Vocabulary, t.Width),
		positions: l.Matrix("positional_embedding", t.Context, t.Width),
		blocks:    l.blocks(textBlocks, t.Layers, t.Width, t.Hidden, t.Activation, t.Eps),
		final:     l.Norm("ln_final", t.Width, t.Eps),
		proj:      l.projection("text_projection", t.Width, c.Embed),
	}
}

// sizes derives the sizes from the shapes of the tensors. Where tensors
// disagree, the most common answer is taken, so that the check of all shapes
// names the odd one. A grid that is not a square comes from the configured
// picture.
func sizes(v *weights.View, configured *image.Point) (c Config, err error) {
	votes := func(name string, dims ...any) int {
		count := map[int]int{}
		best := 0
		add := func(n string, dim int) {
			if shape, ok := v.Shape(n); ok && dim < len(shape) && shape[dim] > 0 {
				d := shape[dim]
				if count[d]++; best == 0 || count[d] > count[best] {
					best = d
				}
			}
		}
		for i := 0; i < len(dims); i += 2 {
			add(dims[i].(string), dims[i+1].(int))
		}
		if best == 0 && err == nil {
			err = fmt.Errorf("%w: the %s cannot be determined without %s", weights.ErrMissing, name, v.Called(dims[0].(string)))
		}
		return best
	}
	positions := "visual.positional_embedding"
	for i := range c.Vision.Stages {
		c.Vision.Stages[i] = layers(v, stageName(i))
	}
	if c.Vision.resNet() {
		positions = "visual.attnpool.positional_embedding"
		c.Vision.Patch = resNetStride
		for i, n := range c.Vision.Stages {
			c.Vision.Stages[i] = max(n, 1) // the check of all tensors names those missing
			c.Vision.Layers += c.Vision.Stages[i]
		}
		c.Vision.Width = votes("image tower's width", "visual.layer1.0.conv1.weight", 0, "visual.conv3.weight", 0,
			"visual.bn3.weight", 0, "visual.layer1.0.conv2.weight", 0, "visual.layer1.0.conv2.weight", 1)
		c.Embed = votes("embedding", "visual.attnpool.c_proj.weight", 0, "visual.attnpool.c_proj.bias", 0, "text_projection", 1)
	} else {
		c.Vision.Width = votes("image tower's width", "visual.class_embedding", 0, "visual.conv1.weight", 0,
			"visual.positional_embedding", 1, "visual.ln_pre.weight", 0, "visual.ln_post.weight", 0, "visual.proj", 0)
		c.Vision.Patch = votes("patch", "visual.conv1.weight", 2, "visual.conv1.weight", 3)
		c.Vision.Layers = layers(v, visionBlocks)
		c.Vision.Hidden = votes("image tower's MLP", visionBlocks+"0.mlp.c_fc.weight", 0,
			visionBlocks+"0.mlp.c_fc.bias", 0, visionBlocks+"0.mlp.c_proj.weight", 1)
		c.Embed = votes("embedding", "visual.proj", 1, "text_projection", 1)
	}
	cells := votes("image tower's grid", positions, 0) - 1
	if err == nil {
		err = c.Vision.setGrid(v.Called(positions), cells, configured)
	}

	c.Text.Width = votes("text tower's width", "ln_final.weight", 0, "ln_final.bias", 0,
		"positional_embedding", 1, "token_embedding.weight", 1, "text_projection", 0)
	c.Text.Context = votes("context", "positional_embedding", 0)
	c.Text.Vocabulary = votes("vocabulary", "token_embedding.weight", 0)
	c.Text.Layers = layers(v, textBlocks)
	c.Text.Hidden = votes("text tower's MLP", textBlocks+"0.mlp.c_fc.weight", 0,
		textBlocks+"0.mlp.c_fc.bias", 0, textBlocks+"0.mlp.c_proj.weight", 1)
	if err == nil && (c.Vision.Layers == 0 || c.Text.Layers == 0) {
		err = fmt.Errorf("%w: a tower without blocks, such as %s and %s", weights.ErrMissing,
			v.Called(visionBlocks+"0.ln_1.weight"), v.Called(textBlocks+"0.ln_1.weight"))
	}
	return c, err
}

// setGrid finds the grid that has so many cells: that of the configured
// picture, or else a square.
func (c *VisionConfig) setGrid(positions string, cells int, configured *image.Point) error {
	if configured != nil {
		c.Image, c.Grid = *configured, configured.Div(c.Patch)
		if int64(c.Grid.X)*int64(c.Grid.Y) != int64(cells) || cells < 1 {
			return fmt.Errorf("%w: %w: image_size %d×%d is a grid of %d×%d, but %s has %d rows besides the class token's",
				ErrConfig, weights.ErrShape, c.Image.X, c.Image.Y, c.Grid.X, c.Grid.Y, positions, cells)
		}
		return nil
	}
	side := int(math.Sqrt(float64(max(cells, 0))))
	if cells < 1 || side*side != cells {
		return fmt.Errorf("%w: %s has %d rows: want one more than a square", weights.ErrShape, positions, cells+1)
	}
	c.Grid = image.Pt(side, side)
	return nil
}

// layers counts the blocks under a prefix, as one more than the last number,
// but no more than there are tensors.
func layers(v *weights.View, prefix string) int {
	n, tensors := 0, 0
	for _, name := range v.Names() {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			var i int
			if _, err := fmt.Sscanf(rest, "%d.", &i); err == nil {
				n, tensors = max(n, i+1), tensors+1
			}
		}
	}
	return min(n, tensors)
}

// checksum is the CRC-32C of the values' bits, little-endian.
func checksum(x []float32) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var buf [4096]byte
	var sum uint32
	for len(x) > 0 {
		n := min(len(x), len(buf)/4)
		for i, v := range x[:n] {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
		}
		sum = crc32.Update(sum, table, buf[:4*n])
		x = x[n:]
	}
	return sum
}

// textDigest starts the digest of a text tower: the settings first, then, as
// they are read, the tensors.
func textDigest(c TextConfig) hash.Hash {
	h := sha256.New()
	fmt.Fprintf(h, "text heads %d activation %d eps %v\n", c.Heads, c.Activation, c.Eps)
	if c.Pooling != PoolLargest {
		fmt.Fprintf(h, "end token %d\n", c.EndToken)
	}
	return h
}

func digestString(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
