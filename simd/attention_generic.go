package simd

import "gonum.org/v1/gonum/blas/blas32"

// attendGeneric is the specification of Attend.
func attendGeneric(t *Team, dst blas32.General, a Attention) {
	nq, nk, d := a.Q.Rows/a.Batch, a.K.Rows/a.Batch, a.HeadDim
	weight := a.Weight
	if weight == 0 {
		weight = 1
	}
	t.Do(a.Batch*a.Heads, func(_, job int) {
		b, h := job/a.Heads, job%a.Heads
		scores := make([]float32, nk)
		out := make([]float32, d)
		for i := range nq {
			row := b*nq + i
			q := a.Q.Data[row*a.Q.Stride+h*d:][:d]
			seen := nk
			if a.Causal {
				seen = i + nk - nq + 1
			}
			s := scores[:seen]
			for j := range s {
				v := a.Scale * dot(q, a.K.Data[(b*nk+j)*a.K.Stride+h*d:][:d])
				if a.Mask.Data != nil {
					v += a.Mask.Data[i*a.Mask.Stride+j]
				}
				if a.RelRow.Data != nil {
					v += a.RelRow.Data[row*a.RelRow.Stride+h*a.Grid.Y+j/a.Grid.X] +
						a.RelCol.Data[row*a.RelCol.Stride+h*a.Grid.X+j%a.Grid.X]
				}
				s[j] = v
			}
			softmaxGo(s)
			clear(out)
			for j, p := range s {
				v := a.V.Data[(b*nk+j)*a.V.Stride+h*d:][:d]
				for c := range out {
					out[c] += p * v[c]
				}
			}
			y := dst.Data[row*dst.Stride+h*d:][:d]
			for c, v := range out {
				if a.Accumulate {
					y[c] += weight * v
				} else {
					y[c] = weight * v
				}
			}
		}
	})
}
