package surgery

import (
	"fmt"
	"image"
	"math"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/vit"
)

// The plans once more, plain, slow and in float64, written from the formulas of
// the papers.

// tower is the sizes of a procedural ViT.
type tower struct{ embed, side, layers, width, patch, heads int }

type rows [][]float64

// layer is what a block sees: its input, normalized, and the projections of it.
type layer struct{ x, h, q, k, v rows }

// slow is a picture on its way through a tower.
type slow struct {
	tower
	grid   image.Point
	blocks []layer // of the untouched tower
	end    rows    // what leaves its last block
}

// formula is the rows that leave the last block under a plan, the class row
// aside, and how the plan resizes positions.
type formula struct {
	positions func(tower, image.Point) rows
	rows      func(s *slow) rows
}

var formulas = map[string]formula{
	"Raw": {bilinear, func(s *slow) rows { return s.end }},
	"MaskCLIP": {bicubic(0), func(s *slow) rows {
		n, b := s.last()
		z := plus(b.x, s.out(n, func(h int) rows { return s.head(b.v, h) }))
		return plus(z, s.mlp(n, z))
	}},
	"CLIPSurgery": {bilinear, func(s *slow) rows {
		return s.beside(func(b layer, h int) rows {
			v := s.head(b.v, h)
			return s.softmax(v, v, s.scale(), nothing)
		})
	}},
	"GEM": {antialiased, func(s *slow) rows {
		return s.beside(func(b layer, h int) rows {
			tau := 0.0
			for _, row := range b.h {
				tau += s.scale() * length(row) / float64(len(b.h))
			}
			self := func(p rows) rows {
				p = unit(p)
				p = unit(product(s.softmax(p, p, tau, nothing), p))
				return s.softmax(p, p, tau, nothing)
			}
			return times(1./3, plus(self(s.head(b.q, h)), self(s.head(b.k, h)), self(s.head(b.v, h))))
		})
	}},
	"SCLIP": {bicubic(0.1), func(s *slow) rows {
		n, b := s.last()
		z := plus(b.x, s.out(n, func(h int) rows { return product(s.alike(b, h), s.head(b.v, h)) }))
		return plus(z, s.mlp(n, z))
	}},
	"ClearCLIP": {bicubic(0.1), func(s *slow) rows {
		n, b := s.last()
		return s.out(n, func(h int) rows {
			q := s.head(b.q, h)
			return product(s.softmax(q, q, s.scale(), nothing), s.head(b.v, h))
		})
	}},
	"NACLIP": {bicubic(0.1), func(s *slow) rows {
		n, b := s.last()
		return s.out(n, func(h int) rows {
			k := s.head(b.k, h)
			return product(s.softmax(k, k, s.scale(), s.neighbors), s.head(b.v, h))
		})
	}},
	"ITACLIP": {bicubic(0.1), func(s *slow) rows {
		n, b := s.last()
		return plus(b.x, s.out(n, func(h int) rows {
			middle := plus(s.alike(s.blocks[n-5], h), s.alike(s.blocks[n-4], h), s.alike(s.blocks[n-2], h))
			return product(plus(times(1./2, s.alike(b, h)), times(1./2, times(1./3, middle))), s.head(b.v, h))
		}))
	}},
	"ResCLIP": {bicubic(0.1), func(s *slow) rows {
		n, b := s.last()
		return s.out(n, func(h int) rows {
			var cross []rows
			for _, e := range s.blocks[n-6 : n-2] { // 6 to 9 of 12
				cross = append(cross, s.softmax(s.head(e.q, h), s.head(e.k, h), s.scale(), nothing))
			}
			k := s.head(b.k, h)
			a := plus(times(1./2, s.softmax(k, k, s.scale(), s.neighbors)), times(1./2, times(1./4, plus(cross...))))
			return product(times(2, a), s.head(b.v, h))
		})
	}},
}

// alike is B = σ(s·QQᵀ) + σ(s·KKᵀ) of a block.
func (s *slow) alike(b layer, h int) rows {
	q, k := s.head(b.q, h), s.head(b.k, h)
	return plus(s.softmax(q, q, s.scale(), nothing), s.softmax(k, k, s.scale(), nothing))
}

// beside is a second stream that adds O(A·V) in the last six blocks.
func (s *slow) beside(matrix func(b layer, head int) rows) rows {
	first := s.layers - 6
	y := s.blocks[first].x
	for l := first; l < s.layers; l++ {
		b := s.blocks[l]
		y = plus(y, s.out(l, func(h int) rows { return product(matrix(b, h), s.head(b.v, h)) }))
	}
	return y
}

