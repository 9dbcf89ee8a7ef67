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
	"gonum.org/v1/gonum/blas/blas32"
)

// loader reads tensors by their canonical names, packs them and lets them go.
// Run once with only collect set, it lists what it would read. The first error
// sticks.
type loader struct {
	view    *weights.View
	kernel  simd.Kernel
	collect *[]weights.TensorInfo
	buf     []float32 // holds one tensor at a time
	digest  hash.Hash // of what was read, or nil
	err     error
}

// into reads a tensor to dst.
func (l *loader) into(dst []float32, name string, shape ...int) []float32 {
	if l.collect != nil {
		*l.collect = append(*l.collect, weights.TensorInfo{Name: name, Shape: shape})
		return nil
	}
	if l.err != nil {
		return dst
	}
	if l.err = l.view.Read(name, dst); l.err != nil {
		return dst
	}
	l.view.Release(name)
	if l.digest != nil {
		fmt.Fprintf(l.digest, "%s %v %08x\n", name, shape, checksum(dst))
	}
	return dst
}

// keep reads a tensor that stays as it is.
func (l *loader) keep(name string, shape ...int) []float32 {
	if l.collect != nil {
		return l.into(nil, name, shape...)
	}
	return l.into(make([]float32, size(shape)), name, shape...)
}

// passing reads a tensor that lives until the next one is read.
func (l *loader) passing(name string, shape ...int) []float32 {
	n := size(shape)
	if l.collect == nil && cap(l.buf) < n {
		l.buf = nil // let the collector have it before its successor is made
		l.buf = make([]float32, n)
	}
	return l.into(l.buf[:min(n, cap(l.buf))], name, shape...)
}

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// linear reads a Linear stored as PyTorch does, out×in. shape is that of the
// tensor, where it has more dimensions.
func (l *loader) linear(weight, bias string, out, in int, shape ...int) nn.Linear {
	if shape == nil {
		shape = []int{out, in}
	}
	var b []float32
	if bias != "" {
		b = l.keep(bias, out)
	}
	w := l.passing(weight, shape...)
	if l.collect != nil || l.err != nil {
		return nn.Linear{}
	}
	return nn.NewLinear(l.kernel, w, out, in, b)
}

// projection reads a matrix that is stored in×out.
func (l *loader) projection(name string, in, out int) nn.Linear {
	w := l.passing(name, in, out)
	if l.collect != nil || l.err != nil {
		return nn.Linear{}
	}
	return nn.Linear{Weight: simd.PackTransposed(l.kernel, nn.Matrix(w, in, out))}
}

func (l *loader) norm(name string, width int, eps float32) nn.LayerNorm {
	return nn.LayerNorm{Weight: l.keep(name+".weight", width), Bias: l.keep(name+".bias", width), Eps: eps}
}

func (l *loader) matrix(name string, rows, cols int) blas32.General {
	m := l.keep(name, rows, cols)
	if l.collect != nil {
		return blas32.General{}
	}
	return nn.Matrix(m, rows, cols)
}

func (l *loader) blocks(prefix string, layers, width, hidden int, act simd.Activation, eps float32) []block {
	blocks := make([]block, layers)
	for i := range blocks {
		p := fmt.Sprintf("%s%d.", prefix, i)
		blocks[i] = block{
			ln1: l.norm(p+"ln_1", width, eps),
			qkv: l.linear(p+"attn.in_proj_weight", p+"attn.in_proj_bias", 3*width, width),
			out: l.linear(p+"attn.out_proj.weight", p+"attn.out_proj.bias", width, width),
			ln2: l.norm(p+"ln_2", width, eps),
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
		class:     l.keep("visual.class_embedding", v.Width),
		conv:      l.linear("visual.conv1.weight", "", v.Width, 3*v.Patch*v.Patch, v.Width, 3, v.Patch, v.Patch),
		positions: l.matrix("visual.positional_embedding", 1+cells, v.Width),
		pre:       l.norm("visual.ln_pre", v.Width, v.Eps),
		blocks:    l.blocks(visionBlocks, v.Layers, v.Width, v.Hidden, v.Activation, v.Eps),
		post:      l.norm("visual.ln_post", v.Width, v.Eps),
		proj:      l.projection("visual.proj", v.Width, c.Embed),
	}
}

func (l *loader) text(c *Config) *textTower {
	t := &c.Text
	return &textTower{
		heads:     heads{t.Heads, t.Width / t.Heads},
		tokens:    l.matrix("token_embedding.weight", t.Vocabulary, t.Width),
		positions: l.matrix("positional_embedding", t.Context, t.Width),
		blocks:    l.blocks(textBlocks, t.Layers, t.Width, t.Hidden, t.Activation, t.Eps),
		final:     l.norm("ln_final", t.Width, t.Eps),
		proj:      l.projection("text_projection", t.Width, c.Embed),
	}
}

// sizes reads from the shapes of the tensors what they tell. Where tensors
// disagree the most common answer is taken, so that the check of all shapes
// names the odd one.
func sizes(v *weights.View) (c Config, err error) {
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
			err = fmt.Errorf("%w: no tensor tells the %s, for example %s", weights.ErrMissing, name, dims[0])
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
	side := int(math.Sqrt(float64(max(cells, 0))))
	if err == nil && (cells < 1 || side*side != cells) {
		err = fmt.Errorf("%w: %s has %d rows: want one more than a square", weights.ErrShape, positions, cells+1)
	}
	c.Vision.Grid = image.Pt(side, side)

	c.Text.Width = votes("text tower's width", "ln_final.weight", 0, "ln_final.bias", 0,
		"positional_embedding", 1, "token_embedding.weight", 1, "text_projection", 0)
	c.Text.Context = votes("context", "positional_embedding", 0)
	c.Text.Vocabulary = votes("vocabulary", "token_embedding.weight", 0)
	c.Text.Layers = layers(v, textBlocks)
	c.Text.Hidden = votes("text tower's MLP", textBlocks+"0.mlp.c_fc.weight", 0,
		textBlocks+"0.mlp.c_fc.bias", 0, textBlocks+"0.mlp.c_proj.weight", 1)
	if err == nil && (c.Vision.Layers == 0 || c.Text.Layers == 0) {
		err = fmt.Errorf("%w: no blocks under %s or %s", weights.ErrMissing, visionBlocks, textBlocks)
	}
	return c, err
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
	return h
}

func digestString(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
