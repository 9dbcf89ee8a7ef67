package sam

import (
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// depthwise is a 3×3 convolution of every channel by itself, with one pixel
// of zero padding.
type depthwise struct {
	weight [9][]float32 // by kernel row and column: one per channel
	bias   []float32
}

// apply stores conv(src), GELU after it or not, in dst. src is a side × side
// picture, one row of channels per pixel; dst has every stride-th pixel of it
// and must not be src.
func (d *depthwise) apply(x nn.Exec, dst, src blas32.General, side, stride int, gelu bool) {
	out := (side + stride - 1) / stride
	x.Team.Do(out, func(_, y int) {
		for ox := range out {
			acc := row(dst, y*out+ox)
			copy(acc, d.bias)
			for ky := range 3 {
				sy := y*stride + ky - 1
				if sy < 0 || sy >= side {
					continue
				}
				for kx := range 3 {
					sx := ox*stride + kx - 1
					if sx < 0 || sx >= side {
						continue
					}
					mulAdd(acc, d.weight[ky*3+kx], row(src, sy*side+sx))
				}
			}
		}
		if gelu {
			x.Kernel.Activate(simd.GELU, nn.Rows(dst, y*out, out).Data)
		}
	})
}

// mulAdd adds a·b to dst, entry by entry.
func mulAdd(dst, a, b []float32) {
	a, b = a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] += a[i] * b[i]
	}
}
