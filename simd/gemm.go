package simd

import (
	"fmt"

	"gonum.org/v1/gonum/blas/blas32"
)

// Activation is a function applied to every entry of a product as it is
// written back.
type Activation uint8

const (
	Identity  Activation = iota
	QuickGELU            // x·sigmoid(1.702·x), OpenAI's CLIP
	GELU                 // x·Φ(x) with the exact error function
	ReLU                 // max(x, 0)
)

// Epilogue says what happens to a product before it is stored:
//
//	dst = Act(Alpha·A·Bᵀ + Bias) + Residual
//
// The zero value stores the product.
type Epilogue struct {
	Alpha    float32        // 0 means 1
	Bias     []float32      // one value per column of dst, or nil
	Act      Activation     // applied after Alpha and Bias
	Residual blas32.General // same size as dst, or no Data; may be dst itself
}

// Packed is the right-hand side of a product in one kernel's panels: N rows
// of K weights, as PyTorch's Linear stores them. It is immutable and may be
// shared.
type Packed struct {
	n, k int
	rows []float32
}

// N is the number of outputs, the columns of dst.
func (p *Packed) N() int { return p.n }

// K is the depth, the columns of a.
func (p *Packed) K() int { return p.k }

// Pack packs b, N×K, for k.
func Pack(k Kernel, b blas32.General) *Packed {
	p := &Packed{n: b.Rows, k: b.Cols, rows: make([]float32, b.Rows*b.Cols)}
	for i := range b.Rows {
		copy(p.rows[i*b.Cols:(i+1)*b.Cols], b.Data[i*b.Stride:])
	}
	return p
}

// PackTransposed packs the transpose of b, K×N, for k.
func PackTransposed(k Kernel, b blas32.General) *Packed {
	p := &Packed{n: b.Cols, k: b.Rows, rows: make([]float32, b.Rows*b.Cols)}
	for i := range b.Rows {
		for j := range b.Cols {
			p.rows[j*b.Rows+i] = b.Data[i*b.Stride+j]
		}
	}
	return p
}

// MatMul stores e(a·bᵀ) in dst: a is M×K, b packed N×K, dst M×N. The rows and
// columns of dst are spread over the team.
func (k Kernel) MatMul(t *Team, dst, a blas32.General, b *Packed, e Epilogue) {
	if a.Cols != b.k || dst.Rows != a.Rows || dst.Cols != b.n || e.Bias != nil && len(e.Bias) != b.n ||
		e.Residual.Data != nil && (e.Residual.Rows != dst.Rows || e.Residual.Cols != dst.Cols) {
		panic(fmt.Sprintf("simd: MatMul of %d×%d by %d×%d into %d×%d", a.Rows, a.Cols, b.n, b.k, dst.Rows, dst.Cols))
	}
	gemmGeneric(t, dst, a, b, e)
}
