package sam

import (
	"image"
	"strconv"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// imageEncoder is an image tower: ViT or TinyViT.
type imageEncoder interface {
	// geometry prepares the tower for side × side pixels.
	geometry(k simd.Kernel, side int) *geometry
	// encode stores the features of p, padded to the geometry's side, in dst.
	encode(r *nn.Call, dst *Embedding, p Pixels, g *geometry) error
	// steps is how many steps of the call encode makes.
	steps() int
}

// geometry is what a tower derives from the size of its input alone.
type geometry struct {
	side, grid int            // pixels and cells
	positions  blas32.General // ViT: cells × width
	windows    []*windows     // per block, or per stage of TinyViT
	pooled     []*windows     // Hiera: per block, of its queries; nil where none are pooled
	tables     []*simd.Packed // ViT: relative positions per block
}

// vit is SAM's plain Vision Transformer (Li et al., ViTDet;
// segment_anything/modeling/image_encoder.py, ImageEncoderViT).
type vit struct {
	patch     nn.Linear // a row is one patch by channel, row, column
	patchSize int
	positions []float32 // native grid² × width
	grid      int       // native
	blocks    []vitBlock
	neck      neck
}

type vitBlock struct {
	norm1  nn.LayerNorm
	qkv    nn.Linear
	proj   nn.Linear
	relPos relPos
	heads  int
	window int // 0: global
	norm2  nn.LayerNorm
	mlp    nn.MLP
}

func loadViT(l *loader, c *ViTConfig, patchSize, grid, out int) *vit {
	const p = "image_encoder."
	v := &vit{
		patch:     l.patches(p+"patch_embed.proj", c.Width, 3, patchSize),
		patchSize: patchSize,
		positions: l.Tensor(p+"pos_embed", 1, grid, grid, c.Width),
		grid:      grid,
		blocks:    make([]vitBlock, c.Depth),
		neck:      loadNeck(l, p+"neck", c.Width, out),
	}
	for i := range v.blocks {
		v.blocks[i] = loadViTBlock(l, p+"blocks."+strconv.Itoa(i)+".", c, i)
	}
	return v
}

func loadViTBlock(l *loader, p string, c *ViTConfig, i int) vitBlock {
	dim := c.Width / max(c.Heads, 1)
	return vitBlock{
		norm1: l.Norm(p+"norm1", c.Width, c.Eps),
		qkv:   l.linear(p+"attn.qkv", 3*c.Width, c.Width),
		proj:  l.linear(p+"attn.proj", c.Width, c.Width),
		relPos: relPos{
			rows: l.Tensor(p+"attn.rel_pos_h", c.Tables[i], dim),
			cols: l.Tensor(p+"attn.rel_pos_w", c.Tables[i], dim),
			dim:  dim,
		},
		heads:  c.Heads,
		window: c.Windows[i],
		norm2:  l.Norm(p+"norm2", c.Width, c.Eps),
		mlp: nn.MLP{
			In:  l.linear(p+"mlp.lin1", c.Hidden, c.Width),
			Out: l.linear(p+"mlp.lin2", c.Width, c.Hidden),
			Act: simd.GELU,
		},
	}
}

func (v *vit) steps() int { return 1 + len(v.blocks) + 1 }

func (v *vit) geometry(k simd.Kernel, side int) *geometry {
	grid := side / v.patchSize
	g := &geometry{
		side: side, grid: grid,
		positions: nn.Matrix(resizeGrid(v.positions, v.grid, grid), grid*grid, v.patch.Weight.N()),
		windows:   make([]*windows, len(v.blocks)),
		tables:    make([]*simd.Packed, len(v.blocks)),
	}
	bySize := map[int]*windows{}
	for i, b := range v.blocks {
		size := b.window
		if size == 0 {
			size = grid
		}
		if bySize[size] == nil {
			bySize[size] = newWindows(grid, size)
		}
		g.windows[i] = bySize[size]
		g.tables[i] = b.relPos.pack(k, size)
	}
	return g
}

func (v *vit) encode(r *nn.Call, dst *Embedding, p Pixels, g *geometry) error {
	tokens := r.Operand(g.grid*g.grid, v.patch.Weight.N())
	v.embed(r, tokens, p, g)
	r.Show(tokens, "enc.patch_embed")
	if err := r.Step(1); err != nil {
		return err
	}
	for i := range v.blocks {
		v.blocks[i].apply(r, tokens, g.windows[i], g.tables[i])
		r.Show(tokens, "enc.block%d", i)
		if err := r.Step(1); err != nil {
			return err
		}
	}
	v.neck.apply(r, dst.features, tokens, g.grid)
	return r.Step(1)
}

// embed stores patches·Wᵀ + bias + positions in tokens. Patches that p does
// not reach are zero, so they need no product.
func (v *vit) embed(r *nn.Call, tokens blas32.General, p Pixels, g *geometry) {
	mark := r.Mark()
	defer r.Release(mark)
	size, depth := v.patchSize, v.patch.Weight.K()
	scratch := r.Floats(r.Team.Size() * g.grid * depth)
	r.Team.Do(g.grid, func(worker, gy int) {
		dst, positions := nn.Rows(tokens, gy*g.grid, g.grid), nn.Rows(g.positions, gy*g.grid, g.grid)
		own := min((p.Width+size-1)/size, g.grid)
		if gy*size >= p.Height {
			own = 0
		}
		patches := nn.Matrix(scratch[worker*g.grid*depth:], own, depth)
		clear(patches.Data)
		for c := range 3 {
			for py := range min(size, p.Height-gy*size) {
				line := p.Data[(c*p.Height+gy*size+py)*p.Width:][:p.Width]
				for gx := range own {
					copy(row(patches, gx)[(c*size+py)*size:][:size], line[gx*size:])
				}
			}
		}
		if own > 0 {
			r.Kernel.MatMul(nil, nn.Rows(dst, 0, own), patches, v.patch.Weight,
				simd.Epilogue{Bias: v.patch.Bias, Residual: nn.Rows(positions, 0, own)})
		}
		for gx := own; gx < g.grid; gx++ {
			r.Kernel.Add(row(dst, gx), row(positions, gx), v.patch.Bias)
		}
	})
}

// apply runs one pre-norm block on the tokens of a grid, in place.
func (b *vitBlock) apply(r *nn.Call, tokens blas32.General, w *windows, table *simd.Packed) {
	mark := r.Mark()
	defer r.Release(mark)
	normed, attended := r.Operand(tokens.Rows, tokens.Cols), r.Operand(tokens.Rows, tokens.Cols)
	w.normalize(r.Exec, b.norm1, normed, tokens)
	b.attend(r, attended, normed, w, table)
	if !w.raster() {
		w.unorder(r.Team, normed, attended)
		attended = normed
	}
	b.proj.ApplyAdd(r.Exec, tokens, attended, tokens)

	b.norm2.Apply(r.Exec, normed, tokens)
	b.mlp.ApplyAdd(r.Exec, tokens, normed, tokens, r.Operand(tokens.Rows, b.mlp.In.Weight.N()))
}

// attend is attention without its last projection; dst and src have rows in
// window order.
func (b *vitBlock) attend(r *nn.Call, dst, src blas32.General, w *windows, table *simd.Packed) {
	mark := r.Mark()
	defer r.Release(mark)
	qkv := r.Operand(src.Rows, 3*src.Cols)
	b.qkv.Apply(r.Exec, qkv, src, simd.Identity)
	rows, cols := w.terms(r, nn.Cols(qkv, 0, src.Cols), b.heads, table)
	// Padding is zeros after the norm, so a padded token's query, key and
	// value are the biases.
	w.attend(r, dst, qkv, b.heads, b.qkv.Bias[src.Cols:], func(g windowGroup, dst blas32.General, a *simd.Attention) {
		a.RelRow, a.RelCol = nn.Rows(rows, g.first, g.tokens()), nn.Rows(cols, g.first, g.tokens())
		a.Grid = image.Pt(w.size, w.size)
		r.Kernel.Attend(r.Team, dst, a)
	})
}

// resizeGrid interpolates a have × have grid of vectors bilinearly to n × n,
// as CLIP Surgery does with its positions; segment-anything itself takes only
// its native size.
func resizeGrid(table []float32, have, n int) []float32 {
	if have == n {
		return table
	}
	dim := len(table) / (have * have)
	out := make([]float32, n*n*dim)
	pix.Bilinear(out, image.Pt(n, n), table, image.Pt(have, have), dim)
	return out
}
