package vit

import (
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
)

// stageName begins the names of a stage's tensors.
func stageName(stage int) string { return fmt.Sprintf("visual.layer%d.", 1+stage) }

// winogradFloats bounds what Winograd's methods take for 3×3 convolutions beyond
// the convolutions' own size: 128 MB. RN50 stays under it; in larger models the
// first convolutions, which have most pixels per weight, take it up.
const winogradFloats = 32 << 20

func (l *loader) resNet(c *Config) *resNet {
	v := &c.Vision
	t := &resNet{width: v.Width}
	budget := winogradFloats
	size := afterConv1(v.Size())
	t.conv1 = l.convolution("visual.conv1.weight", "visual.bn1", v.Width/2, 3, 3, v.Eps)
	t.conv2 = l.conv3x3("visual.conv2.weight", "visual.bn2", v.Width/2, v.Width/2, size, v.Eps, &budget)
	t.conv3 = l.conv3x3("visual.conv3.weight", "visual.bn3", v.Width, v.Width/2, size, v.Eps, &budget)
	size = half(size)
	in, width := v.Width, v.Width
	for i, blocks := range v.Stages {
		for j := range blocks {
			p := fmt.Sprintf("%s%d.", stageName(i), j)
			out := resNetExpansion * width
			b := bottleneck{
				conv1:  l.convolution(p+"conv1.weight", p+"bn1", width, in, 1, v.Eps),
				conv2:  l.conv3x3(p+"conv2.weight", p+"bn2", width, width, size, v.Eps, &budget),
				conv3:  l.convolution(p+"conv3.weight", p+"bn3", out, width, 1, v.Eps),
				halves: i > 0 && j == 0,
				name:   fmt.Sprintf("layer%d.%d", 1+i, j),
			}
			if j == 0 {
				b.identity = l.convolution(p+"downsample.0.weight", p+"downsample.1", out, in, 1, v.Eps)
			}
			if b.halves {
				size = half(size)
			}
			t.stages[i] = append(t.stages[i], b)
			in = out
		}
		width *= 2
	}
	t.pool = l.attentionPool(c)
	return t
}

// folded reads the weight of a convolution, out × in × side × side, and scales
// it by the batch norm that follows; bias is what that adds. The weight lives
// until the next tensor is read.
func (l *loader) folded(weight, norm string, out, in, side int, eps float32) (w, bias []float32) {
	factor, bias := l.BatchNorm(norm, out, float64(eps))
	return l.Scaled(factor, weight, out, in, side, side), bias
}

// convolution reads a convolution and its batch norm as a product with patches,
// each as channel, row, column.
func (l *loader) convolution(weight, norm string, out, in, side int, eps float32) nn.Linear {
	w, bias := l.folded(weight, norm, out, in, side, eps)
	return l.Pack(w, out, in*side*side, bias)
}

// conv3x3 reads a 3×3 convolution and its batch norm. size is its map's when the
// picture has the model's own size, for which the method is chosen; budget is
// how many floats more it may still take than it has weights.
func (l *loader) conv3x3(weight, norm string, out, in int, size image.Point, eps float32, budget *int) nn.Conv3x3 {
	w, bias := l.folded(weight, norm, out, in, 3, eps)
	if l.Listing() {
		return nn.Conv3x3{}
	}
	extra := func(m nn.Method) int { return m.Weights(out, in) - len(w) }
	method := nn.Patches
	for _, m := range []nn.Method{nn.Winograd2, nn.Winograd4} {
		if extra(m) <= *budget && m.Cost(out, in, size) < method.Cost(out, in, size) {
			method = m
		}
	}
	*budget -= extra(method)
	return nn.NewConv3x3(l.Kernel, w, out, in, bias, method)
}

func (l *loader) attentionPool(c *Config) *attentionPool {
	const p = "visual.attnpool."
	width, cells := c.Vision.attentionWidth(), c.Vision.Grid.X*c.Vision.Grid.Y
	pool := &attentionPool{
		heads:     heads{c.Vision.Heads, width / c.Vision.Heads},
		native:    c.Vision.Grid,
		positions: l.Matrix(p+"positional_embedding", 1+cells, width),
	}
	for i, name := range []string{"q_proj", "k_proj", "v_proj"} {
		pool.qkv[i] = l.linear(p+name+".weight", p+name+".bias", width, width)
	}
	pool.proj = l.linear(p+"c_proj.weight", p+"c_proj.bias", c.Embed, width)
	return pool
}
