package pix

import (
	"image"
	"math"
)

// Filter is a resampling kernel of Pillow.
type Filter struct {
	support float64
	at      func(x float64) float64
}

// Bicubic is Pillow's BICUBIC: the cubic convolution kernel with a = -0.5.
func Bicubic() Filter { return Filter{2, cubic(-0.5)} }

// Triangle is Pillow's BILINEAR.
func Triangle() Filter { return Filter{1, func(x float64) float64 { return max(0, 1-math.Abs(x)) }} }

// cubic is the cubic convolution kernel with parameter a.
func cubic(a float64) func(x float64) float64 {
	return func(x float64) float64 {
		x = math.Abs(x)
		switch {
		case x < 1:
			return float64(float64((a+2)*x-(a+3))*x*x) + 1
		case x < 2:
			return float64(float64(float64(x-5)*x+8)*x-4) * a
		}
		return 0
	}
}

// Resize scales a picture as Pillow does, in the channels that the picture has,
// and converts it to RGB afterwards: the order of CLIP's transforms. Colours
// with alpha are premultiplied while they are resized; palettes and bilevel
// pictures are resized by nearest neighbour.
func Resize(img image.Image, width, height int, f Filter) (*RGB, error) {
	r, nearest, err := channels(nil, img)
	if err != nil {
		return nil, err
	}
	if err := checkSize(width, height); err != nil {
		return nil, err
	}
	switch {
	case r.width == width && r.height == height:
	case nearest:
		r = r.nearest(width, height)
	case r.channels == 4:
		r.premultiply()
		r = r.resize(width, height, f)
		r.unpremultiply()
	default:
		r = r.resize(width, height, f)
	}
	return r.rgb(), nil
}

// Resize scales r as Pillow does.
func (r *RGB) Resize(width, height int, f Filter) (*RGB, error) {
	return (*Scratch)(nil).Resize(r, width, height, f)
}

// nearest is Pillow's affine nearest-neighbour scaling, whose positions add up
// in float64.
func (r *raster) nearest(width, height int) *raster {
	out := newRaster(r.mem, width, height, r.channels)
	columns := nearestPositions(r.width, width)
	for y, sy := range nearestPositions(r.height, height) {
		for x, sx := range columns {
			copy(out.pix[(y*width+x)*r.channels:(y*width+x+1)*r.channels], r.pix[(sy*r.width+sx)*r.channels:])
		}
	}
	return out
}

func nearestPositions(in, out int) []int {
	step := float64(in) / float64(out)
	at := step * 0.5
	p := make([]int, out)
	for i := range p {
		p[i] = min(int(at), in-1)
		at += step
	}
	return p
}

// resize runs Pillow's two passes, each rounded to bytes. When both are needed,
// Pillow 13 runs the vertical one first if that removes more than twice as many
// rows as the other removes columns; earlier versions always begin with the
// horizontal one.
// Source: python-pillow/Pillow src/libImaging/Resample.c:ImagingResampleInner.
func (r *raster) resize(width, height int, f Filter) *raster {
	horizontal := width != r.width
	vertical := height != r.height
	if vertical && horizontal && r.height-height > 2*max(0, r.width-width) {
		return r.passVertical(height, f).passHorizontal(width, f)
	}
	if horizontal {
		r = r.passHorizontal(width, f)
	}
	if vertical {
		r = r.passVertical(height, f)
	}
	return r
}

// taps are the source positions and fixed-point weights of one output.
type taps struct {
	first   int
	weights []int32
}

const precision = 32 - 8 - 2 // bits of a weight

