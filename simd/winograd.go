package simd

import "math"

// Spaced are vectors of one length in a larger array: those of an item Stride
// floats apart, items Step floats apart.
type Spaced struct {
	Data         []float32
	Stride, Step int
}

// transforms are one-dimensional transforms of Winograd's minimal filtering
// F(m, 3), for vectors of n floats and count items: every item of src becomes
// one of dst. Leading dimensions and steps are in floats.
type transforms struct {
	input  func(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int)
	output func(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int, floor float32)
}

// WinogradInput stores Bᵀ·d of every item d, m+2 vectors of n floats, in dst, of
// which no part may be one of src. m is 2 or 4.
//
//	m = 2:              m = 4:
//	⎡1  0 -1  0⎤        ⎡4  0 -5  0  1  0⎤
//	⎢0  1  1  0⎥        ⎢0 -4 -4  1  1  0⎥
//	⎢0 -1  1  0⎥        ⎢0  4 -4 -1  1  0⎥
//	⎣0  1  0 -1⎦        ⎢0 -2 -1  2  1  0⎥
//	                    ⎢0  2 -1 -2  1  0⎥
//	                    ⎣0  4  0 -5  0  1⎦
//
// All kernels give the same numbers. Source: Lavin and Gray, arXiv 1509.09308,
// section 4.
func (k Kernel) WinogradInput(m int, dst, src Spaced, n, count int) {
	const operation = "WinogradInput"
	checkWinograd(operation, m, n, count)
	if n == 0 || count == 0 {
		return
	}
	f := k.winograd(operation, m, dst, src, m+2, n, count)
	f.input(&dst.Data[0], dst.Stride, dst.Step, &src.Data[0], src.Stride, src.Step, n, count)
}

// WinogradOutput stores act(Aᵀ·x) of every item x, m+2 vectors of n floats, in
// dst, m vectors, of which no part may be one of src. m is 2 or 4, act Identity
// or ReLU.
//
//	m = 2:              m = 4:
//	⎡1  1  1  0⎤        ⎡1  1  1  1  1  0⎤
//	⎣0  1 -1 -1⎦        ⎢0  1 -1  2 -2  0⎥
//	                    ⎢0  1  1  4  4  0⎥
//	                    ⎣0  1 -1  8 -8  1⎦
func (k Kernel) WinogradOutput(m int, dst, src Spaced, n, count int, act Activation) {
	const operation = "WinogradOutput"
	checkWinograd(operation, m, n, count)
	if act != Identity && act != ReLU {
		panic("simd: WinogradOutput: act is neither Identity nor ReLU")
	}
	if n == 0 || count == 0 {
		return
	}
	floor := float32(math.Inf(-1))
	if act == ReLU {
		floor = 0
	}
	f := k.winograd(operation, m, dst, src, m, n, count)
	f.output(&dst.Data[0], dst.Stride, dst.Step, &src.Data[0], src.Stride, src.Step, n, count, floor)
}

// winograd returns the transforms for m after a look at what they will touch.
func (k Kernel) winograd(operation string, m int, dst, src Spaced, outputs, n, count int) *transforms {
	checkSpaced(operation, "dst", dst, outputs, n, count)
	checkSpaced(operation, "src", src, m+2, n, count)
	return &k.table().vector.winograd[m/2-1]
}

// checkWinograd checks what does not depend on the data.
func checkWinograd(operation string, m, n, count int) {
	if m != 2 && m != 4 {
		panic("simd: " + operation + ": m is neither 2 nor 4")
	}
	if n < 0 || count < 0 {
		panic("simd: " + operation + ": negative size")
	}
}
