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
	quickGELU: func(x []float32) { activateOfNEON(QuickGELU, x) },
	gelu:      func(x []float32) { activateOfNEON(GELU, x) },
	geluTanh:  func(x []float32) { activateOfNEON(GELUTanh, x) },
	relu:      func(x []float32) { activateOfNEON(ReLU, x) },
	layerNorm: layerNormNEON,
	add:       addOfNEON,
	lerp:      lerpOfNEON,
	dot:       dotOfNEON,
	minMax:    minMaxNEON,
	fromF16:   func(dst []float32, src []byte) { fromF16NEON(&dst[0], &src[0], len(dst)) },
	fromBF16:  func(dst []float32, src []byte) { fromBF16NEON(&dst[0], &src[0], len(dst)) },
	scale:     scaleOfNEON,
	addGrid:   addGridOfNEON,
	transpose: transposeOfNEON,
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

// Which function works is a value and not a func, so that the vector of the
// rest stays on the stack.

func activateOfNEON(f Activation, x []float32) {
	x, rest := whole(x)
	if len(x) > 0 {
		activateNEON(f, &x[0], len(x))
	}
	if len(rest) > 0 {
		v := pad(rest, 0)
		activateNEON(f, &v[0], 4)
		copy(rest, v[:])
	}
}

func activateNEON(f Activation, x *float32, n int) {
	switch f {
	case QuickGELU:
		quickGELUNEON(x, n)
	case GELU:
		geluNEON(x, n)
	case GELUTanh:
		geluTanhNEON(x, n)
	case ReLU:
		reluNEON(x, n)
	}
}

func largestNEON(x []float32) float32 {
	v := pad(x[len(x)&^3:], x[0])
	top := maxNEON(&v[0], 4)
	if x, _ = whole(x); len(x) > 0 {
		v = [4]float32{top, top, top, maxNEON(&x[0], len(x))}
		top = maxNEON(&v[0], 4)
	}
	return top
}

func smallestNEON(x []float32) float32 {
	v := pad(x[len(x)&^3:], x[0])
	least := minNEON(&v[0], 4)
	if x, _ = whole(x); len(x) > 0 {
		v = [4]float32{least, least, least, minNEON(&x[0], len(x))}
		least = minNEON(&v[0], 4)
	}
	return least
}

func minMaxNEON(x []float32) (lo, hi float32) {
	return smallestNEON(x), largestNEON(x)
}

// exponential replaces x by a base to the power x - top and returns the sum.
type exponential bool

const (
	base2 exponential = false
	baseE exponential = true
)

func (base exponential) sum(x *float32, n int, top float32) float32 {
	if base == baseE {
		return expSumNEON(x, n, top)
	}
	return exp2SumNEON(x, n, top)
}

func (base exponential) sumOf(x []float32, top float32) float32 {
	x, rest := whole(x)
	var sum float32
	if len(x) > 0 {
		sum = base.sum(&x[0], len(x), top)
	}
	if len(rest) > 0 {
		v := pad(rest, rest[0])
		base.sum(&v[0], 4, top)
		for i := range rest {
			rest[i] = v[i]
			sum += v[i]
		}
	}
	return sum
}

func expSumOfNEON(x []float32, floor float32) (top, sum float32) {
	top = max(floor, largestNEON(x))
	return top, base2.sumOf(x, top)
}

func softmaxNEON(x []float32) {
	scaleOfNEON(x, x, 1/baseE.sumOf(x, largestNEON(x)))
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

func scaleOfNEON(dst, a []float32, w float32) {
	dst, rest := whole(dst)
	n := len(dst)
	if n > 0 {
		scaleNEON(&dst[0], &a[0], n, w)
	}
	for i := range rest {
		rest[i] = w * a[n+i]
	}
}

func addGridOfNEON(x, row, col []float32, w float32) {
	n := len(col) &^ 3
	for i, r := range row {
		x := x[i*len(col):][:len(col)]
		if n > 0 {
			addRowNEON(&x[0], &col[0], n, r, w)
		}
		for j := n; j < len(col); j++ {
			x[j] += float32(w * (r + col[j]))
		}
	}
}

// transposeOfNEON is transposeNEON for any size: incomplete blocks of 4×4 are
// left to plain Go. It repeats transposeOfAVX2, because a shared function would
// call the assembly through a variable, and its operands would escape to the
// heap.
func transposeOfNEON(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	r, c := rows&^3, cols&^3
	if r > 0 && c > 0 {
		transposeNEON(&dst[0], ldd, &src[0], lds, r, c)
	}
	if r > 0 && c < cols {
		transposeGo(dst[c*ldd:], ldd, src[c:], lds, r, cols-c)
	}
	if r < rows {
		transposeGo(dst[r:], ldd, src[r*lds:], lds, rows-r, cols)
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

// winogradOfNEON leaves the incomplete last vector to plain Go, which rounds
// alike.
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
