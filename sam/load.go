package sam

import (
	"fmt"
	"math"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
	"gonum.org/v1/gonum/blas/blas32"
)

// loader reads the tensors of a network by their names in Meta's checkpoints,
// packs them and lets them go. The network's code runs twice: without a view
// it lists what it would read, so that one error can name all that is missing
// or misshapen. The first error sticks.
type loader struct {
	view   *weights.View
	kernel simd.Kernel
	want   []weights.TensorInfo // listed
	extra  []weights.TensorInfo // listed, but nothing reads them
	buf    []float32            // holds one tensor at a time
	err    error
}

// listing reports whether tensors are only listed; whatever is made of them
// is then void.
func (l *loader) listing() bool { return l.view == nil || l.err != nil }

// read stores a tensor in dst.
func (l *loader) read(dst []float32, name string, shape ...int) {
	if l.view == nil {
		l.want = append(l.want, weights.TensorInfo{Name: name, Shape: shape})
		return
	}
	if l.err == nil {
		l.err = l.view.Read(name, dst)
		l.view.Release(name)
	}
}

// unused lists a tensor that checkpoints have and the network does not use;
// -1 matches any extent.
func (l *loader) unused(name string, shape ...int) {
	if l.view == nil {
		l.extra = append(l.extra, weights.TensorInfo{Name: name, Shape: shape})
	}
}

// tensor reads a tensor that stays as it is.
func (l *loader) tensor(name string, shape ...int) []float32 {
	var dst []float32
	if !l.listing() {
		dst = make([]float32, volume(shape))
	}
	l.read(dst, name, shape...)
	return dst
}

// passing reads a tensor that lives until the next one is read.
func (l *loader) passing(name string, shape ...int) []float32 {
	n := volume(shape)
	if !l.listing() && len(l.buf) < n {
		l.buf = nil // let the collector have it before its successor is made
		l.buf = make([]float32, n)
	}
	dst := l.buf[:min(n, len(l.buf))]
	l.read(dst, name, shape...)
	return dst
}

