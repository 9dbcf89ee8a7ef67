package nn

import (
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// A map of features is a matrix with one row per pixel, row by row from the top
// left, and one column per channel. A 1×1 convolution on it is a [Linear].

// Conv3x3 is a 3×3 convolution with stride 1 and a border of one pixel of
// zeros: it keeps the size of the map.
type Conv3x3 struct {
	in, out int
	method  Method
	bias    []float32      // one per output, or nil
	taps    *simd.Packed   // Patches: out × (tap row, tap column, in)
	entries []*simd.Packed // Winograd: of the transformed filters, out × in
}

// Method is how a convolution is computed.
type Method uint8

const (
	// Patches multiplies by the neighbors of every pixel.
	Patches Method = iota
	// Winograd2 transforms tiles of 2×2 pixels; its rounding errors are about
	// those of Patches.
	Winograd2
	// Winograd4 transforms tiles of 4×4 pixels; its rounding errors are several
	// times those of Patches.
	Winograd4
)

// tile is the side of a method's tiles; Patches have none.
func (m Method) tile() int { return [...]int{1, 2, 4}[m] }

// products is how many numbers a filter has, by each of which a tile is
// multiplied: 9 per pixel, or 4 with 2×2 tiles and 2.25 with 4×4.
func (m Method) products() int { return [...]int{9, 16, 36}[m] }

// Weights is how many floats the weights of a convolution take.
func (m Method) Weights(out, in int) int { return m.products() * out * in }

// balance is the multiplications and additions that take as long as reading one
// more float of weights from memory, as far as that does not happen beside them.
// Processors of few and of many cores have memory to match, so it holds for more
// than the ones it was measured on.
const balance = 25

// Cost estimates the time of a convolution on a map of size, to compare methods:
// what it computes and the weights that it reads. A few pixels are not worth
// the many weights of large tiles.
func (m Method) Cost(out, in int, size image.Point) int {
	side := m.tile()
	tiles := ((size.X + side - 1) / side) * ((size.Y + side - 1) / side)
	return (2*tiles + balance) * m.Weights(out, in)
}

// NewConv3x3 packs weight, [out, in, 3, 3] row-major, for k.
func NewConv3x3(k simd.Kernel, weight []float32, out, in int, bias []float32, method Method) Conv3x3 {
	c := Conv3x3{in: in, out: out, method: method, bias: bias}
	if method != Patches {
		c.entries = packWinograd(k, weight, out, in, method)
		return c
	}
	taps := make([]float32, out*9*in)
	for o := range out {
		for i := range in {
			for t := range 9 {
				taps[(o*9+t)*in+i] = weight[(o*in+i)*9+t]
			}
		}
	}
	c.taps = simd.Pack(k, Matrix(taps, out, 9*in))
	return c
}

// patchFloats is the patch matrix that one worker makes at a time: 256 KB, which
// stay in its cache until they are multiplied.
const patchFloats = 1 << 16

// Apply stores act(conv(src) + bias) in dst, which must not be src. size is the
// columns and rows of both maps. act is Identity or ReLU.
func (c *Conv3x3) Apply(r *Call, dst, src blas32.General, size image.Point, act simd.Activation) {
	if src.Rows != size.X*size.Y || dst.Rows != src.Rows || src.Cols != c.in || dst.Cols != c.out ||
		src.Stride != c.in || dst.Stride != c.out {
		panic(fmt.Sprintf("nn: 3×3 convolution %d→%d of %d×%d into %d×%d on a map of %v",
			c.in, c.out, src.Rows, src.Cols, dst.Rows, dst.Cols, size))
	}
	defer r.Release(r.Mark())
	if c.method != Patches {
		c.applyWinograd(r, dst, src, size, act)
		return
	}
	// The patch matrix has 9 times the size of the map: it is made block by
	// block of pixels, or whole where that leaves no worker without a block.
	cols := 9 * c.in
	rows := blockSize(src.Rows, patchFloats/cols)
	blocks := (src.Rows + rows - 1) / rows
	patches := r.Matrix(perWorker(r.Exec, blocks)*rows, cols)
	r.Team.Do(blocks, func(worker, block int) {
		lo := block * rows
		n := min(rows, src.Rows-lo)
		p := Rows(patches, worker*rows, n)
		const run = 16 // pixels
		r.Team.Do((n+run-1)/run, func(_, i int) {
			for j := i * run; j < min((i+1)*run, n); j++ {
				patch(p.Data[j*cols:][:cols], src, size, lo+j)
			}
		})
		r.Kernel.MatMul(r.Team, Rows(dst, lo, n), p, c.taps, simd.Epilogue{Bias: c.bias, Act: act})
	})
}

// blockSize divides total into blocks of about n, which workers share. If there
// would be only a few blocks, it makes one, inside of which workers share the
// work.
func blockSize(total, n int) int {
	if n = max(n, 1); total <= 4*n {
		return total
	}
	blocks := (total + n - 1) / n
	return (total + blocks - 1) / blocks
}

// perWorker is how many workers need scratch of their own for so many blocks.
func perWorker(x Exec, blocks int) int {
	if blocks == 1 {
		return 1
	}
	return x.Team.Size()
}

// patch copies the 3×3 neighbors of pixel p, zeros outside the map.
func patch(dst []float32, src blas32.General, size image.Point, p int) {
	x, y := p%size.X, p/size.X
	n := src.Cols
	for dy := -1; dy <= 1; dy++ {
		taps := dst[(dy+1)*3*n:][:3*n]
		if y+dy < 0 || y+dy >= size.Y {
			clear(taps)
			continue
		}
		from := ((y+dy)*size.X + x) * n
		if x > 0 && x+1 < size.X {
			copy(taps, src.Data[from-n:])
			continue
		}
		for dx := -1; dx <= 1; dx++ {
			tap := taps[(dx+1)*n:][:n]
			if x+dx < 0 || x+dx >= size.X {
				clear(tap)
				continue
			}
			copy(tap, src.Data[from+dx*n:])
		}
	}
}

// AveragePool stores in dst the means of 2×2 pixels of src, whose columns and
// rows are size; an odd last column or row is left out.
func AveragePool(r *Call, dst, src blas32.General, size image.Point) {
	half := size.Div(2)
	if src.Rows != size.X*size.Y || dst.Rows != half.X*half.Y || src.Cols != dst.Cols || src.Stride != src.Cols {
		panic(fmt.Sprintf("nn: average pool of %d×%d into %d×%d on a map of %v", src.Rows, src.Cols, dst.Rows, dst.Cols, size))
	}
	defer r.Release(r.Mark())
	line, n := size.X*src.Cols, src.Cols
	sums := r.Matrix(r.Team.Size(), line)
	r.Team.Do(half.Y, func(worker, y int) {
		sum := sums.Data[worker*line:][:line]
		r.Kernel.Add(sum, src.Data[2*y*line:][:line], src.Data[(2*y+1)*line:][:line])
		for c := range half.X {
			r.Kernel.Lerp(dst.Data[(y*half.X+c)*dst.Stride:][:n], sum[2*c*n:][:n], sum[(2*c+1)*n:][:n], 0.25, 0.25)
		}
	})
}
