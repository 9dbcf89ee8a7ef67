package simd

import "math"

// apply is f(v), computed in float64 and rounded once.
func (f Activation) apply(v float32) float32 {
	x := float64(v)
	if f != Identity && math.IsInf(x, -1) {
		return 0
	}
	switch f {
	case QuickGELU:
		return float32(x / (1 + math.Exp(-1.702*x)))
	case GELU:
		return float32(0.5 * x * math.Erfc(-x/math.Sqrt2))
	case GELUTanh:
		return float32(x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))))
	case ReLU:
		return max(v, 0)
	}
	return v
}

func activateGo(f Activation) func(x []float32) {
	return func(x []float32) {
		for i, v := range x {
			x[i] = f.apply(v)
		}
	}
}
