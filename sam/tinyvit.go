package sam

import (
	"strconv"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// Settings of a TinyViT that do not follow from shapes
// (mobile_sam/build_sam.py, build_sam_vit_t).
var (
	tinyHeads   = [...]int{2, 4, 5, 10}
	tinyWindows = [...]int{7, 7, 14, 7}
)

const (
	tinyEps      = 1e-5 // of its layer norms and batch norms
	tinySide     = 1024 // native input
	tinyPatch    = 16   // pixels per cell of its output grid
	tinyFixedDim = 320  // a merging to this width keeps the grid: the last one
)

// tinyViT is MobileSAM's image encoder (Wu et al., TinyViT;
// mobile_sam/modeling/tiny_vit_sam.py). Batch norms are folded into the
// convolutions before them. Tokens are rows, channels columns throughout.
type tinyViT struct {
	stem1, stem2 conv3 // both stride 2
	convs        []mbConv
	merges       []merging   // after stage 0, 1 and 2
	stages       []tinyStage // stages 1, 2 and 3
	neck         neck
}

// mbConv is an inverted bottleneck: 1×1, depthwise 3×3, 1×1, residual, GELU
// after each.
type mbConv struct {
	expand, project nn.Linear
	depthwise       depthwise
}

// merging changes width and, but for the last, halves the grid: 1×1,
// depthwise 3×3, 1×1, GELU between.
type merging struct {
	in, out   nn.Linear
	depthwise depthwise
	stride    int
}

type tinyStage struct {
	blocks        []tinyBlock
	heads, window int
}

type tinyBlock struct {
	norm      nn.LayerNorm
	qkv, proj nn.Linear // qkv reordered to queries, keys, values of all heads
	fill      []float32 // keys and values of a padded token
	biases    []float32 // heads × size² × size², by query and key of a whole window
	local     depthwise
	mlpNorm   nn.LayerNorm
	mlp       nn.MLP
}

func loadTinyViT(l *loader, c *TinyViTConfig, out int) *tinyViT {
	const p = "image_encoder."
	d := c.Widths
	t := &tinyViT{
		stem1:  l.conv3Norm(p+"patch_embed.seq.0", d[0]/2, 3),
		stem2:  l.conv3Norm(p+"patch_embed.seq.2", d[0], d[0]/2),
		convs:  make([]mbConv, c.Depths[0]),
		stages: make([]tinyStage, len(d)-1),
		merges: make([]merging, len(d)-1),
		neck:   loadNeck(l, p+"neck", d[len(d)-1], out),
	}
	for i := range t.convs {
		q, hidden := p+"layers.0.blocks."+strconv.Itoa(i)+".", 4*d[0]
		t.convs[i] = mbConv{
			expand:    l.pointwiseNorm(q+"conv1", hidden, d[0]),
			depthwise: l.depthwiseNorm(q+"conv2", hidden),
			project:   l.pointwiseNorm(q+"conv3", d[0], hidden),
		}
	}
	for s := range t.stages {
		q := p + "layers." + strconv.Itoa(s) + ".downsample."
		t.merges[s] = merging{
			in:        l.pointwiseNorm(q+"conv1", d[s+1], d[s]),
			depthwise: l.depthwiseNorm(q+"conv2", d[s+1]),
			out:       l.pointwiseNorm(q+"conv3", d[s+1], d[s+1]),
			stride:    2,
		}
		if d[s+1] == tinyFixedDim {
			t.merges[s].stride = 1
		}
		stage := tinyStage{make([]tinyBlock, c.Depths[s+1]), tinyHeads[s+1], tinyWindows[s+1]}
		for i := range stage.blocks {
			stage.blocks[i] = loadTinyBlock(l, p+"layers."+strconv.Itoa(s+1)+".blocks."+strconv.Itoa(i)+".", d[s+1], stage.heads, stage.window)
		}
		t.stages[s] = stage
	}
	l.unused(p+"norm_head.weight", d[len(d)-1])
	l.unused(p+"norm_head.bias", d[len(d)-1])
	l.unused(p+"head.weight", -1, d[len(d)-1])
	l.unused(p+"head.bias", -1)
	return t
}

func loadTinyBlock(l *loader, p string, width, heads, window int) tinyBlock {
	b := tinyBlock{
		norm:    l.Norm(p+"attn.norm", width, tinyEps),
		proj:    l.linear(p+"attn.proj", width, width),
		local:   l.depthwiseNorm(p+"local_conv", width),
		mlpNorm: l.Norm(p+"mlp.norm", width, tinyEps),
		mlp: nn.MLP{
			In:  l.linear(p+"mlp.fc1", 4*width, width),
			Out: l.linear(p+"mlp.fc2", width, 4*width),
			Act: simd.GELU,
		},
	}
	weight := l.Tensor(p+"attn.qkv.weight", 3*width, width)
	bias := l.Tensor(p+"attn.qkv.bias", 3*width)
	biases := l.Tensor(p+"attn.attention_biases", heads, window*window)
	if l.Listing() {
		return b
	}

	// The checkpoint has query, key and value of one head side by side.
	dim := width / heads
	w, v := make([]float32, len(weight)), make([]float32, len(bias))
	for h := range heads {
		for part := range 3 {
			from, to := (h*3+part)*dim, part*width+h*dim
			copy(w[to*width:][:dim*width], weight[from*width:])
			copy(v[to:][:dim], bias[from:])
		}
	}
	b.qkv = nn.NewLinear(l.Kernel, w, 3*width, width, v)

	// Windows are padded before the norm, which turns zeros into its bias.
	padded := make([]float32, 3*width)
	b.qkv.Apply(nn.Exec{Kernel: l.Kernel}, nn.Matrix(padded, 1, 3*width), nn.Matrix(b.norm.Bias, 1, width), simd.Identity)
	b.fill = padded[width:]

	// A score's bias depends on (|Δy|, |Δx|), numbered as pairs of tokens in
	// row order first show them: from the first token on, that is row order
	// of the offsets themselves.
	n := window * window
	b.biases = make([]float32, heads*n*n)
	for h := range heads {
		for q := range n {
			for k := range n {
				dy, dx := abs(q/window-k/window), abs(q%window-k%window)
				b.biases[(h*n+q)*n+k] = biases[h*n+dy*window+dx]
			}
		}
	}
	return b
}

func abs(x int) int { return max(x, -x) }

func (t *tinyViT) steps() int {
	n := 1 + len(t.convs) + len(t.merges) + 1
	for _, s := range t.stages {
		n += len(s.blocks)
	}
	return n
}

func (t *tinyViT) geometry(_ simd.Kernel, side int) *geometry {
	g := &geometry{side: side, grid: side / tinyPatch, windows: make([]*windows, len(t.stages))}
	grid := side / 4
	for i, s := range t.stages {
		grid /= t.merges[i].stride
		g.windows[i] = newWindows(grid, s.window)
	}
	return g
}

func (t *tinyViT) encode(r *nn.Call, dst *Embedding, p Pixels, g *geometry) error {
	side := g.side / 4
	tokens := t.embed(r, p, g.side)
	r.Show(tokens, "enc.patch_embed")
	if err := r.Step(1); err != nil {
		return err
	}
	for i := range t.convs {
		t.convs[i].apply(r, tokens, side)
		r.Show(tokens, "enc.layer0.block%d", i)
		if err := r.Step(1); err != nil {
			return err
		}
	}
	for i, s := range t.stages {
		m := &t.merges[i]
		merged := r.Matrix(side/m.stride*(side/m.stride), m.out.Weight.N())
		m.apply(r, merged, tokens, side)
		tokens, side = merged, side/m.stride
		r.Show(tokens, "enc.layer%d.downsample", i)
		if err := r.Step(1); err != nil {
			return err
		}
		for j := range s.blocks {
			s.blocks[j].apply(r, tokens, s.heads, g.windows[i])
			r.Show(tokens, "enc.layer%d.block%d", i+1, j)
			if err := r.Step(1); err != nil {
				return err
			}
		}
	}
	t.neck.apply(r, dst.features, tokens, side)
	return r.Step(1)
}

// embed is the stem: two convolutions of stride 2.
func (t *tinyViT) embed(r *nn.Call, p Pixels, side int) blas32.General {
	tokens := r.Matrix(side/4*(side/4), t.stem2.Weight.N())
	mark := r.Mark()
	defer r.Release(mark)
	pixels := r.Matrix(side*side, 3)
	r.Team.Do(side, func(_, y int) {
		line := pixels.Data[y*side*3:][:side*3]
		clear(line)
		if y >= p.Height {
			return
		}
		for c := range 3 {
			for i, v := range p.Data[(c*p.Height+y)*p.Width:][:p.Width] {
				line[3*i+c] = v
			}
		}
	})
	half := r.Matrix(side/2*(side/2), t.stem1.Weight.N())
	t.stem1.apply(r, half, pixels, side, 2, simd.GELU)
	t.stem2.apply(r, tokens, half, side/2, 2, simd.Identity)
	return tokens
}

func (m *mbConv) apply(r *nn.Call, tokens blas32.General, side int) {
	mark := r.Mark()
	defer r.Release(mark)
	hidden := r.Matrix(tokens.Rows, m.expand.Weight.N())
	mixed := r.Matrix(tokens.Rows, m.expand.Weight.N())
	m.expand.Apply(r.Exec, hidden, tokens, simd.GELU)
	m.depthwise.apply(r.Exec, mixed, hidden, side, 1, true)
	m.project.ApplyAdd(r.Exec, tokens, mixed, tokens)
	r.Team.Do(side, func(_, y int) {
		r.Kernel.Activate(simd.GELU, nn.Rows(tokens, y*side, side).Data)
	})
}

func (m *merging) apply(r *nn.Call, dst, tokens blas32.General, side int) {
	mark := r.Mark()
	defer r.Release(mark)
	wide := r.Matrix(tokens.Rows, dst.Cols)
	mixed := r.Matrix(dst.Rows, dst.Cols)
	m.in.Apply(r.Exec, wide, tokens, simd.GELU)
	m.depthwise.apply(r.Exec, mixed, wide, side, m.stride, true)
	m.out.Apply(r.Exec, dst, mixed, simd.Identity)
}

// apply is windowed attention with a residual, a depthwise convolution
// without one, and an MLP with one, in place.
func (b *tinyBlock) apply(r *nn.Call, tokens blas32.General, heads int, w *windows) {
	mark := r.Mark()
	defer r.Release(mark)
	normed := r.Matrix(tokens.Rows, tokens.Cols)
	mixed := r.Matrix(tokens.Rows, tokens.Cols)
	inner := r.Mark()

	w.normalize(r.Exec, b.norm, normed, tokens)
	qkv := r.Matrix(tokens.Rows, 3*tokens.Cols)
	b.qkv.Apply(r.Exec, qkv, normed, simd.Identity)
	w.attend(r, mixed, qkv, heads, b.fill, func(g windowGroup, dst blas32.General, a *simd.Attention) {
		b.attendHeads(r, dst, g, w.size, a)
	})
	w.unorder(r.Team, normed, mixed)
	b.proj.ApplyAdd(r.Exec, tokens, normed, tokens)
	r.Release(inner)

	b.local.apply(r.Exec, mixed, tokens, w.grid, 1, false)
	b.mlpNorm.Apply(r.Exec, normed, mixed)
	b.mlp.ApplyAdd(r.Exec, tokens, normed, mixed, r.Matrix(tokens.Rows, b.mlp.In.Weight.N()))
}

// attendHeads runs a one head at a time, each with its own biases.
func (b *tinyBlock) attendHeads(r *nn.Call, dst blas32.General, g windowGroup, size int, a *simd.Attention) {
	n := size * size
	mask := r.Matrix(g.rows*g.cols, n)
	for h := range a.Heads {
		biases := nn.Matrix(b.biases[h*n*n:], n, n)
		one := *a
		one.Heads, one.Mask = 1, biases
		if mask.Rows < n {
			for i := range mask.Rows {
				copy(row(mask, i), row(biases, i/g.cols*size+i%g.cols))
			}
			one.Mask = mask
		}
		one.Q, one.K, one.V = nn.Cols(a.Q, h*a.HeadDim, a.HeadDim), nn.Cols(a.K, h*a.HeadDim, a.HeadDim), nn.Cols(a.V, h*a.HeadDim, a.HeadDim)
		r.Kernel.Attend(r.Team, nn.Cols(dst, h*a.HeadDim, a.HeadDim), &one)
	}
}
