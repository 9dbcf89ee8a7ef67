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
	beta := float32(0)
	if e.Residual.Data != nil {
		beta = 1
		for i := range dst.Rows {
			copy(dst.Data[i*dst.Stride:][:dst.Cols], e.Residual.Data[i*e.Residual.Stride:])
		}
	}
	gonumblas.Implementation{}.Sgemm(blas.NoTrans, blas.Trans, dst.Rows, dst.Cols, b.k,
		e.Alpha, a.Data, a.Stride, b.data, b.k, beta, dst.Data, dst.Stride)
	if e.Bias == nil && e.Act == Identity {
		return
	}
	t.Do(dst.Rows, func(_, i int) {
		row := dst.Data[i*dst.Stride:][:dst.Cols]
		for j, v := range row {
			if e.Bias != nil {
				v += e.Bias[j]
			}
			row[j] = e.Act.apply(v)
		}
	})
}