func (s *slow) last() (int, layer) { return s.layers - 1, s.blocks[s.layers-1] }

func (s *slow) scale() float64 { return 1 / math.Sqrt(float64(s.width/s.heads)) }

func nothing(i, j int) float64 { return 0 }

// neighbors is NACLIP's G.
func (s *slow) neighbors(i, j int) float64 {
	if i == 0 || j == 0 {
		return 0
	}
	a, b := i-1, j-1
	dx, dy := float64(a%s.grid.X-b%s.grid.X), float64(a/s.grid.X-b/s.grid.X)
	return math.Exp(-(dx*dx + dy*dy) / (2 * 5 * 5))
}

func (s *slow) softmax(p, r rows, scale float64, prior func(i, j int) float64) rows {
	a := product(p, transpose(r))
	for i, row := range a {
		sum := 0.0
		for j := range row {
			row[j] = math.Exp(scale*row[j] + prior(i, j))
			sum += row[j]
		}
		for j := range row {
			row[j] /= sum
		}
	}
	return a
}

// head is the columns of one head.
func (s *slow) head(x rows, h int) rows {
	dim := s.width / s.heads
	y := make(rows, len(x))
	for i := range x {
		y[i] = x[i][h*dim : (h+1)*dim]
	}
	return y
}

// out joins the heads and projects them.
func (s *slow) out(l int, head func(h int) rows) rows {
	joined := make(rows, 1+s.grid.X*s.grid.Y)
	for h := range s.heads {
		for i, row := range head(h) {
			joined[i] = append(joined[i], row...)
		}
	}
	p := block(l) + "attn.out_proj."
	return s.linear(joined, p+"weight", p+"bias", s.width)
}

func block(l int) string { return fmt.Sprintf("visual.transformer.resblocks.%d.", l) }

func (s *slow) mlp(l int, z rows) rows {
	p := block(l)
	y := s.linear(s.norm(z, p+"ln_2"), p+"mlp.c_fc.weight", p+"mlp.c_fc.bias", 4*s.width)
	for _, row := range y {
		for j, v := range row {
			row[j] = v / (1 + math.Exp(-1.702*v))
		}
	}
	return s.linear(y, p+"mlp.c_proj.weight", p+"mlp.c_proj.bias", s.width)
}

func (s *slow) project(x rows, l int) layer {
	p := block(l)
	b := layer{x: x, h: s.norm(x, p+"ln_1")}
	for _, row := range s.linear(b.h, p+"attn.in_proj_weight", p+"attn.in_proj_bias", 3*s.width) {
		b.q, b.k, b.v = append(b.q, row[:s.width]), append(b.k, row[s.width:2*s.width]), append(b.v, row[2*s.width:])
	}
	return b
}

// encode is the features of a picture under a plan.
func (t tower) encode(p vit.Pixels, f formula) rows {
	s := &slow{tower: t, grid: image.Pt(p.Width/t.patch, p.Height/t.patch)}
	x := rows{weight("visual.class_embedding", t.width)}
	var patches rows
	for cell := range s.grid.X * s.grid.Y {
		var patch []float64
		for c := range 3 {
			for y := range t.patch {
				for x := range t.patch {
					patch = append(patch, float64(p.Data[(c*p.Height+cell/s.grid.X*t.patch+y)*p.Width+cell%s.grid.X*t.patch+x]))
				}
			}
		}
		patches = append(patches, patch)
	}
	conv := weight("visual.conv1.weight", t.width, 3, t.patch, t.patch)
	x = append(x, product(patches, transpose(matrixOf(conv, t.width)))...)
	x = s.norm(plus(x, f.positions(t, s.grid)), "visual.ln_pre")
	for l := range t.layers {
		b := s.project(x, l)
		s.blocks = append(s.blocks, b)
		z := plus(x, s.out(l, func(h int) rows {
			return product(s.softmax(s.head(b.q, h), s.head(b.k, h), s.scale(), nothing), s.head(b.v, h))
		}))
		x = plus(z, s.mlp(l, z))
	}
	s.end = x
	y := append(rows{x[0]}, f.rows(s)[1:]...)
	return product(s.norm(y, "visual.ln_post"), matrixOf(weight("visual.proj", t.width, t.embed), t.width))
}

func (s *slow) linear(x rows, name, bias string, out int) rows {
	y := product(x, transpose(matrixOf(weight(name, out, len(x[0])), out)))
	for _, row := range y {
		for j, b := range weight(bias, out) {
			row[j] += b
		}
	}
	return y
}

