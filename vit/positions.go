package vit

import (
	"image"
	"sync"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"gonum.org/v1/gonum/blas/blas32"
)

// tables keeps the resized position tables that were used last.
type tables struct {
	mu   sync.Mutex
	kept []table // the latest first
}

type table struct {
	grid image.Point
	kind Positions
	rows blas32.General // (1+cells)×width
}

// keptFloats bounds the tables that are kept: 32 MB.
const keptFloats = 8 << 20

// table is the position table for a grid.
func (t *visionTransformer) table(grid image.Point, kind Positions) blas32.General {
	return t.tables.get(t.positions, t.native, grid, kind)
}

// get resizes the original table, whose grid is native: the class token's row
// stays as it is, the others are interpolated.
func (t *tables) get(original blas32.General, native, grid image.Point, kind Positions) blas32.General {
	if grid == native {
		return original
	}
	t.mu.Lock()
	for i, k := range t.kept {
		if k.grid == grid && k.kind == kind {
			copy(t.kept[1:], t.kept[:i])
			t.kept[0] = k
			t.mu.Unlock()
			return k.rows
		}
	}
	t.mu.Unlock()

	width := original.Cols
	rows := nn.Matrix(make([]float32, (1+grid.X*grid.Y)*width), 1+grid.X*grid.Y, width)
	copy(rows.Data, original.Data[:width])
	dst, src := rows.Data[width:], original.Data[width:]
	switch kind {
	case PositionsBilinear:
		pix.Bilinear(dst, grid, src, native, width)
	case PositionsBicubic:
		pix.Cubic(dst, grid, src, native, width, 0)
	case PositionsBicubicOffset:
		pix.Cubic(dst, grid, src, native, width, 0.1)
	case PositionsBicubicAntialias:
		pix.CubicAntialias(dst, grid, src, native, width)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append([]table{{grid, kind, rows}}, t.kept...)
	floats := 0
	for i, k := range t.kept {
		if floats += len(k.rows.Data); floats > keptFloats {
			clear(t.kept[i:])
			t.kept = t.kept[:i]
			break
		}
	}
	return rows
}