// coefficients is Pillow's precompute_coeffs and normalize_coeffs_8bpc.
func coefficients(mem *Scratch, in, out int, f Filter) []taps {
	scale := float64(in) / float64(out)
	filterScale := max(scale, 1)
	support := f.support * filterScale
	inverse := 1 / filterScale
	all := mem.newTaps(out)
	var weights []float64
	for i := range all {
		center := (float64(i) + 0.5) * scale
		first := max(int(center-support+0.5), 0)
		end := min(int(center+support+0.5), in)
		weights = weights[:0]
		sum := 0.0
		for x := first; x < end; x++ {
			w := f.at((float64(x-first) + float64(first) - center + 0.5) * inverse)
			weights = append(weights, w)
			sum += w
		}
		fixed := mem.newInts(len(weights))
		for x, w := range weights {
			if sum != 0 {
				w /= sum
			}
			if w < 0 {
				fixed[x] = int32(-0.5 + w*(1<<precision))
			} else {
				fixed[x] = int32(0.5 + w*(1<<precision))
			}
		}
		all[i] = taps{first, fixed}
	}
	return all
}

func clip8(v int32) uint8 { return uint8(min(max(v>>precision, 0), 255)) }

// passHorizontal works on two rows at a time: one in the lower half of 64-bit
// numbers, the other in the upper one, so that a multiplication serves both.
func (r *raster) passHorizontal(width int, f Filter) *raster {
	out := newRaster(r.mem, width, r.height, r.channels)
	coeffs := coefficients(r.mem, r.width, width, f)
	n := r.channels
	pairs := r.mem.newPairs(r.width * n)
	for y := 0; y < r.height; y += 2 {
		next := min(y+1, r.height-1)
		a, b := r.pix[y*len(pairs):][:len(pairs)], r.pix[next*len(pairs):][:len(pairs)]
		for i := range pairs {
			pairs[i] = int64(a[i]) | int64(b[i])<<32
		}
		first, second := out.pix[y*width*n:][:width*n], out.pix[next*width*n:][:width*n]
		const half = 1<<(precision-1) | 1<<(precision-1)<<32
		switch n {
		case 3:
			for x, t := range coeffs {
				p := pairs[3*t.first:][:3*len(t.weights)]
				s0, s1, s2 := int64(half), int64(half), int64(half)
				for _, w := range t.weights {
					if len(p) < 3 { // never: it spares the checks below
						break
					}
					s0 += p[0] * int64(w)
					s1 += p[1] * int64(w)
					s2 += p[2] * int64(w)
					p = p[3:]
				}
				first[3*x], second[3*x] = clipPair(s0)
				first[3*x+1], second[3*x+1] = clipPair(s1)
				first[3*x+2], second[3*x+2] = clipPair(s2)
			}
		default:
			for x, t := range coeffs {
				for c := range n {
					s := int64(half)
					for i, w := range t.weights {
						s += pairs[(t.first+i)*n+c] * int64(w)
					}
					first[x*n+c], second[x*n+c] = clipPair(s)
				}
			}
		}
	}
	return out
}

// clipPair takes the sums of two rows apart: the lower half may be negative,
// for which the upper has paid.
func clipPair(s int64) (first, second uint8) {
	low := int32(s)
	return clip8(low), clip8(int32((s - int64(low)) >> 32))
}

// passVertical adds up four rows at a time.
func (r *raster) passVertical(height int, f Filter) *raster {
	out := newRaster(r.mem, r.width, height, r.channels)
	stride := r.width * r.channels
	sums := r.mem.newInts(stride)
	row := func(y int) []uint8 { return r.pix[y*stride:][:len(sums)] }
	for y, t := range coefficients(r.mem, r.height, height, f) {
		for i := range sums {
			sums[i] = 1 << (precision - 1)
		}
		at, w := t.first, t.weights
		for ; len(w) >= 4; at, w = at+4, w[4:] {
			a, b, c, d := row(at), row(at+1), row(at+2), row(at+3)
			w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
			for x := range sums {
				sums[x] += int32(a[x])*w0 + int32(b[x])*w1 + int32(c[x])*w2 + int32(d[x])*w3
			}
		}
		for i, w := range w {
			for x, v := range row(at + i) {
				sums[x] += int32(v) * w
			}
		}
		dst := out.pix[y*stride : (y+1)*stride]
		for x, s := range sums {
			dst[x] = clip8(s)
		}
	}
	return out
}
