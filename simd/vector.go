package simd

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas/blas32"
)

// LayerNorm stores (x - mean)/sqrt(variance + eps)·weight + bias, row by row,
// in dst, which may be x.
func (k Kernel) LayerNorm(t *Team, dst, x blas32.General, weight, bias []float32, eps float32) {
	if dst.Rows != x.Rows || dst.Cols != x.Cols || len(weight) != x.Cols || len(bias) != x.Cols {
		panic(fmt.Sprintf("simd: LayerNorm of %d×%d into %d×%d with %d weights", x.Rows, x.Cols, dst.Rows, dst.Cols, len(weight)))
	}
	const block = 16
	t.Do((x.Rows+block-1)/block, func(_, blk int) {
		for i := blk * block; i < min((blk+1)*block, x.Rows); i++ {
			layerNormGeneric(dst.Data[i*dst.Stride:][:x.Cols], x.Data[i*x.Stride:][:x.Cols], weight, bias, eps)
		}
	})
}

func layerNormGeneric(dst, x, weight, bias []float32, eps float32) {
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	mean := float32(sum / float64(len(x)))
	var sq float64
	for _, v := range x {
		d := v - mean
		sq += float64(d * d)
	}
	inv := float32(1 / math.Sqrt(sq/float64(len(x))+float64(eps)))
	for i, v := range x {
		dst[i] = (v-mean)*inv*weight[i] + bias[i]
	}
}

// Softmax replaces x by exp(x - max)/Σ exp(x - max).
func (k Kernel) Softmax(x []float32) { softmaxGeneric(x) }

func softmaxGeneric(x []float32) {
	if len(x) == 0 {
		return
	}
	hi := x[0]
	for _, v := range x {
		hi = max(hi, v)
	}
	var sum float32
	for i, v := range x {
		x[i] = float32(math.Exp(float64(v - hi)))
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// Activate replaces every x by f(x).
func (k Kernel) Activate(f Activation, x []float32) {
	for i, v := range x {
		x[i] = f.apply(v)
	}
}

// Add stores a + b in dst, which may be either.
func (k Kernel) Add(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

// Dot is Σ a·b.
func (k Kernel) Dot(a, b []float32) float32 { return dot(a, b) }

// MinMax returns the smallest and the largest value of x, which is not empty;
// a NaN anywhere makes both NaN.
func (k Kernel) MinMax(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

// Lerp stores wa·a + wb·b in dst: the vertical step of a bilinear resize.
func (k Kernel) Lerp(dst, a, b []float32, wa, wb float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = float32(wa*a[i]) + float32(wb*b[i])
	}
}
