package simd

import "gonum.org/v1/gonum/blas/blas32"

// Activation is a function applied to every entry of a product as it is
// written back.
type Activation uint8

const (
	Identity  Activation = iota // x
	QuickGELU                   // x·sigmoid(1.702·x), OpenAI's CLIP
	GELU                        // x·Φ(x) with the exact error function
	ReLU                        // max(x, 0)
	GELUTanh                    // x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, PyTorch's approximate="tanh"
)

// Epilogue says what happens to a product before it is stored:
//
//	dst = Act(Alpha·A·Bᵀ + Bias + Residual)
//
// The zero value stores the product.
type Epilogue struct {
	Alpha    float32        // 0 means 1
	Bias     []float32      // one value per column of dst, or nil
	Residual blas32.General // same size as dst, or no Data; may be dst itself
	Act      Activation
}

// MatMul stores e(a·bᵀ) in dst: a is M×K, b packed N×K for k, dst M×N. The
// rows and columns of dst are spread over the team.
func (k Kernel) MatMul(t *Team, dst, a blas32.General, b *Packed, e Epilogue) {
	if b == nil || b.kernel != k.table() {
		panic("simd: MatMul: b is not packed for this kernel")
	}
	checkOperands("MatMul", dst, a, b.n, b.k, &e)
	if dst.Rows == 0 || dst.Cols == 0 {
		return
	}
	if e.Alpha == 0 {
		e.Alpha = 1
	}
	switch {
	case k.table() == &gonum:
		gemmGonum(t, dst, a, b, e)
	case k.table().gemm.run == nil || b.k == 0:
		gemmGeneric(t, dst, a, b, e)
	default:
		gemmTiled(t, k, dst, a, b, e)
	}
}
