//go:build !purego && !noasm

package simd

import (
	"math"
	"unsafe"
)

// The assembly works on whole vectors of four. What remains is copied to a
// vector of its own, so that an entry comes out the same wherever it stands.

var vectorsNEON = vectors{
	softmax:   softmaxNEON,
	expSum:    expSumOfNEON,
	quickGELU: func(x []float32) { eachNEON(x, quickGELUNEON) },
	gelu:      func(x []float32) { eachNEON(x, geluNEON) },
	relu:      func(x []float32) { eachNEON(x, reluNEON) },
	layerNorm: layerNormNEON,
	add:       addOfNEON,
	lerp:      lerpOfNEON,
	dot:       dotOfNEON,
	minMax:    minMaxNEON,
	fromF16:   func(dst []float32, src []byte) { fromF16NEON(&dst[0], &src[0], len(dst)) },
	fromBF16:  func(dst []float32, src []byte) { fromBF16NEON(&dst[0], &src[0], len(dst)) },
	scale:     scaleGo,
	addGrid:   addGridGo,
	transpose: transposeGo,
	winograd:  winogradOfNEON,
}

// whole splits x into whole vectors and the rest.
func whole(x []float32) (vectors, rest []float32) {
	n := len(x) &^ 3
	return x[:n], x[n:]
}

// pad is the rest of x with its last places filled.
func pad(rest []float32, fill float32) [4]float32 {
	v := [4]float32{fill, fill, fill, fill}
	copy(v[:], rest)
	return v
}

func eachNEON(x []float32, f func(x *float32, n int)) {
	x, rest := whole(x)
	if len(x) > 0 {
		f(&x[0], len(x))
	}
	if len(rest) > 0 {
		v := pad(rest, 0)
		f(&v[0], 4)
		copy(rest, v[:])
	}
}

func extremeNEON(x []float32, f func(x *float32, n int) float32) float32 {
	v := pad(x[len(x)&^3:], x[0])
	m := f(&v[0], 4)
	if x, _ = whole(x); len(x) > 0 {
		v = [4]float32{m, m, m, f(&x[0], len(x))}
		m = f(&v[0], 4)
	}
	return m
}

func minMaxNEON(x []float32) (lo, hi float32) {
	return extremeNEON(x, minNEON), extremeNEON(x, maxNEON)
}

// exponentials applies f, which turns -Inf into 0, and adds up.
func exponentials(x []float32, top float32, f func(x *float32, n int, top float32) float32) float32 {
	x, rest := whole(x)
	var sum float32
	if len(x) > 0 {
		sum = f(&x[0], len(x), top)
	}
	if len(rest) > 0 {
		v := pad(rest, rest[0])
		f(&v[0], 4, top)
		for i := range rest {
			rest[i] = v[i]
			sum += v[i]
		}
	}
	return sum
}

func expSumOfNEON(x []float32, floor float32) (top, sum float32) {
	top = max(floor, extremeNEON(x, maxNEON))
	return top, exponentials(x, top, exp2SumNEON)
}

func softmaxNEON(x []float32) {
	factor := 1 / exponentials(x, extremeNEON(x, maxNEON), expSumNEON)
	for i := range x {
		x[i] *= factor
	}
}

func layerNormNEON(dst, x, weight, bias []float32, eps float32) {
	v, rest := whole(x)
	var sum float32
	if len(v) > 0 {
		sum = sumNEON(&v[0], len(v))
	}
	for _, e := range rest {
		sum += e
	}
	mean := sum / float32(len(x))
	var squares float32
	if len(v) > 0 {
		squares = squaresNEON(&v[0], len(v), mean)
	}
	for _, e := range rest {
		squares += float32((e - mean) * (e - mean))
	}
	scale := 1 / float32(math.Sqrt(float64(squares/float32(len(x))+eps)))
	n := len(v)
	if n > 0 {
		normalizeNEON(&dst[0], &x[0], &weight[0], &bias[0], n, mean, scale)
	}
	if len(rest) > 0 {
		v, w, b := pad(rest, 0), pad(weight[n:len(x)], 0), pad(bias[n:len(x)], 0)
		normalizeNEON(&v[0], &v[0], &w[0], &b[0], 4, mean, scale)
		copy(dst[n:len(x)], v[:])
	}
}

func addOfNEON(dst, a, b []float32) {
	dst, rest := whole(dst)
	n := len(dst)
	if n > 0 {
		addNEON(&dst[0], &a[0], &b[0], n)
	}
	for i := range rest {
		rest[i] = a[n+i] + b[n+i]
	}
}

func lerpOfNEON(dst, a, b []float32, wa, wb float32) {
	dst, rest := whole(dst)
	n := len(dst)
	if n > 0 {
		lerpNEON(&dst[0], &a[0], &b[0], n, wa, wb)
	}
	for i := range rest {
		rest[i] = float32(wa*a[n+i]) + float32(wb*b[n+i])
	}
}

func dotOfNEON(a, b []float32) float32 {
	v, rest := whole(a)
	var sum float32
	if len(v) > 0 {
		sum = dotNEON(&v[0], &b[0], len(v))
	}
	for i, e := range rest {
		sum += float32(e * b[len(v)+i])
	}
	return sum
}

// winogradOfNEON leaves to plain Go what fills no vector: it rounds alike.
var winogradOfNEON = [2]transforms{
	{inputOfNEON(winogradInput2NEON, winogradInput2Go), outputOfNEON(winogradOutput2NEON, winogradOutput2Go)},
	{inputOfNEON(winogradInput4NEON, winogradInput4Go), outputOfNEON(winogradOutput4NEON, winogradOutput4Go)},
}

func inputOfNEON(vector, plain func(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int)) func(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int) {
	return func(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int) {
		v := n &^ 3
		if v > 0 {
			vector(dst, ldd, stepd, src, lds, steps, v, count)
		}
		if v < n {
			plain(at(dst, v), ldd, stepd, at(src, v), lds, steps, n-v, count)
		}
	}
}

func outputOfNEON(vector, plain func(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int, floor float32)) func(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int, floor float32) {
	return func(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int, floor float32) {
		v := n &^ 3
		if v > 0 {
			vector(dst, ldd, stepd, src, lds, steps, v, count, floor)
		}
		if v < n {
			plain(at(dst, v), ldd, stepd, at(src, v), lds, steps, n-v, count, floor)
		}
	}
}

// gemmNEON is tileNEON for any number of columns: those of a part of a vector
// go through memory of its own.
func gemmNEON(rows, cols, k int, a *float32, lda int, b, c *float32, ldc int, in *float32, ldin int, bias *float32, alpha, floor float32, _ *float32) {
	full := 8
	if cols <= 4 {
		full = 4
	}
	if cols == full {
		tileNEON(rows, cols, k, a, lda, b, c, ldc, in, ldin, bias, alpha, floor)
		return
	}
	var tile, added [8 * 8]float32
	var biases [8]float32
	row := func(p *float32, ld, i int) []float32 {
		return unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(p), 4*i*ld)), cols)
	}
	if bias != nil {
		copy(biases[:], row(bias, 0, 0))
	}
	if in != nil {
		for i := range rows {
			copy(added[8*i:], row(in, ldin, i))
		}
		in = &added[0]
	}
	tileNEON(rows, full, k, a, lda, b, &tile[0], 8, in, 8, &biases[0], alpha, floor)
	for i := range rows {
		copy(row(c, ldc, i), tile[8*i:])
	}
}
