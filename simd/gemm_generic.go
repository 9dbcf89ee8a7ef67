package simd

import "gonum.org/v1/gonum/blas/blas32"

func gemmGeneric(t *Team, dst, a blas32.General, b *Packed, e Epilogue) {
	const block = 8
	t.Do((dst.Rows+block-1)/block, func(_, blk int) {
		lo, hi := blk*block, min((blk+1)*block, dst.Rows)
		for j := range b.n {
			w := b.data[j*b.k : (j+1)*b.k]
			for i := lo; i < hi; i++ {
				v := e.Alpha * dot(a.Data[i*a.Stride:i*a.Stride+b.k], w)
				if e.Bias != nil {
					v += e.Bias[j]
				}
				if e.Residual.Data != nil {
					v += e.Residual.Data[i*e.Residual.Stride+j]
				}
				dst.Data[i*dst.Stride+j] = e.Act.apply(v)
			}
		}
	})
}

// gemmTile is the specification of a kernel's tile: it stores
// max(alpha·a·b + bias + in, floor) in c, a NaN staying NaN. a is rows×k, b a
// panel of k runs of width values, c rows×cols. in and bias may be nil.
func gemmTile(rows, cols, k int, a []float32, lda int, b []float32, width int, c []float32, ldc int,
	in []float32, ldin int, bias []float32, alpha, floor float32) {
	for i := range rows {
		for j := range cols {
			var sum float32
			for step := range k {
				sum += a[i*lda+step] * b[step*width+j]
			}
			sum *= alpha
			if bias != nil {
				sum += bias[j]
			}
			if in != nil {
				sum += in[i*ldin+j]
			}
			c[i*ldc+j] = max(sum, floor)
		}
	}
}

func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}