func (s *slow) norm(x rows, name string) rows {
	w, b := weight(name+".weight", len(x[0])), weight(name+".bias", len(x[0]))
	y := make(rows, len(x))
	for i, row := range x {
		n, mean, variance := float64(len(row)), 0.0, 0.0
		for _, v := range row {
			mean += v / n
		}
		for _, v := range row {
			variance += (v - mean) * (v - mean) / n
		}
		for j, v := range row {
			y[i] = append(y[i], (v-mean)/math.Sqrt(variance+1e-5)*w[j]+b[j])
		}
	}
	return y
}

// Position tables.

func bilinear(t tower, grid image.Point) rows {
	return t.resize(grid, 0, false, func(x float64) float64 { return max(0, 1-math.Abs(x)) })
}

func bicubic(offset float64) func(tower, image.Point) rows {
	return func(t tower, grid image.Point) rows { return t.resize(grid, offset, false, cubic(-0.75)) }
}

func antialiased(t tower, grid image.Point) rows { return t.resize(grid, 0, true, cubic(-0.5)) }

// cubic is the convolution kernel of Keys (1981).
func cubic(a float64) func(float64) float64 {
	return func(x float64) float64 {
		switch x = math.Abs(x); {
		case x < 1:
			return (a+2)*x*x*x - (a+3)*x*x + 1
		case x < 2:
			return a*x*x*x - 5*a*x*x + 8*a*x - 4*a
		}
		return 0
	}
}

// resize weighs all positions of the table by the kernel around half-pixel
// centers. Without antialiasing, positions beyond the edge are those of the
// edge; with it they do not count, and the kernel widens as the table shrinks.
func (t tower) resize(grid image.Point, offset float64, antialias bool, kernel func(float64) float64) rows {
	n := t.side / t.patch
	table := matrixOf(weight("visual.positional_embedding", 1+n*n, t.width), 1+n*n)
	if grid == image.Pt(n, n) {
		return table
	}
	taps := func(size int) rows { // size × n
		step := float64(n) / (float64(size) + offset)
		wide := 1.0
		if antialias {
			wide = max(step, 1)
		}
		all := make(rows, size)
		for i := range all {
			all[i] = make([]float64, n)
			center, sum := step*(float64(i)+0.5)-0.5, 0.0
			for j := -n; j < 2*n; j++ {
				w := kernel((float64(j) - center) / wide)
				if antialias && (j < 0 || j >= n) {
					continue
				}
				all[i][min(max(j, 0), n-1)] += w
				sum += w
			}
			for j := range all[i] {
				all[i][j] /= sum
			}
		}
		return all
	}
	across, down := taps(grid.X), taps(grid.Y)
	out := rows{table[0]}
	for y := range grid.Y {
		for x := range grid.X {
			row := make([]float64, t.width)
			for v := range n {
				for u := range n {
					for c := range row {
						row[c] += down[y][v] * across[x][u] * table[1+v*n+u][c]
					}
				}
			}
			out = append(out, row)
		}
	}
	return out
}

func weight(name string, shape ...int) []float64 {
	w := golden.Weight(name, "", shape)
	out := make([]float64, len(w))
	for i := range w {
		out[i] = float64(w[i])
	}
	return out
}

func matrixOf(data []float64, n int) rows {
	out := make(rows, n)
	for i := range out {
		out[i] = data[i*len(data)/n : (i+1)*len(data)/n]
	}
	return out
}

func transpose(a rows) rows {
	out := make(rows, len(a[0]))
	for j := range out {
		for i := range a {
			out[j] = append(out[j], a[i][j])
		}
	}
	return out
}

func product(a, b rows) rows {
	out := make(rows, len(a))
	for i := range a {
		out[i] = make([]float64, len(b[0]))
		for k, w := range a[i] {
			for j, v := range b[k] {
				out[i][j] += w * v
			}
		}
	}
	return out
}

func plus(all ...rows) rows {
	out := times(1, all[0])
	for _, a := range all[1:] {
		for i := range a {
			for j := range a[i] {
				out[i][j] += a[i][j]
			}
		}
	}
	return out
}

func times(w float64, a rows) rows {
	out := make(rows, len(a))
	for i := range a {
		for _, v := range a[i] {
			out[i] = append(out[i], w*v)
		}
	}
	return out
}

func unit(a rows) rows {
	out := make(rows, len(a))
	for i := range a {
		out[i] = times(1/length(a[i]), a[i:i+1])[0]
	}
	return out
}

func length(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}
