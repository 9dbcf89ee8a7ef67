package nn

import (
	"image"

	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// Winograd's minimal filtering F(2×2, 3×3): an output tile of 2×2 pixels Y
// comes of an input tile of 4×4 pixels d and the filter g by
//
//	Y = Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A
//
//	     ⎡1  0 -1  0⎤       ⎡ 1   0   0⎤
//	Bᵀ = ⎢0  1  1  0⎥   G = ⎢ ½   ½   ½⎥   Aᵀ = ⎡1  1  1  0⎤
//	     ⎢0 -1  1  0⎥       ⎢ ½  -½   ½⎥        ⎣0  1 -1 -1⎦
//	     ⎣0  1  0 -1⎦       ⎣ 0   0   1⎦
//
// Summed over channels the 16 products ⊙ are 16 matrix products, tiles × in by
// in × out: 4 multiplications per output and channel instead of 9. All
// constants of the transforms that run are ±1, so float32 loses next to nothing.
// Source: Lavin and Gray, arXiv 1509.09308, section 4.1.

// winogradWeights packs G·g·Gᵀ, entry by entry as out × in.
func winogradWeights(k simd.Kernel, weight []float32, out, in int) []simd.Packed {
	g := [4][3]float64{{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}}
	all := make([]simd.Packed, 16)
	u := make([]float32, out*in)
	for p := range 4 {
		for q := range 4 {
			for i := range u {
				var sum float64
				for y, gy := range g[p] {
					for x, gx := range g[q] {
						sum += gy * gx * float64(weight[9*i+3*y+x])
					}
				}
				u[i] = float32(sum)
			}
			all[4*p+q] = *simd.Pack(k, Matrix(u, out, in))
		}
	}
	return all
}

// tileFloats is the transformed input and output that one worker makes at a
// time: 512 KB.
const tileFloats = 1 << 17

// tiling is one convolution by Winograd's transform under way.
type tiling struct {
	Exec
	*Conv3x3
	dst, src blas32.General
	size     image.Point
	tiles    image.Point // columns and rows of 2×2 pixels
	act      simd.Activation
}

func (c *Conv3x3) applyWinograd(x Exec, ws *Workspace, dst, src blas32.General, size image.Point, act simd.Activation) {
	t := tiling{x, c, dst, src, size, size.Add(image.Pt(1, 1)).Div(2), act}
	rows := blockSize(t.tiles.Y, tileFloats/(16*(c.in+c.out)*t.tiles.X)) // of tiles
	blocks := (t.tiles.Y + rows - 1) / rows
	workers := perWorker(x, blocks)
	n := rows * t.tiles.X
	lines := ws.Matrix(x.Team.Size(), 8*(t.tiles.X+1)*c.in)
	in, out := ws.Matrix(workers, 16*n*c.in), ws.Matrix(workers, 16*n*c.out)
	x.Team.Do(blocks, func(worker, block int) {
		first := block * rows
		count := min(rows, t.tiles.Y-first)
		v := in.Data[worker*in.Stride:][:16*count*t.tiles.X*c.in]
		m := out.Data[worker*out.Stride:][:16*count*t.tiles.X*c.out]
		x.Team.Do(count, func(inner, i int) {
			t.transformInput(v, lines.Data[max(worker, inner)*lines.Stride:][:lines.Cols], count, i, first+i)
		})
		x.Team.Do(16, func(_, i int) {
			var e simd.Epilogue
			if i == 5 { // Aᵀ·M·A takes this entry once into every output
				e.Bias = c.bias
			}
			x.Kernel.MatMul(nil, entry(m, i, c.out), entry(v, i, c.in), &c.winograd[i], e)
		})
		x.Team.Do(count, func(_, i int) { t.transformOutput(m, count, i, first+i) })
	})
}

// entry is matrix i of 16 that lie one after the other.
func entry(all []float32, i, cols int) blas32.General {
	n := len(all) / 16
	return Matrix(all[i*n:(i+1)*n], n/cols, cols)
}

// transformInput stores Bᵀ·d·B of row y of the tiles, row i of count rows in v.
// lines is scratch.
func (t *tiling) transformInput(v, lines []float32, count, i, y int) {
	k, c, w := t.Kernel, t.in, t.tiles.X
	// Bᵀ·d, a line of pixels for each of its 4 rows, those of even and of odd
	// columns apart, so that the next step adds long vectors. The border is a
	// pixel of zeros after the even and before the odd ones.
	half := (w + 1) * c
	for p, from := range [4]struct {
		a, b int
		sign float32
	}{{-1, 1, -1}, {0, 1, 1}, {1, 0, -1}, {0, 2, -1}} {
		even, odd := lines[2*p*half:][:half], lines[(2*p+1)*half:][:half]
		clear(even[w*c:])
		clear(odd[:c])
		if t.size.X%2 == 1 {
			clear(odd[w*c:])
		}
		a, b := t.line(2*y+from.a), t.line(2*y+from.b)
		for x := range t.size.X {
			to := even[x/2*c:][:c]
			if x%2 == 1 {
				to = odd[(x/2+1)*c:][:c]
			}
			switch {
			case a != nil && b != nil:
				k.Lerp(to, a[x*t.src.Stride:], b[x*t.src.Stride:], 1, from.sign)
			case a != nil:
				copy(to, a[x*t.src.Stride:])
			case b != nil:
				b := b[x*t.src.Stride:][:c]
				k.Lerp(to, b, b, from.sign, 0)
			default:
				clear(to)
			}
		}
	}
	// (Bᵀ·d)·B
	size := count * w * c
	for p := range 4 {
		even, odd := lines[2*p*half:][:half], lines[(2*p+1)*half:][:half]
		to := func(q int) []float32 { return v[(4*p+q)*size+i*w*c:][:w*c] }
		k.Lerp(to(0), odd, odd[c:], 1, -1)
		k.Add(to(1), even, odd[c:])
		k.Lerp(to(2), odd[c:], even, 1, -1)
		k.Lerp(to(3), even, even[c:], 1, -1)
	}
}

// line is row y of the source, nil outside.
func (t *tiling) line(y int) []float32 {
	if y < 0 || y >= t.size.Y {
		return nil
	}
	return t.src.Data[y*t.size.X*t.src.Stride:]
}

// transformOutput stores Aᵀ·M·A of row y of the tiles in dst, row i of count
// rows in m, which it overwrites.
func (t *tiling) transformOutput(m []float32, count, i, y int) {
	k, c, w := t.Kernel, t.out, t.tiles.X
	size := count * w * c
	at := func(p, q int) []float32 { return m[(4*p+q)*size+i*w*c:][:w*c] }
	for q := range 4 {
		a, b := at(0, q), at(1, q)
		k.Add(a, a, b)
		k.Add(a, a, at(2, q))
		k.Lerp(b, b, at(2, q), 1, -1)
		k.Lerp(b, b, at(3, q), 1, -1)
	}
	for p := range min(2, t.size.Y-2*y) {
		a, b := at(p, 0), at(p, 1)
		k.Add(a, a, b)
		k.Lerp(b, b, at(p, 2), 1, -1)
		row := t.dst.Data[(2*y+p)*t.size.X*t.dst.Stride:]
		for x := range t.size.X {
			to, from := row[x*t.dst.Stride:][:c], x/2*c
			if x%2 == 0 {
				k.Add(to, a[from:], at(p, 2)[from:])
			} else {
				k.Lerp(to, b[from:], at(p, 3)[from:], 1, -1)
			}
			k.Activate(t.act, to)
		}
	}
}
