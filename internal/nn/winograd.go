package nn

import (
	"image"

	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// Winograd's minimal filtering F(m×m, 3×3): an output tile Y of m×m pixels comes
// of an input tile d of n×n, n = m+2, and the filter g by
//
//	Y = Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A
//
// Summed over channels the n² products ⊙ are as many matrix products, tiles ×
// in by in × out: 4 multiplications per pixel, input and output instead of 9
// for m = 2, and 2.25 for m = 4.
//
// All steps of the transforms run over long vectors: the channels of a row of
// tiles.
// Source: Lavin and Gray, arXiv 1509.09308, section 4.
type winograd struct{ m, n int }

// vectors are up to n vectors of one length.
type vectors [6][]float32

func (m Method) winograd() winograd {
	switch m {
	case Winograd2:
		return winograd{2, 4}
	case Winograd4:
		return winograd{4, 6}
	}
	return winograd{}
}

// filter is a row of G.
func (w winograd) filter(i int) [3]float64 {
	if w.m == 2 {
		return [...][3]float64{{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}}[i]
	}
	return [...][3]float64{{1. / 4, 0, 0}, {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6},
		{1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}}[i]
}

// input stores Bᵀ·d in dst; even and odd are scratch.
//
//	m = 2:              m = 4:
//	⎡1  0 -1  0⎤        ⎡4  0 -5  0  1  0⎤
//	⎢0  1  1  0⎥        ⎢0 -4 -4  1  1  0⎥
//	⎢0 -1  1  0⎥        ⎢0  4 -4 -1  1  0⎥
//	⎣0  1  0 -1⎦        ⎢0 -2 -1  2  1  0⎥
//	                    ⎢0  2 -1 -2  1  0⎥
//	                    ⎣0  4  0 -5  0  1⎦
func (w winograd) input(k simd.Kernel, dst, d *vectors, even, odd []float32) {
	if w.m == 2 {
		k.Lerp(dst[0], d[0], d[2], 1, -1)
		k.Add(dst[1], d[1], d[2])
		k.Lerp(dst[2], d[2], d[1], 1, -1)
		k.Lerp(dst[3], d[1], d[3], 1, -1)
		return
	}
	k.Lerp(dst[0], d[0], d[2], 4, -5)
	k.Add(dst[0], dst[0], d[4])
	k.Lerp(even, d[4], d[2], 1, -4)
	k.Lerp(odd, d[3], d[1], 1, -4)
	k.Add(dst[1], even, odd)
	k.Lerp(dst[2], even, odd, 1, -1)
	k.Lerp(even, d[4], d[2], 1, -1)
	k.Lerp(odd, d[3], d[1], 1, -1)
	k.Lerp(dst[3], even, odd, 1, 2)
	k.Lerp(dst[4], even, odd, 1, -2)
	k.Lerp(dst[5], d[1], d[3], 4, -5)
	k.Add(dst[5], dst[5], d[5])
}

// output overwrites x by Aᵀ·x and returns where the m results are; tmp is
// scratch.
//
//	m = 2:              m = 4:
//	⎡1  1  1  0⎤        ⎡1  1  1  1  1  0⎤
//	⎣0  1 -1 -1⎦        ⎢0  1 -1  2 -2  0⎥
//	                    ⎢0  1  1  4  4  0⎥
//	                    ⎣0  1 -1  8 -8  1⎦
func (w winograd) output(k simd.Kernel, x *vectors, tmp []float32) (at [4]int) {
	if w.m == 2 {
		k.Add(x[0], x[0], x[1])
		k.Add(x[0], x[0], x[2])
		k.Lerp(x[1], x[1], x[2], 1, -1)
		k.Lerp(x[1], x[1], x[3], 1, -1)
		return [4]int{0, 1}
	}
	k.Add(tmp, x[1], x[2])
	k.Lerp(x[2], x[1], x[2], 1, -1)
	k.Add(x[1], x[3], x[4])
	k.Lerp(x[4], x[3], x[4], 1, -1)
	k.Add(x[0], x[0], tmp)
	k.Add(x[0], x[0], x[1])
	k.Lerp(x[3], x[2], x[4], 1, 2)
	k.Lerp(x[1], tmp, x[1], 1, 4)
	k.Lerp(x[2], x[2], x[4], 1, 8)
	k.Add(x[5], x[5], x[2])
	return [4]int{0, 3, 1, 5}
}

// pack packs G·g·Gᵀ, entry by entry as out × in.
func (w winograd) pack(k simd.Kernel, weight []float32, out, in int) []*simd.Packed {
	all := make([]*simd.Packed, w.n*w.n)
	u := make([]float32, out*in)
	for i := range all {
		gy, gx := w.filter(i/w.n), w.filter(i%w.n)
		for j := range u {
			g := weight[9*j:][:9]
			var sum float64
			for y := range 3 {
				sum += gy[y] * (gx[0]*float64(g[3*y]) + gx[1]*float64(g[3*y+1]) + gx[2]*float64(g[3*y+2]))
			}
			u[j] = float32(sum)
		}
		all[i] = simd.Pack(k, Matrix(u, out, in))
	}
	return all
}

// tileFloats is the transformed input and output that one worker makes at a
// time: 1 MB.
const tileFloats = 1 << 18

// tiling is one convolution by Winograd's transform under way.
type tiling struct {
	Exec
	*Conv3x3
	dst, src blas32.General
	size     image.Point
	tiles    image.Point // columns and rows
	act      simd.Activation
}

func (c *Conv3x3) applyWinograd(x Exec, ws *Workspace, dst, src blas32.General, size image.Point, act simd.Activation) {
	m, n := c.form.m, c.form.n
	t := tiling{x, c, dst, src, size, size.Add(image.Pt(m-1, m-1)).Div(m), act}
	rows := blockSize(t.tiles.Y, tileFloats/(n*n*(c.in+c.out)*t.tiles.X)) // of tiles
	blocks := (t.tiles.Y + rows - 1) / rows
	count := rows * t.tiles.X
	lines := ws.Matrix(x.Team.Size(), max(2*(n+1)*t.line(), t.tiles.X*c.out))
	in, out := ws.Matrix(perWorker(x, blocks), n*n*count*c.in), ws.Matrix(perWorker(x, blocks), n*n*count*c.out)
	x.Team.Do(blocks, func(worker, block int) {
		first := block * rows
		count := min(rows, t.tiles.Y-first)
		v := in.Data[worker*in.Stride:][:n*n*count*t.tiles.X*c.in]
		y := out.Data[worker*out.Stride:][:n*n*count*t.tiles.X*c.out]
		// Of worker and inner one is 0: either this Do or the one inside is spread.
		scratch := func(inner int) []float32 { return lines.Data[max(worker, inner)*lines.Stride:][:lines.Cols] }
		x.Team.Do(count, func(inner, i int) { t.transformInput(v, scratch(inner), count, i, first+i) })
		x.Team.Do(n*n, func(_, i int) {
			var e simd.Epilogue
			if i == n+1 { // Aᵀ·M·A takes this entry once into every output
				e.Bias = c.bias
			}
			x.Kernel.MatMul(nil, entry(y, i, n*n, c.out), entry(v, i, n*n, c.in), c.entries[i], e)
		})
		x.Team.Do(count, func(inner, i int) { t.transformOutput(y, scratch(inner), count, i, first+i) })
	})
}

// entry is matrix i of n that lie one after the other.
func entry(all []float32, i, n, cols int) blas32.General {
	size := len(all) / n
	return Matrix(all[i*size:(i+1)*size], size/cols, cols)
}

// line is the floats of a line of pixels, rearranged: m planes, plane f with the
// pixels m·x + f for x from -1 to the number of tiles, zeros outside the map.
func (t *tiling) line() int { return t.form.m * (t.tiles.X + 2) * t.in }

// transformInput stores Bᵀ·d·B of row y of the tiles, row i of count rows in v.
func (t *tiling) transformInput(v, scratch []float32, count, i, y int) {
	m, n, c := t.form.m, t.form.n, t.in
	plane, line := (t.tiles.X+2)*c, t.line()
	var d, rows, from, to vectors
	for j := range n {
		d[j], rows[j] = scratch[j*line:][:line], scratch[(n+j)*line:][:line]
		t.split(d[j], m*y+j-1)
	}
	even, odd := scratch[2*n*line:][:line], scratch[(2*n+1)*line:][:line]
	t.form.input(t.Kernel, &rows, &d, even, odd)
	w := t.tiles.X * c
	size := count * w
	for p := range n {
		for j := range n { // pixel m·x + j - 1
			f, shift := j-1, 1
			if j == 0 {
				f, shift = m-1, 0
			} else if j == n-1 {
				f, shift = 0, 2
			}
			from[j] = rows[p][f*plane+shift*c:][:w]
			to[j] = v[(n*p+j)*size+i*w:][:w]
		}
		t.form.input(t.Kernel, &to, &from, even[:w], odd[:w])
	}
}

// split rearranges row y of the map, zeros outside, into planes.
func (t *tiling) split(dst []float32, y int) {
	m, c := t.form.m, t.in
	clear(dst)
	if y < 0 || y >= t.size.Y {
		return
	}
	row := t.src.Data[y*t.size.X*t.src.Stride:]
	for f := range m {
		plane := dst[f*(t.tiles.X+2)*c+c:]
		for x, i := f, 0; x < t.size.X; x, i = x+m, i+1 {
			copy(plane[i*c:][:c], row[x*t.src.Stride:])
		}
	}
}

// transformOutput stores act(Aᵀ·M·A) of row y of the tiles in dst: row i of
// count rows in all, which it overwrites.
func (t *tiling) transformOutput(all, scratch []float32, count, i, y int) {
	m, n, c := t.form.m, t.form.n, t.out
	w := t.tiles.X * c
	tmp, size := scratch[:w], count*w
	at := func(p, q int) []float32 { return all[(n*p+q)*size+i*w:][:w] }
	var x vectors
	var row [4]int
	for q := range n {
		for p := range n {
			x[p] = at(p, q)
		}
		row = t.form.output(t.Kernel, &x, tmp)
	}
	for r := range min(m, t.size.Y-m*y) {
		for q := range n {
			x[q] = at(row[r], q)
		}
		column := t.form.output(t.Kernel, &x, tmp)
		line := t.dst.Data[(m*y+r)*t.size.X*t.dst.Stride:]
		for f := range m {
			from := x[column[f]]
			t.Kernel.Activate(t.act, from)
			for x, i := f, 0; x < t.size.X; x, i = x+m, i+1 {
				copy(line[x*t.dst.Stride:][:c], from[i*c:])
			}
		}
	}
}
