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
// in by in × out. Package simd has Aᵀ and Bᵀ, which it applies to the channels
// of many pixels at once.
// Source: Lavin and Gray, arXiv 1509.09308, section 4.

// filterTransform is G.
var filterTransform = map[Method][][3]float64{
	Winograd2: {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}},
	Winograd4: {{1. / 4, 0, 0}, {-1. / 6, -1. / 6, -1. / 6}, {-1. / 6, 1. / 6, -1. / 6},
		{1. / 24, 1. / 12, 1. / 6}, {1. / 24, -1. / 12, 1. / 6}, {0, 0, 1}},
}

// packWinograd packs the entries of G·g·Gᵀ, row by row, each as out × in.
func packWinograd(k simd.Kernel, weight []float32, out, in int, method Method) []*simd.Packed {
	var entries []*simd.Packed
	u := make([]float32, out*in)
	for _, gy := range filterTransform[method] {
		for _, gx := range filterTransform[method] {
			for j := range u {
				g := weight[9*j:][:9]
				var sum float64
				for y := range 3 {
					sum += gy[y] * (gx[0]*float64(g[3*y]) + gx[1]*float64(g[3*y+1]) + gx[2]*float64(g[3*y+2]))
				}
				u[j] = float32(sum)
			}
			entries = append(entries, simd.Pack(k, Matrix(u, out, in)))
		}
	}
	return entries
}

// tileFloats is the transformed input and output that one worker makes at a
// time: 512 KB, which stay in its cache between the transforms.
const tileFloats = 1 << 17

// tiling is a convolution by Winograd's transform under way. Tiles are worked
// on by rows of them, a block of rows at a time.
type tiling struct {
	Exec
	*Conv3x3
	m, n     int // sides of an output and of an input tile
	dst, src blas32.General
	size     image.Point // of the map
	tiles    image.Point // columns and rows
	act      simd.Activation
}

func (c *Conv3x3) applyWinograd(r *Call, dst, src blas32.General, size image.Point, act simd.Activation) {
	m := c.method.tile()
	t := tiling{Exec: r.Exec, Conv3x3: c, m: m, n: m + 2, dst: dst, src: src, size: size,
		tiles: size.Add(image.Pt(m-1, m-1)).Div(m), act: act}
	entries := t.n * t.n
	rows := blockSize(t.tiles.Y, tileFloats/(entries*(c.in+c.out)*t.tiles.X))
	blocks := (t.tiles.Y + rows - 1) / rows
	tiles := rows * t.tiles.X
	scratch := r.Matrix(r.Team.Size(), t.scratch())
	input, output := r.Matrix(perWorker(r.Exec, blocks), entries*tiles*c.in), r.Matrix(perWorker(r.Exec, blocks), entries*tiles*c.out)
	r.Team.Do(blocks, func(worker, block int) {
		first := block * rows
		count := min(rows, t.tiles.Y-first)
		tiles := count * t.tiles.X
		v := Matrix(input.Data[worker*input.Stride:], entries*tiles, c.in)
		y := Matrix(output.Data[worker*output.Stride:], entries*tiles, c.out)
		// Of worker and inner one is 0: either this Do or the one inside is spread.
		of := func(inner int) []float32 { return scratch.Data[max(worker, inner)*scratch.Stride:][:scratch.Cols] }
		r.Team.Do(count, func(inner, i int) { t.transformInput(v, of(inner), count, i, first+i) })
		r.Team.Do(entries, func(_, i int) {
			var e simd.Epilogue
			if i == t.n+1 { // Aᵀ·M·A takes this entry once into every output
				e.Bias = c.bias
			}
			r.Kernel.MatMul(nil, Rows(y, i*tiles, tiles), Rows(v, i*tiles, tiles), c.entries[i], e)
		})
		r.Team.Do(count, func(inner, i int) { t.transformOutput(y, of(inner), count, i, first+i) })
	})
}

// padded is the pixels of a row of the map with those outside it that the tiles
// reach: one at the left, and up to the end of the last tile at the right.
func (t *tiling) padded() int { return t.m*t.tiles.X + 2 }

// scratch is the floats that a row of tiles takes besides v and y.
func (t *tiling) scratch() int {
	return max(t.n*(t.size.X+t.padded())*t.in, t.m*(t.n*t.tiles.X+1)*t.out)
}

// transformInput stores Bᵀ·d·B of row y of the tiles, row i of count rows in v.
func (t *tiling) transformInput(v blas32.General, scratch []float32, count, i, y int) {
	m, n, c := t.m, t.n, t.in
	line, padded := t.size.X*c, t.padded()*c
	columns, edge := scratch[:n*padded], scratch[n*padded:][:n*line]
	for p := range n {
		row := columns[p*padded:][:padded]
		clear(row[:c])
		clear(row[c+line:])
	}
	t.Kernel.WinogradInput(m, simd.Spaced{Data: columns[c:], Stride: padded},
		simd.Spaced{Data: t.rows(edge, m*y-1), Stride: line}, line, 1)
	row, entry := i*t.tiles.X*c, count*t.tiles.X*c
	for p := range n {
		t.Kernel.WinogradInput(m, simd.Spaced{Data: v.Data[p*n*entry+row:], Stride: entry, Step: c},
			simd.Spaced{Data: columns[p*padded:], Stride: c, Step: m * c}, c, t.tiles.X)
	}
}

// rows returns n rows of the map from row y on: as they lie, or where some are
// outside, copied to edge beside zeros.
func (t *tiling) rows(edge []float32, y int) []float32 {
	line := t.size.X * t.in
	if y >= 0 && y+t.n <= t.size.Y {
		return t.src.Data[y*line:]
	}
	clear(edge)
	first, end := max(y, 0), min(y+t.n, t.size.Y)
	copy(edge[(first-y)*line:], t.src.Data[first*line:end*line])
	return edge
}

// transformOutput stores act(Aᵀ·M·A) of row y of the tiles in dst: row i of
// count rows in all.
func (t *tiling) transformOutput(all blas32.General, scratch []float32, count, i, y int) {
	m, n, c := t.m, t.n, t.out
	w := t.tiles.X * c
	row, entry := i*w, count*w
	for q := range n {
		t.Kernel.WinogradOutput(m, simd.Spaced{Data: scratch[q*w:], Stride: n * w},
			simd.Spaced{Data: all.Data[q*entry+row:], Stride: n * entry}, w, 1, simd.Identity)
	}
	whole := t.size.X / m // tiles
	last, rest := scratch[m*n*w:][:m*c], (t.size.X-whole*m)*c
	for r := range min(m, t.size.Y-m*y) {
		from := scratch[r*n*w:]
		to := t.dst.Data[(m*y+r)*t.size.X*c:][:t.size.X*c]
		t.Kernel.WinogradOutput(m, simd.Spaced{Data: to, Stride: c, Step: m * c}, simd.Spaced{Data: from, Stride: w, Step: c}, c, whole, t.act)
		if rest > 0 {
			t.Kernel.WinogradOutput(m, simd.Spaced{Data: last, Stride: c}, simd.Spaced{Data: from[whole*c:], Stride: w}, c, 1, t.act)
			copy(to[whole*m*c:], last[:rest])
		}
	}
}
