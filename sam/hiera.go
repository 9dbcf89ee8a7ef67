package sam

import (
	"fmt"
	"image"
	"strconv"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

const (
	hieraPatch  = 7 // pixels per side of a patch, of which each overlaps its neighbors
	hieraStride = 4 // pixels from a patch to the next, at the first stage
	hieraCell   = 16
	hieraMLP    = 4    // width inside an MLP, per width
	hieraSide   = 1024 // native input, if no configuration gives another
)

// hiera is SAM 2's image encoder: a hierarchical transformer in four stages,
// each of twice the width and half the grid of the one before, and a feature
// pyramid (Ryali et al., arXiv 2306.00989; facebookresearch/sam2
// sam2/modeling/backbones/hieradet.py). Tokens are rows, row by row of the grid.
type hiera struct {
	patch      nn.Linear // a row is one patch by channel, row, column
	background table     // of positions, resized to the grid
	window     table     // of positions, repeated over the grid
	stages     [4][]hieraBlock
	neck       pyramid
}

// table is a square of vectors, row by row.
type table struct {
	side   int
	values []float32 // side² × width
}

type hieraBlock struct {
	norm1    nn.LayerNorm
	qkv      nn.Linear
	shortcut *nn.Linear // of the first block of a stage but the first, which halves the grid
	proj     nn.Linear
	norm2    nn.LayerNorm
	mlp      nn.MLP
	heads    int
	window   int // cells per side; 0: global
}

func loadHiera(l *loader, c *HieraConfig, out int) *hiera {
	const p = "image_encoder.trunk."
	e := c.Widths[0]
	h := &hiera{patch: l.patches(p+"patch_embed.proj", e, 3, hieraPatch)}
	h.background = l.table(p+"pos_embed", e, c.Background)
	h.window = l.table(p+"pos_embed_window", e, c.Windows[0])
	n := 0
	for s := range h.stages {
		for i := range c.Blocks[s] {
			width, window := c.Widths[s], c.Windows[s]
			if i == 0 && s > 0 {
				// It still sees the grid of the stage before, in its windows.
				width, window = c.Widths[s-1], c.Windows[s-1]
			}
			if c.global(n) {
				window = 0
			}
			h.stages[s] = append(h.stages[s], loadHieraBlock(l, p+"blocks."+strconv.Itoa(n)+".", width, c.Widths[s], c.Heads[s], window, c.Eps))
			n++
		}
	}
	h.neck = loadPyramid(l, c, out)
	return h
}

func loadHieraBlock(l *loader, p string, in, out, heads, window int, eps float32) hieraBlock {
	b := hieraBlock{
		norm1:  l.Norm(p+"norm1", in, eps),
		qkv:    l.linear(p+"attn.qkv", 3*out, in),
		proj:   l.linear(p+"attn.proj", out, out),
		norm2:  l.Norm(p+"norm2", out, eps),
		heads:  heads,
		window: window,
		mlp: nn.MLP{
			In:  l.linear(p+"mlp.layers.0", hieraMLP*out, out),
			Out: l.linear(p+"mlp.layers.1", out, hieraMLP*out),
			Act: simd.GELU,
		},
	}
	if in != out {
		shortcut := l.linear(p+"proj", out, in)
		b.shortcut = &shortcut
	}
	return b
}

// table reads a square of vectors, stored by channel.
func (l *loader) table(name string, width, side int) table {
	stored := l.Passing(name, 1, width, side, side)
	if l.Listing() {
		return table{}
	}
	t := table{side, make([]float32, len(stored))}
	for c := range width {
		for i := range side * side {
			t.values[i*width+c] = stored[c*side*side+i]
		}
	}
	return t
}

func (h *hiera) steps() int {
	n := 1 // the neck
	for _, s := range h.stages {
		n += len(s)
	}
	return n + 1 // the patches
}

func (h *hiera) geometry(_ simd.Kernel, side int) *geometry {
	g := &geometry{side: side, grid: side / hieraCell}
	grid := side / hieraStride
	g.positions = h.positions(grid)
	known := map[image.Point]*windows{}
	of := func(grid, size int) *windows {
		key := image.Pt(grid, size)
		if known[key] == nil {
			known[key] = newWindows(grid, size)
		}
		return known[key]
	}
	for s := range h.stages {
		for i := range h.stages[s] {
			b := &h.stages[s][i]
			size := b.window
			if size == 0 {
				size = grid
			}
			g.windows = append(g.windows, of(grid, size))
			if b.shortcut != nil {
				grid /= 2
				g.pooled = append(g.pooled, of(grid, size/2))
			} else {
				g.pooled = append(g.pooled, nil)
			}
		}
	}
	return g
}

// positions is the table of a grid: the background, resized bicubically, and the
// windows' own, repeated.
func (h *hiera) positions(grid int) blas32.General {
	width := h.patch.Weight.N()
	m := nn.Matrix(make([]float32, grid*grid*width), grid*grid, width)
	pix.Cubic(m.Data, image.Pt(grid, grid), h.background.values, image.Pt(h.background.side, h.background.side), width, 0)
	for y := range grid {
		for x := range grid {
			own := h.window.values[(y%h.window.side*h.window.side+x%h.window.side)*width:][:width]
			to := row(m, y*grid+x)
			for c, v := range own {
				to[c] += v
			}
		}
	}
	return m
}

func (h *hiera) encode(r *nn.Call, dst *Embedding, p Pixels, g *geometry) error {
	grid := g.side / hieraStride
	tokens := r.Operand(grid*grid, h.patch.Weight.N())
	h.embed(r, tokens, p, grid)
	r.Show(tokens, "trunk.patch_embed")
	r.Team.Do(grid, func(_, y int) {
		for i := y * grid; i < (y+1)*grid; i++ {
			r.Kernel.Add(row(tokens, i), row(tokens, i), row(g.positions, i))
		}
	})
	if err := r.Step(1); err != nil {
		return err
	}
	var last blas32.General // stage 4, for the level before
	stage3 := tokens
	n := 0
	for s := range h.stages {
		for i := range h.stages[s] {
			b := &h.stages[s][i]
			if b.shortcut != nil {
				smaller := r.Operand(tokens.Rows/4, b.proj.Weight.N())
				b.shrink(r, smaller, tokens, g.windows[n], g.pooled[n])
				tokens = smaller
			} else {
				b.attend(r, tokens, g.windows[n])
			}
			b.feedForward(r, tokens)
			r.Show(tokens, "trunk.block%d", n)
			n++
			if err := r.Step(1); err != nil {
				return err
			}
		}
		switch s {
		case 0, 1:
			h.neck.fine(r, dst.fine[s], tokens, s)
		case 2:
			stage3 = tokens
		case 3:
			last = tokens
		}
	}
	h.neck.cells(r, dst.features, stage3, last, g.grid)
	return r.Step(1)
}

// embed stores patches·Wᵀ + bias in tokens.
func (h *hiera) embed(r *nn.Call, tokens blas32.General, p Pixels, grid int) {
	mark := r.Mark()
	defer r.Release(mark)
	depth := h.patch.Weight.K()
	scratch := r.Floats(r.Team.Size() * grid * depth)
	const border = 3
	r.Team.Do(grid, func(worker, gy int) {
		patches := nn.Matrix(scratch[worker*grid*depth:], grid, depth)
		for c := range 3 {
			for ky := range hieraPatch {
				y := gy*hieraStride + ky - border
				for gx := range grid {
					to := row(patches, gx)[(c*hieraPatch+ky)*hieraPatch:][:hieraPatch]
					if y < 0 || y >= p.Height {
						clear(to)
						continue
					}
					line := p.Data[(c*p.Height+y)*p.Width:][:p.Width]
					for kx := range to {
						if x := gx*hieraStride + kx - border; x >= 0 && x < p.Width {
							to[kx] = line[x]
						} else {
							to[kx] = 0
						}
					}
				}
			}
		}
		r.Kernel.MatMul(nil, nn.Rows(tokens, gy*grid, grid), patches, h.patch.Weight, simd.Epilogue{Bias: h.patch.Bias})
	})
}

// attend adds attention to the tokens of a grid.
func (b *hieraBlock) attend(r *nn.Call, tokens blas32.General, w *windows) {
	mark := r.Mark()
	defer r.Release(mark)
	width := tokens.Cols
	normed, attended := r.Operand(tokens.Rows, width), r.Operand(tokens.Rows, width)
	w.normalize(r.Exec, b.norm1, normed, tokens)
	w.parts(r, func(group, from, n int) {
		g := w.groups[group].part(from, n)
		qkv := r.Operand(g.tokens(), 3*width)
		b.qkv.Apply(r.Exec, qkv, nn.Rows(normed, g.first, g.tokens()), simd.Identity)
		b.attendGroup(r, w, g, nn.Rows(attended, g.first, g.tokens()), nn.Cols(qkv, 0, width), nn.Cols(qkv, width, 2*width))
	})
	if !w.raster() {
		w.unorder(r.Team, normed, attended)
		attended = normed
	}
	b.proj.ApplyAdd(r.Exec, tokens, attended, tokens)
}

// shrink stores in dst the tokens of a grid of half the columns and rows: the
// shortcut and the queries are the largest of 2×2 tokens, channel by channel.
// half are the windows w with pooled queries.
func (b *hieraBlock) shrink(r *nn.Call, dst, tokens blas32.General, w, half *windows) {
	mark := r.Mark()
	defer r.Release(mark)
	width := dst.Cols
	normed := r.Operand(tokens.Rows, tokens.Cols)
	w.normalize(r.Exec, b.norm1, normed, tokens)
	short, attended := r.Operand(dst.Rows, width), r.Operand(dst.Rows, width)
	w.parts(r, func(group, from, n int) {
		g, h := w.groups[group].part(from, n), half.groups[group].part(from, n)
		own := nn.Rows(normed, g.first, g.tokens())
		whole, qkv, queries := r.Operand(g.tokens(), width), r.Operand(g.tokens(), 3*width), r.Operand(h.tokens(), width)
		b.shortcut.Apply(r.Exec, whole, own, simd.Identity)
		pool(r.Team, nn.Rows(short, h.first, h.tokens()), whole, h)
		b.qkv.Apply(r.Exec, qkv, own, simd.Identity)
		pool(r.Team, queries, nn.Cols(qkv, 0, width), h)
		b.attendGroup(r, w, g, nn.Rows(attended, h.first, h.tokens()), queries, nn.Cols(qkv, width, 2*width))
	})
	if half.raster() {
		b.proj.ApplyAdd(r.Exec, dst, attended, short)
		return
	}
	b.proj.ApplyAdd(r.Exec, short, attended, short)
	half.unorder(r.Team, dst, short)
}

// parts calls f for n windows of a group at a time, which bounds what their
// queries, keys and values take; what f takes is released behind it.
func (w *windows) parts(r *nn.Call, f func(group, from, n int)) {
	for i, g := range w.groups {
		step := max(1, partRows/(g.rows*g.cols))
		for from := 0; from < g.count; from += step {
			mark := r.Mark()
			f(i, from, min(step, g.count-from))
			r.Release(mark)
		}
	}
}

// attendGroup runs attention inside the windows of a group.
func (b *hieraBlock) attendGroup(r *nn.Call, w *windows, g windowGroup, dst, q, kv blas32.General) {
	// Padding is zeros after the norm, so a padded token's query, key and value
	// are the biases.
	w.attendGroup(r, g, dst, q, kv, b.heads, b.qkv.Bias[dst.Cols:], func(_ windowGroup, dst blas32.General, a *simd.Attention) {
		r.Kernel.Attend(r.Team, dst, a)
	})
}

// pool stores in dst, which has the windows h, the largest of 2×2 tokens of src,
// which has the same windows with twice the rows and columns.
func pool(t *simd.Team, dst, src blas32.General, h windowGroup) {
	t.Do(h.count*h.rows, func(_, j int) {
		for x := range h.cols {
			to := row(dst, j*h.cols+x)
			at := 4*j*h.cols + 2*x // of two rows of 2·cols tokens for each row
			a, b := row(src, at), row(src, at+1)
			c, d := row(src, at+2*h.cols), row(src, at+2*h.cols+1)
			for k := range to {
				to[k] = max(a[k], b[k], c[k], d[k])
			}
		}
	})
}

// partRows is about how many tokens pass attention, the MLP or the neck
// together, which bounds what is held between.
const partRows = 8192

// feedForward adds the MLP to the tokens.
func (b *hieraBlock) feedForward(r *nn.Call, tokens blas32.General) {
	mark := r.Mark()
	defer r.Release(mark)
	rows := min(partRows, tokens.Rows)
	normed, hidden := r.Operand(rows, tokens.Cols), r.Operand(rows, b.mlp.In.Weight.N())
	for lo := 0; lo < tokens.Rows; lo += rows {
		n := min(rows, tokens.Rows-lo)
		own, normed := nn.Rows(tokens, lo, n), nn.Rows(normed, 0, n)
		b.norm2.Apply(r.Exec, normed, own)
		b.mlp.ApplyAdd(r.Exec, own, normed, own, nn.Rows(hidden, 0, n))
	}
}

// pyramid makes features of three resolutions of the trunk's stages
// (sam2/modeling/backbones/image_encoder.py, FpnNeck; sam2_base.py,
// forward_image).
type pyramid struct {
	levels   [4]nn.Linear // by stage
	fineHead [2]nn.Linear // conv_s0 and conv_s1 of the decoder
	noMemory []float32    // added to every cell, as no frame came before
}

func loadPyramid(l *loader, c *HieraConfig, out int) pyramid {
	var n pyramid
	for s := range n.levels {
		name := fmt.Sprintf("image_encoder.neck.convs.%d.conv", len(n.levels)-1-s) // from the last stage on
		n.levels[s] = l.patches(name, out, c.Widths[s], 1)
	}
	for s := range n.fineHead {
		n.fineHead[s] = l.patches(fmt.Sprintf("%sconv_s%d", l.decoder(), s), out/8<<s, out, 1)
	}
	n.noMemory = l.Tensor("no_mem_embed", 1, 1, out)
	return n
}

// fine stores the high-resolution features of stage s, a row per token of it.
func (n *pyramid) fine(r *nn.Call, dst, tokens blas32.General, s int) {
	mark := r.Mark()
	defer r.Release(mark)
	rows := min(partRows, tokens.Rows)
	level := r.Operand(rows, n.levels[s].Weight.N())
	for lo := 0; lo < tokens.Rows; lo += rows {
		count := min(rows, tokens.Rows-lo)
		own := nn.Rows(level, 0, count)
		n.levels[s].Apply(r.Exec, own, nn.Rows(tokens, lo, count), simd.Identity)
		n.fineHead[s].Apply(r.Exec, nn.Rows(dst, lo, count), own, simd.Identity)
	}
}

// cells stores the features of the grid: those of stage 3, and of stage 4 at
// twice its size, by nearest neighbor.
func (n *pyramid) cells(r *nn.Call, dst, stage3, stage4 blas32.General, grid int) {
	mark := r.Mark()
	defer r.Release(mark)
	coarse := r.Matrix(stage4.Rows, dst.Cols)
	n.levels[3].Apply(r.Exec, coarse, stage4, simd.Identity)
	n.levels[2].Apply(r.Exec, dst, stage3, simd.Identity)
	r.Team.Do(grid, func(_, y int) {
		for x := range grid {
			to := row(dst, y*grid+x)
			r.Kernel.Add(to, to, row(coarse, y/2*(grid/2)+x/2))
		}
	})
	r.Show(dst, "fpn2")
	for i := range dst.Rows {
		r.Kernel.Add(row(dst, i), row(dst, i), n.noMemory)
	}
}
