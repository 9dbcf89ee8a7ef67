//go:build !purego && !noasm

package simd

var vectorsAVX2 = vectors{
	softmax:   softmaxAVX2,
	expSum:    expSumAVX2,
	quickGELU: quickGELUAVX2,
	gelu:      geluAVX2,
	relu:      reluAVX2,
	layerNorm: layerNormAVX2,
	add:       addAVX2,
	lerp:      lerpAVX2,
	dot:       dotAVX2,
	minMax:    minMaxAVX2,
	fromF16:   fromF16AVX2,
	fromBF16:  fromBF16AVX2,
}

var vectorsAVX512 = vectors{
	softmax:   softmaxAVX512,
	expSum:    expSumAVX512,
	quickGELU: quickGELUAVX512,
	gelu:      geluAVX512,
	relu:      reluAVX512,
	layerNorm: layerNormAVX512,
	add:       addAVX512,
	lerp:      lerpAVX512,
	dot:       dotAVX512,
	minMax:    minMaxAVX512,
	fromF16:   fromF16AVX512,
	fromBF16:  fromBF16AVX512,
}
