package simd

import "unsafe"

// The factors are powers of two, so that a product and a sum round alike fused
// and unfused.
var winogradGo = [2]transforms{{winogradInput2Go, winogradOutput2Go}, {winogradInput4Go, winogradOutput4Go}}

// spaced is count slices of n floats from p, stride floats apart.
func spaced(p *float32, stride, n, count int) (v [6][]float32) {
	for i := range count {
		v[i] = unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(p), 4*i*stride)), n)
	}
	return v
}

// items calls f with the vectors of every item.
func items(dst *float32, ldd, stepd, outputs int, src *float32, lds, steps, inputs, n, count int, f func(y, x *[6][]float32)) {
	for i := range count {
		y, x := spaced(at(dst, i*stepd), ldd, n, outputs), spaced(at(src, i*steps), lds, n, inputs)
		f(&y, &x)
	}
}

func at(p *float32, i int) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), 4*i)) }

func winogradInput2Go(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int) {
	items(dst, ldd, stepd, 4, src, lds, steps, 4, n, count, func(y, x *[6][]float32) {
		for i := range n {
			d1, d2 := x[1][i], x[2][i]
			y[0][i] = x[0][i] - d2
			y[1][i] = d1 + d2
			y[2][i] = d2 - d1
			y[3][i] = d1 - x[3][i]
		}
	})
}

func winogradOutput2Go(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int, floor float32) {
	items(dst, ldd, stepd, 2, src, lds, steps, 4, n, count, func(y, x *[6][]float32) {
		for i := range n {
			x1, x2 := x[1][i], x[2][i]
			y[0][i] = max(x[0][i]+x1+x2, floor)
			y[1][i] = max(x1-x2-x[3][i], floor)
		}
	})
}

func winogradInput4Go(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int) {
	items(dst, ldd, stepd, 6, src, lds, steps, 6, n, count, func(y, x *[6][]float32) {
		for i := range n {
			d1, d2, d3, d4 := x[1][i], x[2][i], x[3][i], x[4][i]
			even, odd := d4-4*d2, d3-4*d1
			a, b := d4-d2, d3-d1
			y[0][i] = 4*(x[0][i]-d2) + a
			y[1][i] = even + odd
			y[2][i] = even - odd
			y[3][i] = a + 2*b
			y[4][i] = a - 2*b
			y[5][i] = x[5][i] - d3 - 4*b
		}
	})
}

func winogradOutput4Go(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int, floor float32) {
	items(dst, ldd, stepd, 4, src, lds, steps, 6, n, count, func(y, x *[6][]float32) {
		for i := range n {
			a, b := x[1][i]+x[2][i], x[1][i]-x[2][i]
			c, d := x[3][i]+x[4][i], x[3][i]-x[4][i]
			y[0][i] = max(x[0][i]+a+c, floor)
			y[1][i] = max(b+2*d, floor)
			y[2][i] = max(a+4*c, floor)
			y[3][i] = max(b+8*d+x[5][i], floor)
		}
	})
}
