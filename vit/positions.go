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

// table is the position table for a grid: the class token's row as it is, the
// others resized, always from the original.
func (t *visionTransformer) table(grid image.Point, kind Positions) blas32.General {
	if grid == t.native {
		return t.positions
	}
	t.tables.mu.Lock()
	for i, k := range t.tables.kept {
		if k.grid == grid && k.kind == kind {
			copy(t.tables.kept[1:], t.tables.kept[:i])
			t.tables.kept[0] = k
			t.tables.mu.Unlock()
			return k.rows
		}
	}
	t.tables.mu.Unlock()

	width := t.width()
	rows := nn.Matrix(make([]float32, (1+grid.X*grid.Y)*width), 1+grid.X*grid.Y, width)
	copy(rows.Data, t.positions.Data[:width])
	dst, src := rows.Data[width:], t.positions.Data[width:]
	switch kind {
	case PositionsBilinear:
		pix.Bilinear(dst, grid, src, t.native, width)
	case PositionsBicubic:
		pix.Cubic(dst, grid, src, t.native, width, 0)
	case PositionsBicubicOffset:
		pix.Cubic(dst, grid, src, t.native, width, 0.1)
	case PositionsBicubicAntialias:
		pix.CubicAntialias(dst, grid, src, t.native, width)
	}

	t.tables.mu.Lock()
	defer t.tables.mu.Unlock()
	t.tables.kept = append([]table{{grid, kind, rows}}, t.tables.kept...)
	floats := 0
	for i, k := range t.tables.kept {
		if floats += len(k.rows.Data); floats > keptFloats {
			clear(t.tables.kept[i:])
			t.tables.kept = t.tables.kept[:i]
			break
		}
	}
	return rows
}
