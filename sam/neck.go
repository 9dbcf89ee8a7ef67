package sam

import (
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// neck brings the encoder's tokens to the decoder's width: a 1×1 convolution
// and a 3×3 one, each followed by a layer norm over the channels
// (segment_anything/modeling/image_encoder.py, ImageEncoderViT.neck).
type neck struct {
	reduce nn.Linear
	norm1  nn.LayerNorm
	mix    conv3
	norm2  nn.LayerNorm
}

func loadNeck(l *loader, prefix string, width, out int) neck {
	return neck{
		reduce: l.pointwise(prefix+".0", out, width),
		norm1:  l.Norm(prefix+".1", out, convNormEps),
		mix:    l.conv3(prefix+".2", out, out),
		norm2:  l.Norm(prefix+".3", out, convNormEps),
	}
}

// apply stores the embedding of a grid × grid picture in dst, one row per
// cell.
func (n *neck) apply(r *nn.Call, dst, tokens blas32.General, grid int) {
	mark := r.Mark()
	defer r.Release(mark)
	reduced := r.Matrix(tokens.Rows, dst.Cols)
	n.reduce.Apply(r.Exec, reduced, tokens, simd.Identity)
	n.norm1.Apply(r.Exec, reduced, reduced)
	n.mix.apply(r, dst, reduced, grid, 1, simd.Identity)
	n.norm2.Apply(r.Exec, dst, dst)
}

// conv3 is a 3×3 convolution with one pixel of zero padding, as a product: a
// row of the weights is one output channel, its entries by kernel row, kernel
// column and input channel.
type conv3 struct {
	nn.Linear
	in int // channels
}

// apply stores act(conv(src)) in dst. src is a side × side picture, one row
// of channels per pixel; dst has every stride-th pixel of it.
func (c *conv3) apply(r *nn.Call, dst, src blas32.General, side, stride int, act simd.Activation) {
	mark := r.Mark()
	defer r.Release(mark)
	out := (side + stride - 1) / stride
	depth := 9 * c.in
	scratch := r.Floats(r.Team.Size() * out * depth)
	alone := nn.Exec{Kernel: r.Kernel}
	r.Team.Do(out, func(worker, y int) {
		patches := nn.Matrix(scratch[worker*out*depth:], out, depth)
		for ky := range 3 {
			sy := y*stride + ky - 1
			for ox := range out {
				for kx := range 3 {
					sx := ox*stride + kx - 1
					patch := row(patches, ox)[(ky*3+kx)*c.in:][:c.in]
					if sy < 0 || sy >= side || sx < 0 || sx >= side {
						clear(patch)
					} else {
						copy(patch, row(src, sy*side+sx))
					}
				}
			}
		}
		c.Apply(alone, nn.Rows(dst, y*out, out), patches, act)
	})
}
