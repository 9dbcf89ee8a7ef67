package pix

import (
	"image"
	"math"
)

// Bilinear scales a float array as PyTorch's F.interpolate(mode="bilinear",
// align_corners=False) does: half-pixel centers, no antialias. src and dst are
// rows × columns × channels, row-major; they must not overlap.
func Bilinear(dst []float32, dstSize image.Point, src []float32, srcSize image.Point, channels int) {
	interpolate(dst, src, channels,
		bilinearTaps(srcSize.X, dstSize.X), bilinearTaps(srcSize.Y, dstSize.Y), srcSize.X)
}

// Cubic scales a float array as F.interpolate(mode="bicubic",
// align_corners=False) does: cubic convolution with a = -0.75 on clamped edges,
// no antialias. offset is added to the wanted size when the step between
// samples is computed: 0, or the 0.1 by which DINO's position tables guard
// against rounding (they pass the factor (size+0.1)/source size).
func Cubic(dst []float32, dstSize image.Point, src []float32, srcSize image.Point, channels int, offset float64) {
	interpolate(dst, src, channels,
		cubicTaps(srcSize.X, dstSize.X, offset), cubicTaps(srcSize.Y, dstSize.Y, offset), srcSize.X)
}

// CubicAntialias scales a float array as F.interpolate(mode="bicubic",
// align_corners=False, antialias=True) does: cubic convolution with a = -0.5,
// the kernel widened when the array shrinks.
func CubicAntialias(dst []float32, dstSize image.Point, src []float32, srcSize image.Point, channels int) {
	interpolate(dst, src, channels,
		antialiasTaps(srcSize.X, dstSize.X), antialiasTaps(srcSize.Y, dstSize.Y), srcSize.X)
}

// Taps are the source positions and weights of one output of an interpolation.
type Taps struct {
	At      []int
	Weights []float32
}

// BilinearTaps returns the taps of each of out positions over in, for callers
// that fuse an interpolation with what follows: two per position, the second
// repeated at the edge.
func BilinearTaps(in, out int) []Taps { return bilinearTaps(in, out) }

func bilinearTaps(in, out int) []Taps {
	scale := float32(in) / float32(out)
	all := make([]Taps, out)
	for i := range all {
		at := max(float32(scale*(float32(i)+0.5))-0.5, 0)
		first := min(int(at), in-1)
		w := min(max(at-float32(first), 0), 1)
		all[i] = Taps{[]int{first, min(first+1, in-1)}, []float32{1 - w, w}}
	}
	return all
}

func cubicTaps(in, out int, offset float64) []Taps {
	scale := float32(in) / float32(out)
	if offset != 0 {
		scale = float32(float64(in) / (float64(out) + offset))
	}
	kernel := cubic(-0.75)
	all := make([]Taps, out)
	for i := range all {
		at := float32(scale*(float32(i)+0.5)) - 0.5
		first := int(math.Floor(float64(at)))
		t := float64(at - float32(first))
		all[i] = Taps{make([]int, 4), make([]float32, 4)}
		for j := range 4 {
			all[i].At[j] = min(max(first-1+j, 0), in-1)
			all[i].Weights[j] = float32(kernel(t - float64(j-1)))
		}
	}
	return all
}

func antialiasTaps(in, out int) []Taps {
	scale := float64(in) / float64(out)
	wide := max(scale, 1)
	kernel := cubic(-0.5)
	all := make([]Taps, out)
	for i := range all {
		center := scale * (float64(i) + 0.5)
		first := max(int(center-2*wide+0.5), 0)
		end := min(int(center+2*wide+0.5), in)
		sum := 0.0
		for x := first; x < end; x++ {
			sum += kernel((float64(x) - center + 0.5) / wide)
		}
		for x := first; x < end; x++ {
			all[i].At = append(all[i].At, x)
			all[i].Weights = append(all[i].Weights, float32(kernel((float64(x)-center+0.5)/wide)/sum))
		}
	}
	return all
}

// interpolate applies columns, then rows. A row of the source is scaled
// sideways once and kept while outputs need it.
func interpolate(dst, src []float32, channels int, columns, rows []Taps, srcWidth int) {
	width := len(columns) * channels
	wide := make(map[int][]float32)
	var free [][]float32
	for y, r := range rows {
		for row, buffer := range wide {
			if row < r.At[0] {
				free = append(free, buffer)
				delete(wide, row)
			}
		}
		out := dst[y*width : (y+1)*width]
		clear(out)
		for i, row := range r.At {
			line, ok := wide[row]
			if !ok {
				if n := len(free); n > 0 {
					line, free = free[n-1], free[:n-1]
				} else {
					line = make([]float32, width)
				}
				scaleRow(line, src[row*srcWidth*channels:(row+1)*srcWidth*channels], channels, columns)
				wide[row] = line
			}
			w := r.Weights[i]
			for x, v := range line {
				out[x] += float32(w * v)
			}
		}
	}
}

func scaleRow(dst, src []float32, channels int, columns []Taps) {
	if channels == 1 {
		for x, t := range columns {
			var sum float32
			for i, at := range t.At {
				sum += float32(t.Weights[i] * src[at])
			}
			dst[x] = sum
		}
		return
	}
	clear(dst)
	for x, t := range columns {
		out := dst[x*channels : (x+1)*channels]
		for i, at := range t.At {
			w := t.Weights[i]
			for c, v := range src[at*channels : (at+1)*channels] {
				out[c] += float32(w * v)
			}
		}
	}
}
