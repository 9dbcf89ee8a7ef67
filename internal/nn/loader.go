package nn

import (
	"fmt"
	"math"

	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
	"gonum.org/v1/gonum/blas/blas32"
)

// Loader reads the tensors of a network by their canonical names, packs them
// and lets them go. The code that makes the network runs twice: without a View
// it lists what it would read, so that one error can name all that is missing
// or misshapen. The first error sticks.
type Loader struct {
	View   *weights.View
	Kernel simd.Kernel
	Seen   func(name string, shape []int, values []float32) // if set, sees all that is read
	Err    error

	Listed []weights.TensorInfo // what would be read

	buf []float32 // holds one tensor at a time
}

// Listing reports whether nothing is read; whatever is made of the tensors is
// then void.
func (l *Loader) Listing() bool { return l.View == nil || l.Err != nil }

// Tensor reads a tensor that stays as it is.
func (l *Loader) Tensor(name string, shape ...int) []float32 {
	return l.read(new([]float32), name, shape)
}

// Passing reads a tensor that lives until the next one is read so.
func (l *Loader) Passing(name string, shape ...int) []float32 { return l.read(&l.buf, name, shape) }

// read reads a tensor to *memory, which grows as needed.
func (l *Loader) read(memory *[]float32, name string, shape []int) []float32 {
	if l.View == nil {
		l.Listed = append(l.Listed, weights.TensorInfo{Name: name, Shape: shape})
	}
	if l.Listing() {
		return nil
	}
	n := volume(shape)
	if len(*memory) < n {
		*memory = nil // let the collector have it before its successor is made
		*memory = make([]float32, n)
	}
	values := (*memory)[:n]
	if l.Err = l.View.Read(name, values); l.Err != nil {
		return nil
	}
	l.View.Release(name)
	if l.Seen != nil {
		l.Seen(name, shape, values)
	}
	return values
}

func volume(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Matrix reads a matrix that stays as it is.
func (l *Loader) Matrix(name string, rows, cols int) blas32.General {
	m := l.Tensor(name, rows, cols)
	if l.Listing() {
		return blas32.General{}
	}
	return Matrix(m, rows, cols)
}

// Pack makes a layer of weights, out × in.
func (l *Loader) Pack(weight []float32, out, in int, bias []float32) Linear {
	if l.Listing() {
		return Linear{}
	}
	return NewLinear(l.Kernel, weight, out, in, bias)
}

// Norm reads a layer norm.
func (l *Loader) Norm(prefix string, n int, eps float32) LayerNorm {
	return LayerNorm{Weight: l.Tensor(prefix+".weight", n), Bias: l.Tensor(prefix+".bias", n), Eps: eps}
}

// BatchNorm reads a batch norm as a factor and an offset per channel. One
// without a root is [weights.ErrNotFinite].
func (l *Loader) BatchNorm(prefix string, n int, eps float64) (factor []float64, shift []float32) {
	weight, shift := l.Tensor(prefix+".weight", n), l.Tensor(prefix+".bias", n)
	mean, variance := l.Tensor(prefix+".running_mean", n), l.Tensor(prefix+".running_var", n)
	if l.Listing() {
		return nil, nil
	}
	factor = make([]float64, n)
	for i := range factor {
		factor[i] = float64(weight[i]) / math.Sqrt(float64(variance[i])+eps)
		if f := float32(factor[i]); f-f != 0 {
			l.Err = fmt.Errorf("%w: %s: weight %v over the root of running_var %v", weights.ErrNotFinite, prefix, weight[i], variance[i])
			return nil, nil
		}
		shift[i] = float32(float64(shift[i]) - float64(mean[i])*factor[i])
	}
	return factor, shift
}

// Scaled is Passing with each output, the first dimension, times its factor.
func (l *Loader) Scaled(factor []float64, name string, shape ...int) []float32 {
	w := l.Passing(name, shape...)
	if l.Listing() {
		return nil
	}
	per := volume(shape[1:])
	for o, f := range factor {
		for i, v := range w[o*per : (o+1)*per] {
			w[o*per+i] = float32(float64(v) * f)
		}
	}
	return w
}
