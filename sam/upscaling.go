package sam

import (
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// upscaling brings the cells to four times the resolution with two transposed
// 2×2 convolutions of stride 2, a layer norm and GELU between, GELU after
// (segment_anything/modeling/mask_decoder.py, output_upscaling). Such a
// convolution is a product: a pixel becomes a 2×2 square of outputs, row by
// row, which further on count as rows of their own.
type upscaling struct {
	first  nn.Linear // width -> 4 × width/4
	norm   nn.LayerNorm
	second nn.Linear // width/4 -> 4 × width/8
}

func loadUpscaling(l *loader, prefix string, width int) upscaling {
	return upscaling{
		first:  l.transposed2(prefix+".0", width/4, width),
		norm:   l.Norm(prefix+".1", width/4, convNormEps),
		second: l.transposed2(prefix+".3", width/8, width/4),
	}
}

// masks stores, for every prompt, the products of the upscaled cells with the
// rows of hyper, one row per mask, in logits: prompts × masks × side × side
// with side = 4·grid. SAM 2 adds its fine features, of which SAM 1 has none.
func (u *upscaling) masks(r *nn.Call, logits []float32, cells blas32.General, fine [2][]float32, n, grid int, hyper blas32.General) {
	mark := r.Mark()
	defer r.Release(mark)
	masks, side := hyper.Rows/n, 4*grid
	packed := make([]*simd.Packed, n)
	for b := range packed {
		packed[b] = simd.Pack(r.Kernel, nn.Rows(hyper, b*masks, masks))
	}
	per := cells.Rows / n
	chunks := (per + cellsPerChunk - 1) / cellsPerChunk
	quarter, eighth := cells.Cols/4, cells.Cols/8
	size := cellsPerChunk * (4*quarter + 16*eighth + 16*masks)
	scratch := r.Floats(r.Team.Size() * size)
	alone := nn.Exec{Kernel: r.Kernel}
	r.Team.Do(n*chunks, func(worker, i int) {
		b, lo := i/chunks, i%chunks*cellsPerChunk
		count := min(cellsPerChunk, per-lo)
		buf := scratch[worker*size:][:size]
		cut := func(rows, cols int) blas32.General {
			m := nn.Matrix(buf, rows, cols)
			buf = buf[rows*cols:]
			return m
		}
		twice := cut(4*count, quarter)
		u.first.Apply(alone, nn.Matrix(twice.Data, count, 4*quarter), nn.Rows(cells, b*per+lo, count), simd.Identity)
		if fine[1] != nil {
			r.Kernel.Add(twice.Data, twice.Data, fine[1][4*lo*quarter:][:len(twice.Data)])
		}
		u.norm.Apply(alone, twice, twice)
		r.Kernel.Activate(simd.GELU, twice.Data)
		four := cut(16*count, eighth)
		if fine[0] == nil {
			u.second.Apply(alone, nn.Matrix(four.Data, 4*count, 4*eighth), twice, simd.GELU)
		} else {
			u.second.Apply(alone, nn.Matrix(four.Data, 4*count, 4*eighth), twice, simd.Identity)
			r.Kernel.Add(four.Data, four.Data, fine[0][16*lo*eighth:][:len(four.Data)])
			r.Kernel.Activate(simd.GELU, four.Data)
		}
		products := cut(16*count, masks)
		r.Kernel.MatMul(nil, products, four, packed[b], simd.Epilogue{})

		for j := range count {
			y0, x0 := 4*((lo+j)/grid), 4*((lo+j)%grid)
			for sub := range 16 {
				// bits of sub: row and column of the first square, then of the second
				y, x := y0+sub>>3*2+sub>>1&1, x0+sub>>2&1*2+sub&1
				for m, v := range row(products, 16*j+sub) {
					logits[((b*masks+m)*side+y)*side+x] = v
				}
			}
		}
	})
}
