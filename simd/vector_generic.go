package simd

import "math"

// goVectors is the specification of the vector kernels.
var goVectors = vectors{
	softmax:   softmaxGo,
	expSum:    expSumGo,
	quickGELU: activateGo(QuickGELU),
	gelu:      activateGo(GELU),
	geluTanh:  activateGo(GELUTanh),
	relu:      activateGo(ReLU),
	layerNorm: layerNormGo,
	add:       addGo,
	lerp:      lerpGo,
	dot:       dot,
	minMax:    minMaxGo,
	fromF16:   fromF16Go,
	fromBF16:  fromBF16Go,
	scale:     scaleGo,
	addGrid:   addGridGo,
	transpose: transposeGo,
	winograd:  winogradGo,
}

// layerNormGo computes mean and variance in two passes, in float64.
func layerNormGo(dst, x, weight, bias []float32, eps float32) {
	var sum float64
	for _, v := range x {
		sum += float64(v)
	}
	mean := sum / float64(len(x))
	var squares float64
	for _, v := range x {
		d := float64(v) - mean
		squares += d * d
	}
	scale := 1 / math.Sqrt(squares/float64(len(x))+float64(eps))
	for i, v := range x {
		dst[i] = float32((float64(v)-mean)*scale*float64(weight[i]) + float64(bias[i]))
	}
}

func softmaxGo(x []float32) {
	top := float32(math.Inf(-1))
	for _, v := range x {
		top = max(top, v)
	}
	var sum float64
	for i, v := range x {
		e := math.Exp(float64(v - top))
		x[i] = float32(e)
		sum += e
	}
	for i, v := range x {
		x[i] = float32(float64(v) / sum)
	}
}

// expSumGo replaces x by 2^(x - top) and returns top, the largest of x and
// floor, and the sum.
func expSumGo(x []float32, floor float32) (top, sum float32) {
	top = floor
	for _, v := range x {
		top = max(top, v)
	}
	for i, v := range x {
		x[i] = float32(math.Exp2(float64(v - top)))
		sum += x[i]
	}
	return top, sum
}

func addGo(dst, a, b []float32) {
	for i := range dst {
		dst[i] = a[i] + b[i]
	}
}

func lerpGo(dst, a, b []float32, wa, wb float32) {
	for i := range dst {
		dst[i] = float32(wa*a[i]) + float32(wb*b[i])
	}
}

func minMaxGo(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

func scaleGo(dst, a []float32, w float32) {
	for i := range dst {
		dst[i] = w * a[i]
	}
}

// addGridGo adds w·(row[i] + col[j]) to x[i·len(col)+j].
func addGridGo(x, row, col []float32, w float32) {
	for i, r := range row {
		for j, c := range col {
			x[i*len(col)+j] += float32(w * (r + c))
		}
	}
}

// transposeGo stores the transpose of src, rows×cols, in dst. Leading
// dimensions are in floats.
func transposeGo(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	for i := range rows {
		for j, v := range src[i*lds:][:cols] {
			dst[j*ldd+i] = v
		}
	}
}
