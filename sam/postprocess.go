package sam

import (
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/simd"
)

// upsampler brings low-resolution logits to the original picture: bilinearly
// to the padded input's size, cropped to the picture, bilinearly to its
// original size (segment_anything/modeling/sam.py, postprocess_masks). Rows
// and columns are scaled separately and both steps are linear, so a sample is
// a mix of neighboring columns of neighboring rows. It is immutable.
type upsampler struct {
	side          int         // of the logits
	size          image.Point // of the picture
	columns, rows []mix
}

// mix is a sample between neighbors of the source, from index first on. Few
// weights are not zero: two, seldom three.
type mix struct {
	first  int
	weight [taps]float32
}

const taps = 4 // two bilinear steps

// newUpsampler is for side × side logits of a picture that fills input in a
// padded square of padded × padded pixels.
func newUpsampler(side, padded int, input, original image.Point) *upsampler {
	return &upsampler{
		side: side, size: original,
		columns: mixes(side, padded, input.X, original.X),
		rows:    mixes(side, padded, input.Y, original.Y),
	}
}

func mixes(side, padded, input, original int) []mix {
	toInput, toPicture := pix.BilinearTaps(side, padded), pix.BilinearTaps(input, original)
	all := make([]mix, original)
	for i, outer := range toPicture {
		m := &all[i]
		m.first = min(toInput[outer.At[0]].At[0], side-taps)
		for j, at := range outer.At {
			for l, from := range toInput[at].At {
				m.weight[from-m.first] += outer.Weights[j] * toInput[at].Weights[l]
			}
		}
	}
	return all
}

// scratch is the number of floats that resample works in.
func (u *upsampler) scratch() int { return (taps + 2) * u.size.X }

// resample calls yield with rows lo to hi of the picture, top to bottom; the
// row is valid until yield returns.
func (u *upsampler) resample(k simd.Kernel, scratch, logits []float32, lo, hi int, yield func(y int, row []float32)) {
	width := u.size.X
	out, next := scratch[taps*width:][:width], scratch[(taps+1)*width:][:width]
	line := func(i int) []float32 { return scratch[i%taps*width:][:width] } // row i of the logits, as wide as the picture
	made := 0
	for y, r := range u.rows[lo:hi] {
		for made = max(made, r.first); made < r.first+taps; made++ {
			u.widen(line(made), 0, logits[made*u.side:][:u.side])
		}
		w := r.weight
		k.Lerp(out, line(r.first), line(r.first+1), w[0], w[1])
		for i := 2; i < taps; i++ {
			if w[i] != 0 {
				k.Lerp(next, out, line(r.first+i), 1, w[i])
				out, next = next, out
			}
		}
		yield(lo+y, out)
	}
}

// widen scales a row of the logits to columns of the picture from first on.
func (u *upsampler) widen(dst []float32, first int, src []float32) {
	for x := range dst {
		c := &u.columns[first+x]
		s := src[c.first : c.first+taps : c.first+taps]
		dst[x] = c.weight[0]*s[0] + c.weight[1]*s[1] + c.weight[2]*s[2] + c.weight[3]*s[3]
	}
}

// logits returns the logits of the whole picture, row by row.
func (u *upsampler) logits(x nn.Exec, low []float32) []float32 {
	const band = 64 // rows
	all := make([]float32, u.size.X*u.size.Y)
	scratch := nn.Matrix(make([]float32, x.Team.Size()*u.scratch()), x.Team.Size(), u.scratch())
	x.Team.Do((u.size.Y+band-1)/band, func(worker, i int) {
		u.resample(x.Kernel, row(scratch, worker), low, i*band, min((i+1)*band, u.size.Y), func(y int, row []float32) {
			copy(all[y*u.size.X:], row)
		})
	})
	return all
}
