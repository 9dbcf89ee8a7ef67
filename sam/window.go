package sam

import (
	"image"
	"math"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// windows cuts a square grid of tokens into square windows that attend only
// to themselves. The grid is padded on the right and below to whole windows,
// but only its own tokens are listed, window by window ("window order"), so
// that no product ever sees a padded one. Global attention is one window of
// the grid's size.
type windows struct {
	grid, size int
	groups     []windowGroup
	runs       []run
	at         []image.Point // place inside its window of each token, in window order
}

// A windowGroup is windows of one shape, next to each other in window order:
// the inner ones are whole, those at the right and lower edge hold fewer
// tokens and padding beside them.
type windowGroup struct {
	first, count int // first token and number of windows
	rows, cols   int // tokens of each window
}

// tokens is the number of tokens in all windows of the group.
func (g windowGroup) tokens() int { return g.count * g.rows * g.cols }

// part is n windows of the group, from the given one on.
func (g windowGroup) part(from, n int) windowGroup {
	return windowGroup{g.first + from*g.rows*g.cols, n, g.rows, g.cols}
}

// A run is n tokens that are neighbors in a row of the grid (from index
// raster, row-major) and in window order (from index window).
type run struct{ raster, window, n int }

func newWindows(grid, size int) *windows {
	w := &windows{grid: grid, size: size}
	full, rest := grid/size, grid%size
	edge := full * size // where the last, partial windows begin
	w.add(0, 0, full, full, size, size)
	w.add(0, edge, full, 1, size, rest)
	w.add(edge, 0, 1, full, rest, size)
	w.add(edge, edge, 1, 1, rest, rest)
	return w
}

// add lists down × across windows of rows × cols tokens, the first of them at
// row y0 and column x0 of the grid.
func (w *windows) add(y0, x0, down, across, rows, cols int) {
	g := windowGroup{len(w.at), down * across, rows, cols}
	if g.tokens() == 0 {
		return
	}
	w.groups = append(w.groups, g)
	for wy := range down {
		for wx := range across {
			for y := range rows {
				w.runs = append(w.runs, run{(y0+wy*w.size+y)*w.grid + x0 + wx*w.size, len(w.at), cols})
				for x := range cols {
					w.at = append(w.at, image.Pt(x, y))
				}
			}
		}
	}
}

// raster reports whether window order is the grid's own.
func (w *windows) raster() bool { return w.size == w.grid }

// normalize stores norm(src), rows in the grid's order, in dst in window
// order.
func (w *windows) normalize(x nn.Exec, norm nn.LayerNorm, dst, src blas32.General) {
	if w.raster() {
		norm.Apply(x, dst, src)
		return
	}
	alone := nn.Exec{Kernel: x.Kernel}
	x.Team.Do(len(w.runs), func(_, i int) {
		r := w.runs[i]
		norm.Apply(alone, nn.Rows(dst, r.window, r.n), nn.Rows(src, r.raster, r.n))
	})
}

// unorder copies the rows of src from window order to the grid's order.
func (w *windows) unorder(t *simd.Team, dst, src blas32.General) {
	t.Do(len(w.runs), func(_, i int) {
		r := w.runs[i]
		for j := range r.n {
			copy(row(dst, r.raster+j), row(src, r.window+j))
		}
	})
}

// pad returns the keys and values of a group of partial windows as whole
// ones, count·size² rows: kv has the group's own tokens in window order, fill
// is what a padded token has.
func (w *windows) pad(r *nn.Call, g windowGroup, kv blas32.General, fill []float32) blas32.General {
	dst := r.Matrix(g.count*w.size*w.size, kv.Cols)
	r.Team.Do(g.count*w.size, func(_, i int) {
		window, y := i/w.size, i%w.size
		for x := range w.size {
			src := fill
			if y < g.rows && x < g.cols {
				src = row(kv, (window*g.rows+y)*g.cols+x)
			}
			copy(row(dst, i*w.size+x), src)
		}
	})
	return dst
}

// attend runs attention inside every window. dst and qkv have rows in window
// order, qkv queries, keys and values side by side; fill is the keys and
// values of a padded token. call gets the attention of one group of windows,
// to add its score terms and run it.
func (w *windows) attend(r *nn.Call, dst, qkv blas32.General, heads int, fill []float32,
	call func(g windowGroup, dst blas32.General, a *simd.Attention)) {
	width := dst.Cols
	for _, g := range w.groups {
		own := nn.Rows(qkv, g.first, g.tokens())
		w.attendGroup(r, g, nn.Rows(dst, g.first, g.tokens()), nn.Cols(own, 0, width), nn.Cols(own, width, 2*width), heads, fill, call)
	}
}

// attendGroup is attend for one group: dst, q and kv have its rows only, kv the
// keys and values side by side. There may be fewer queries than keys.
func (w *windows) attendGroup(r *nn.Call, g windowGroup, dst, q, kv blas32.General, heads int, fill []float32,
	call func(g windowGroup, dst blas32.General, a *simd.Attention)) {
	mark := r.Mark()
	defer r.Release(mark)
	width := dst.Cols
	if g.rows < w.size || g.cols < w.size {
		kv = w.pad(r, g, kv, fill)
	}
	call(g, dst, &simd.Attention{
		Batch: g.count, Heads: heads, HeadDim: width / heads, Scale: float32(1 / math.Sqrt(float64(width/heads))),
		Q: q, K: nn.Cols(kv, 0, width), V: nn.Cols(kv, width, width),
	})
}

// row is row i of m.
func row(m blas32.General, i int) []float32 { return m.Data[i*m.Stride : i*m.Stride+m.Cols] }
