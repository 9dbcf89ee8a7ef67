package simd

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	gonumblas "gonum.org/v1/gonum/blas/gonum"
)

// gemmGonum leaves the product to gonum, which brings its own workers.
func gemmGonum(t *Team, dst, a blas32.General, b *Packed, e Epilogue) {
	if b.k == 0 {
		gemmGeneric(t, dst, a, b, e)
		return
	}
	// The residual is added by gonum where nothing comes between, and kept
	// apart where an activation does: it may be dst.
	product, beta := dst, float32(0)
	switch {
	case e.Residual.Data == nil:
	case e.Act == Identity:
		beta = 1
		for i := range dst.Rows {
			copy(dst.Data[i*dst.Stride:][:dst.Cols], e.Residual.Data[i*e.Residual.Stride:])
		}
		e.Residual = blas32.General{}
	default:
		product = blas32.General{Rows: dst.Rows, Cols: dst.Cols, Stride: dst.Cols, Data: make([]float32, dst.Rows*dst.Cols)}
	}
	gonumblas.Implementation{}.Sgemm(blas.NoTrans, blas.Trans, dst.Rows, dst.Cols, b.k,
		e.Alpha, a.Data, a.Stride, b.data, b.k, beta, product.Data, product.Stride)
	if e.Bias == nil && e.Act == Identity {
		return
	}
	t.Do(dst.Rows, func(_, i int) {
		from, to := product.Data[i*product.Stride:][:dst.Cols], dst.Data[i*dst.Stride:][:dst.Cols]
		for j, v := range from {
			if e.Bias != nil {
				v += e.Bias[j]
			}
			v = e.Act.apply(v)
			if e.Residual.Data != nil {
				v += e.Residual.Data[i*e.Residual.Stride+j]
			}
			to[j] = v
		}
	})
}
