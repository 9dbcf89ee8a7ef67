package pix

import (
	"context"
	"image"
)

// Stretch stores the picture, scaled to size without keeping its proportions, in
// dst: 3 planes of (v/255 - mean)/std. It is torchvision's resize of a float
// tensor, bilinear with antialias: columns first, then rows, nothing rounded to
// bytes.
// Source: pytorch aten/src/ATen/native/cpu/UpSampleKernel.cpp,
// HelperInterpLinear with antialias.
func (r *RGB) Stretch(ctx context.Context, dst []float32, size image.Point, mean, std [3]float32) error {
	columns, rows := triangleTaps(r.Width, size.X), triangleTaps(r.Height, size.Y)
	ring := 1
	for _, t := range rows {
		ring = max(ring, len(t.Weights))
	}
	lines := make([]float32, ring*3*size.X) // scaled rows of the picture
	line := func(y int) []float32 { return lines[y%ring*3*size.X:][:3*size.X] }
	var units [256]float32 // of 255
	for v := range units {
		units[v] = float32(v) / 255
	}
	made := 0
	sum := make([]float32, 3*size.X)
	for y, t := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		first := t.At[0]
		for made = max(made, first); made < first+len(t.Weights); made++ {
			r.widen(line(made), made, columns, &units)
		}
		clear(sum)
		for j, w := range t.Weights {
			for i, v := range line(first + j) {
				sum[i] += float32(w * v)
			}
		}
		for c := range 3 {
			to := dst[(c*size.Y+y)*size.X:][:size.X]
			for x := range to {
				to[x] = (sum[3*x+c] - mean[c]) / std[c]
			}
		}
	}
	return nil
}

// widen scales row y, of 3 channels a pixel, to as many columns as there are
// taps. It reads bytes, as [scaleRow] would need the row in floats.
func (r *RGB) widen(dst []float32, y int, columns []Taps, units *[256]float32) {
	src := r.Pix[3*y*r.Width:][:3*r.Width]
	for x, t := range columns {
		var red, green, blue float32
		for j, w := range t.Weights {
			p := src[3*(t.At[0]+j):][:3]
			red += float32(w * units[p[0]])
			green += float32(w * units[p[1]])
			blue += float32(w * units[p[2]])
		}
		dst[3*x], dst[3*x+1], dst[3*x+2] = red, green, blue
	}
}

// triangleTaps are those of an antialiased bilinear interpolation, in float32 as
// the source computes them: At has the first position alone, so that an axis
// takes no more memory than its weights. An axis that keeps its length is
// copied.
func triangleTaps(in, out int) []Taps {
	all := make([]Taps, out)
	if in == out {
		for i := range all {
			all[i] = Taps{[]int{i}, []float32{1}}
		}
		return all
	}
	scale := float32(in) / float32(out)
	support := max(scale, 1)
	for i := range all {
		center := float32(scale * (float32(i) + 0.5))
		first := max(int(center-support+0.5), 0)
		end := min(int(center+support+0.5), in)
		t := Taps{[]int{first}, make([]float32, max(end-first, 1))}
		var sum float32
		for j := range t.Weights {
			d := (float32(first+j) - center + 0.5) / support
			t.Weights[j] = max(0, 1-max(d, -d))
			sum += t.Weights[j]
		}
		for j := range t.Weights {
			t.Weights[j] /= sum
		}
		all[i] = t
	}
	return all
}
