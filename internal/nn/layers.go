package nn

import (
	"context"

	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// Exec is what a call computes with: a kernel and the workers of the call.
type Exec struct {
	Kernel simd.Kernel
	Team   *simd.Team
}

// Take takes workers for a call, which stop when ctx ends. What they computed is
// void then: the caller looks at ctx before it uses that, and closes the Team.
func Take(ctx context.Context, k simd.Kernel, workers *simd.Workers) (Exec, error) {
	team, err := workers.Team(ctx)
	if err != nil {
		return Exec{}, err
	}
	team.Until(ctx)
	return Exec{Kernel: k, Team: team}, nil
}

// Linear is y = x·Wᵀ + b, the weights packed for one kernel.
type Linear struct {
	Weight *simd.Packed
	Bias   []float32 // one per output, or nil
}

// NewLinear packs weight, [out, in] row-major, for k.
func NewLinear(k simd.Kernel, weight []float32, out, in int, bias []float32) Linear {
	return Linear{simd.Pack(k, Matrix(weight, out, in)), bias}
}

// Apply stores act(x·Wᵀ + b) in dst.
func (l Linear) Apply(x Exec, dst, src blas32.General, act simd.Activation) {
	x.Kernel.MatMul(x.Team, dst, src, l.Weight, simd.Epilogue{Bias: l.Bias, Act: act})
}

// ApplyAdd stores x·Wᵀ + b + residual in dst, which may be the residual.
func (l Linear) ApplyAdd(x Exec, dst, src, residual blas32.General) {
	x.Kernel.MatMul(x.Team, dst, src, l.Weight, simd.Epilogue{Bias: l.Bias, Residual: residual})
}

// LayerNorm normalizes rows to zero mean and unit variance, then scales and
// shifts.
type LayerNorm struct {
	Weight, Bias []float32
	Eps          float32
}

// Apply stores the normalized rows of src in dst, which may be src.
func (l LayerNorm) Apply(x Exec, dst, src blas32.General) {
	x.Kernel.LayerNorm(x.Team, dst, src, l.Weight, l.Bias, l.Eps)
}

// MLP is two linear layers with an activation between.
type MLP struct {
	In, Out Linear
	Act     simd.Activation
}

// ApplyAdd stores MLP(src) + residual in dst, which may be the residual.
// hidden is scratch, rows of src × outputs of In.
func (m MLP) ApplyAdd(x Exec, dst, src, residual, hidden blas32.General) {
	m.In.Apply(x, hidden, src, m.Act)
	m.Out.ApplyAdd(x, dst, hidden, residual)
}