func volume(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// pack makes a layer of weights, out × in.
func (l *loader) pack(weight []float32, out, in int, bias []float32) nn.Linear {
	if l.listing() {
		return nn.Linear{}
	}
	return nn.NewLinear(l.kernel, weight, out, in, bias)
}

// linear reads a fully connected layer.
func (l *loader) linear(prefix string, out, in int) nn.Linear {
	bias := l.tensor(prefix+".bias", out)
	return l.pack(l.passing(prefix+".weight", out, in), out, in, bias)
}

// patches reads a k × k convolution of stride k with a bias, whose inputs are
// patches by channel, row and column.
func (l *loader) patches(prefix string, out, in, k int) nn.Linear {
	bias := l.tensor(prefix+".bias", out)
	return l.pack(l.passing(prefix+".weight", out, in, k, k), out, in*k*k, bias)
}

// pointwise reads a 1×1 convolution without a bias.
func (l *loader) pointwise(prefix string, out, in int) nn.Linear {
	return l.pack(l.passing(prefix+".weight", out, in, 1, 1), out, in, nil)
}

// squares reads a 2×2 convolution of stride 2 with a bias, whose inputs are
// squares by row, column and channel.
func (l *loader) squares(prefix string, out, in int) nn.Linear {
	bias := l.tensor(prefix+".bias", out)
	return l.pack(channelsLast(l.passing(prefix+".weight", out, in, 2, 2), out, in, 4), out, 4*in, bias)
}

// channelsLast moves the channels of a convolution's weights behind its
// places.
func channelsLast(weight []float32, out, in, places int) []float32 {
	w := make([]float32, len(weight))
	if len(w) < out*in*places {
		return w // only listed
	}
	for o := range out {
		for i := range in {
			for p := range places {
				w[(o*places+p)*in+i] = weight[(o*in+i)*places+p]
			}
		}
	}
	return w
}

// matrix reads a matrix that stays as it is.
func (l *loader) matrix(name string, rows, cols int) blas32.General {
	m := l.tensor(name, rows, cols)
	if l.listing() {
		return blas32.General{}
	}
	return nn.Matrix(m, rows, cols)
}

// transposed2 reads a transposed 2×2 convolution of stride 2 as a layer with
// outputs by row, column and channel.
func (l *loader) transposed2(prefix string, out, in int) nn.Linear {
	bias := l.tensor(prefix+".bias", out)
	weight := l.passing(prefix+".weight", in, out, 2, 2)
	if l.listing() {
		return nn.Linear{}
	}
	w, b := make([]float32, 4*out*in), make([]float32, 0, 4*out)
	for place := range 4 {
		for o := range out {
			for i := range in {
				w[(place*out+o)*in+i] = weight[(i*out+o)*4+place]
			}
		}
		b = append(b, bias...)
	}
	return l.pack(w, 4*out, in, b)
}

func (l *loader) norm(prefix string, n int, eps float32) nn.LayerNorm {
	return nn.LayerNorm{Weight: l.tensor(prefix+".weight", n), Bias: l.tensor(prefix+".bias", n), Eps: eps}
}

// conv3 reads a 3×3 convolution without a bias.
func (l *loader) conv3(prefix string, out, in int) conv3 {
	return conv3{l.pack(channelsLast(l.passing(prefix+".weight", out, in, 3, 3), out, in, 9), out, 9*in, nil), in}
}

// batchNorm reads a batch norm as a factor and an offset per channel.
func (l *loader) batchNorm(prefix string, n int) (scale, shift []float32) {
	weight, bias := l.tensor(prefix+".weight", n), l.tensor(prefix+".bias", n)
	mean, variance := l.tensor(prefix+".running_mean", n), l.tensor(prefix+".running_var", n)
	l.unused(prefix + ".num_batches_tracked")
	if l.listing() {
		return nil, nil
	}
	scale, shift = make([]float32, n), make([]float32, n)
	for i := range n {
		s := float64(weight[i]) / math.Sqrt(float64(variance[i])+tinyEps)
		if scale[i] = float32(s); scale[i]-scale[i] != 0 {
			l.err = fmt.Errorf("%w: %s: weight %v over the root of running_var %v", weights.ErrNotFinite, prefix, weight[i], variance[i])
			return nil, nil
		}
		shift[i] = float32(float64(bias[i]) - float64(mean[i])*s)
	}
	return scale, shift
}

// scaled reads a convolution's weights, each output times its factor.
func (l *loader) scaled(name string, scale []float32, shape ...int) []float32 {
	w := l.passing(name, shape...)
	per := volume(shape[1:])
	for o, s := range scale {
		for i := range per {
			w[o*per+i] *= s
		}
	}
	return w
}

// pointwiseNorm reads a 1×1 convolution and its batch norm as one layer.
func (l *loader) pointwiseNorm(prefix string, out, in int) nn.Linear {
	scale, shift := l.batchNorm(prefix+".bn", out)
	return l.pack(l.scaled(prefix+".c.weight", scale, out, in, 1, 1), out, in, shift)
}

// conv3Norm reads a 3×3 convolution and its batch norm.
func (l *loader) conv3Norm(prefix string, out, in int) conv3 {
	scale, shift := l.batchNorm(prefix+".bn", out)
	return conv3{l.pack(channelsLast(l.scaled(prefix+".c.weight", scale, out, in, 3, 3), out, in, 9), out, 9*in, shift), in}
}

// depthwiseNorm reads a depthwise 3×3 convolution and its batch norm.
func (l *loader) depthwiseNorm(prefix string, n int) depthwise {
	scale, shift := l.batchNorm(prefix+".bn", n)
	w := l.scaled(prefix+".c.weight", scale, n, 1, 3, 3)
	d := depthwise{bias: shift}
	if l.listing() {
		return d
	}
	for place := range d.weight {
		d.weight[place] = make([]float32, n)
		for c := range n {
			d.weight[place][c] = w[c*9+place]
		}
	}
	return d
}
