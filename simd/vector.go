package simd

import (
	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"gonum.org/v1/gonum/blas/blas32"
)

// vectors are the vector kernels of a kernel. Slices have the lengths that the
// function's plain Go version takes for granted, and what it divides by or
// starts from is there: softmax, expSum, layerNorm and minMax get no empty x.
type vectors struct {
	softmax, quickGELU, gelu, geluTanh, relu func(x []float32)

	expSum            func(x []float32, floor float32) (top, sum float32)
	layerNorm         func(dst, x, weight, bias []float32, eps float32)
	add               func(dst, a, b []float32)
	lerp              func(dst, a, b []float32, wa, wb float32)
	dot               func(a, b []float32) float32
	minMax            func(x []float32) (lo, hi float32)
	fromF16, fromBF16 func(dst []float32, src []byte) // in assembly: dst is a multiple of 16

	scale     func(dst, a []float32, w float32)
	addGrid   func(x, row, col []float32, w float32)
	transpose func(dst []float32, ldd int, src []float32, lds, rows, cols int)

	winograd [2]transforms // for tiles of 2 and 4
}

// LayerNorm stores (x - mean)/sqrt(variance + eps)·weight + bias, row by row,
// in dst, which may be x. The variance is the mean square of x - mean, taken
// in a second pass, so that it loses nothing to a large mean.
func (k Kernel) LayerNorm(t *Team, dst, x blas32.General, weight, bias []float32, eps float32) {
	checkMatrix("LayerNorm", "x", x)
	checkSize("LayerNorm", "dst", dst, x.Rows, x.Cols)
	checkLength("LayerNorm", "weight", len(weight), x.Cols)
	checkLength("LayerNorm", "bias", len(bias), x.Cols)
	if x.Rows == 0 || x.Cols == 0 {
		return
	}
	n := norms.Get()
	if n.block == nil {
		n.block = n.rows
	}
	n.apply, n.dst, n.x, n.weight, n.bias, n.eps = k.table().vector.layerNorm, dst, x, weight, bias, eps
	t.Do((x.Rows+normRows-1)/normRows, n.block)
	*n = norm{block: n.block}
	norms.Put(n)
}

// norm is one call of LayerNorm under way, normRows rows at a time.
type norm struct {
	apply        func(dst, x, weight, bias []float32, eps float32)
	dst, x       blas32.General
	weight, bias []float32
	eps          float32
	block        func(worker, i int) // n.rows, made once
}

const normRows = 16

var norms scratch.Pool[norm]

func (n *norm) rows(_, block int) {
	for i := block * normRows; i < min((block+1)*normRows, n.x.Rows); i++ {
		n.apply(n.dst.Data[i*n.dst.Stride:][:n.x.Cols], n.x.Data[i*n.x.Stride:][:n.x.Cols], n.weight, n.bias, n.eps)
	}
}

// Softmax replaces x by exp(x - max)/Σ exp(x - max). Terms under 2^-126 of the
// largest may become zero. A NaN or +Inf makes all NaN, and so does -Inf
// throughout.
func (k Kernel) Softmax(x []float32) {
	if len(x) > 0 {
		k.table().vector.softmax(x)
	}
}

// Activate replaces every x by f(x), within 2 units in the last place of the
// exact value for positive x and within 1e-7 for negative x.
func (k Kernel) Activate(f Activation, x []float32) {
	checkActivation("Activate", f)
	v := &k.table().vector
	switch f {
	case QuickGELU:
		v.quickGELU(x)
	case GELU:
		v.gelu(x)
	case GELUTanh:
		v.geluTanh(x)
	case ReLU:
		v.relu(x)
	}
}

// Add stores a + b in dst, which may be either. The lengths are equal.
func (k Kernel) Add(dst, a, b []float32) {
	checkLength("Add", "a", len(a), len(dst))
	checkLength("Add", "b", len(b), len(dst))
	k.table().vector.add(dst, a, b)
}

// Dot is Σ a·b. The lengths are equal.
func (k Kernel) Dot(a, b []float32) float32 {
	checkLength("Dot", "b", len(b), len(a))
	return k.table().vector.dot(a, b)
}

// MinMax returns the smallest and the largest value of x, which is not empty;
// a NaN anywhere makes both NaN.
func (k Kernel) MinMax(x []float32) (lo, hi float32) {
	if len(x) == 0 {
		panic("simd: MinMax: x is empty")
	}
	return k.table().vector.minMax(x)
}

// Lerp stores wa·a + wb·b in dst, each product and the sum rounded: the
// vertical step of a bilinear resize. The lengths are equal; dst may be a or b.
func (k Kernel) Lerp(dst, a, b []float32, wa, wb float32) {
	checkLength("Lerp", "a", len(a), len(dst))
	checkLength("Lerp", "b", len(b), len(dst))
	k.table().vector.lerp(dst, a, b, wa, wb)
}

// FromF16 converts IEEE half-precision numbers, two bytes each, least
// significant byte first. src has two bytes per number of dst.
func (k Kernel) FromF16(dst []float32, src []byte) {
	convert("FromF16", dst, src, k.table().vector.fromF16, fromF16Go)
}

// FromBF16 converts bfloat16 numbers, two bytes each, least significant byte
// first. src has two bytes per number of dst.
func (k Kernel) FromBF16(dst []float32, src []byte) {
	convert("FromBF16", dst, src, k.table().vector.fromBF16, fromBF16Go)
}

// convert leaves the incomplete last vector to plain Go.
func convert(operation string, dst []float32, src []byte, vector, plain func(dst []float32, src []byte)) {
	if len(src)%2 != 0 || len(src)/2 != len(dst) {
		panic("simd: " + operation + ": length of src is not twice that of dst")
	}
	n := len(dst) &^ 15
	if n > 0 {
		vector(dst[:n], src[:2*n])
	}
	plain(dst[n:], src[2*n:])
}
