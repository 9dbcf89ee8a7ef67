//go:build !purego && !noasm

package simd

var vectorsAVX2 = vectors{
	softmax:   softmaxAVX2,
	expSum:    expSumAVX2,
	quickGELU: quickGELUAVX2,
	gelu:      geluAVX2,
	geluTanh:  geluTanhAVX2,
	relu:      reluAVX2,
	layerNorm: layerNormAVX2,
	add:       addAVX2,
	lerp:      lerpAVX2,
	dot:       dotAVX2,
	minMax:    minMaxAVX2,
	fromF16:   fromF16AVX2,
	fromBF16:  fromBF16AVX2,
	scale:     scaleAVX2,
	addGrid:   addGridAVX2,
	transpose: transposeOfAVX2,
	winograd:  [2]transforms{{winogradInput2AVX2, winogradOutput2AVX2}, {winogradInput4AVX2, winogradOutput4AVX2}},
}

var vectorsAVX512 = vectors{
	softmax:   softmaxAVX512,
	expSum:    expSumAVX512,
	quickGELU: quickGELUAVX512,
	gelu:      geluAVX512,
	geluTanh:  geluTanhAVX512,
	relu:      reluAVX512,
	layerNorm: layerNormAVX512,
	add:       addAVX512,
	lerp:      lerpAVX512,
	dot:       dotAVX512,
	minMax:    minMaxAVX512,
	fromF16:   fromF16AVX512,
	fromBF16:  fromBF16AVX512,
	scale:     scaleAVX512,
	addGrid:   addGridAVX2,
	transpose: transposeOfAVX2,
	winograd:  [2]transforms{{winogradInput2AVX512, winogradOutput2AVX512}, {winogradInput4AVX512, winogradOutput4AVX512}},
}

// transposeOfAVX2 is transposeAVX2 for any size: incomplete blocks of 8×8 are
// left to plain Go.
func transposeOfAVX2(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	r, c := rows&^7, cols&^7
	if r > 0 && c > 0 {
		transposeAVX2(&dst[0], ldd, &src[0], lds, r, c)
	}
	if r > 0 && c < cols {
		transposeGo(dst[c*ldd:], ldd, src[c:], lds, r, cols-c)
	}
	if r < rows {
		transposeGo(dst[r:], ldd, src[r*lds:], lds, rows-r, cols)
	}
}
