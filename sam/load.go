package sam

import (
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/weights"
)

// loader reads SAM's tensors by their names in Meta's checkpoints.
type loader struct {
	nn.Loader
	second bool                 // of SAM 2
	extra  []weights.TensorInfo // listed, but nothing reads them
}

// unused lists a tensor that checkpoints have and the network does not use;
// -1 matches any extent.
func (l *loader) unused(name string, shape ...int) {
	if l.View == nil {
		l.extra = append(l.extra, weights.TensorInfo{Name: name, Shape: shape})
	}
}

// decoder and prompts are the beginnings of the names of the mask decoder and of
// the prompt encoder.
func (l *loader) decoder() string {
	if l.second {
		return "sam_mask_decoder."
	}
	return "mask_decoder."
}

func (l *loader) prompts() string {
	if l.second {
		return "sam_prompt_encoder."
	}
	return "prompt_encoder."
}

// linear reads a fully connected layer.
func (l *loader) linear(prefix string, out, in int) nn.Linear {
	bias := l.Tensor(prefix+".bias", out)
	return l.Pack(l.Passing(prefix+".weight", out, in), out, in, bias)
}

// patches reads a k × k convolution of stride k with a bias, whose inputs are
// patches by channel, row and column.
func (l *loader) patches(prefix string, out, in, k int) nn.Linear {
	bias := l.Tensor(prefix+".bias", out)
	return l.Pack(l.Passing(prefix+".weight", out, in, k, k), out, in*k*k, bias)
}

// pointwise reads a 1×1 convolution without a bias.
func (l *loader) pointwise(prefix string, out, in int) nn.Linear {
	return l.Pack(l.Passing(prefix+".weight", out, in, 1, 1), out, in, nil)
}

// squares reads a 2×2 convolution of stride 2 with a bias, whose inputs are
// squares by row, column and channel.
func (l *loader) squares(prefix string, out, in int) nn.Linear {
	bias := l.Tensor(prefix+".bias", out)
	return l.Pack(channelsLast(l.Passing(prefix+".weight", out, in, 2, 2), out, in, 4), out, 4*in, bias)
}

// channelsLast moves the channels of a convolution's weights behind its
// places.
func channelsLast(weight []float32, out, in, places int) []float32 {
	if weight == nil {
		return nil // only listed
	}
	w := make([]float32, len(weight))
	for o := range out {
		for i := range in {
			for p := range places {
				w[(o*places+p)*in+i] = weight[(o*in+i)*places+p]
			}
		}
	}
	return w
}

// transposed2 reads a transposed 2×2 convolution of stride 2 as a layer with
// outputs by row, column and channel.
func (l *loader) transposed2(prefix string, out, in int) nn.Linear {
	bias := l.Tensor(prefix+".bias", out)
	weight := l.Passing(prefix+".weight", in, out, 2, 2)
	if l.Listing() {
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
	return l.Pack(w, 4*out, in, b)
}

// conv3 reads a 3×3 convolution without a bias.
func (l *loader) conv3(prefix string, out, in int) conv3 {
	return conv3{l.Pack(channelsLast(l.Passing(prefix+".weight", out, in, 3, 3), out, in, 9), out, 9*in, nil), in}
}

// batchNorm reads a batch norm as a factor and an offset per channel.
func (l *loader) batchNorm(prefix string, n int) (factor []float64, shift []float32) {
	l.unused(prefix + ".num_batches_tracked")
	return l.BatchNorm(prefix, n, tinyEps)
}

// pointwiseNorm reads a 1×1 convolution and its batch norm as one layer.
func (l *loader) pointwiseNorm(prefix string, out, in int) nn.Linear {
	factor, shift := l.batchNorm(prefix+".bn", out)
	return l.Pack(l.Scaled(factor, prefix+".c.weight", out, in, 1, 1), out, in, shift)
}

// conv3Norm reads a 3×3 convolution and its batch norm.
func (l *loader) conv3Norm(prefix string, out, in int) conv3 {
	factor, shift := l.batchNorm(prefix+".bn", out)
	return conv3{l.Pack(channelsLast(l.Scaled(factor, prefix+".c.weight", out, in, 3, 3), out, in, 9), out, 9*in, shift), in}
}

// depthwiseNorm reads a depthwise 3×3 convolution and its batch norm.
func (l *loader) depthwiseNorm(prefix string, n int) depthwise {
	factor, shift := l.batchNorm(prefix+".bn", n)
	w := l.Scaled(factor, prefix+".c.weight", n, 1, 3, 3)
	d := depthwise{bias: shift}
	if l.Listing() {
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
