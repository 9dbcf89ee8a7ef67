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

func (r *raster) passHorizontal(width int, f Filter) *raster {
	out := newRaster(r.mem, width, r.height, r.channels)
	coeffs := coefficients(r.mem, r.width, width, f)
	n := r.channels
	for y := range r.height {
		src := r.pix[y*r.width*n : (y+1)*r.width*n]
		dst := out.pix[y*width*n : (y+1)*width*n]
		if n == 3 {
			for x, t := range coeffs {
				s0, s1, s2 := int32(1<<(precision-1)), int32(1<<(precision-1)), int32(1<<(precision-1))
				p := src[3*t.first : 3*(t.first+len(t.weights))]
				for _, w := range t.weights {
					s0 += int32(p[0]) * w
					s1 += int32(p[1]) * w
					s2 += int32(p[2]) * w
					p = p[3:]
				}
				dst[3*x], dst[3*x+1], dst[3*x+2] = clip8(s0), clip8(s1), clip8(s2)
			}
			continue
		}
		for x, t := range coeffs {
			for c := range n {
				s := int32(1 << (precision - 1))
				for i, w := range t.weights {
					s += int32(src[(t.first+i)*n+c]) * w
				}
				dst[x*n+c] = clip8(s)
			}
		}
	}
	return out
}

func (r *raster) passVertical(height int, f Filter) *raster {
	out := newRaster(r.mem, r.width, height, r.channels)
	stride := r.width * r.channels
	sums := r.mem.newInts(stride)
	for y, t := range coefficients(r.mem, r.height, height, f) {
		for i := range sums {
			sums[i] = 1 << (precision - 1)
		}
		for i, w := range t.weights {
			src := r.pix[(t.first+i)*stride : (t.first+i+1)*stride]
			for x, v := range src {
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
