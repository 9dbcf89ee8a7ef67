package surgery

import (
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/simd"
)

// mosaic is the scores of one picture, from one grid or several that overlap,
// at the picture's size: each grid is scaled to its region bilinearly with
// half-pixel centers, and where regions overlap their mean is taken. It gives
// rows, so that texts × pixels are never held.
type mosaic struct {
	size   image.Point
	texts  int
	pieces []piece
}

// piece is one grid on its way to its region.
type piece struct {
	*Scores
	region  image.Rectangle
	columns []pix.Taps
	rows    []pix.Taps
}

// newMosaic checks that the scores belong to one picture and cover it.
func newMosaic(scores []*Scores, texts int) (*mosaic, error) {
	if len(scores) == 0 {
		return nil, fmt.Errorf("surgery: %w: no scores", ErrGrid)
	}
	m := &mosaic{size: scores[0].Size, texts: texts}
	for _, s := range scores {
		if s.Size != m.size {
			return nil, fmt.Errorf("surgery: %w: scores of pictures of %v and %v", ErrGrid, m.size, s.Size)
		}
		if s.Cols != texts {
			return nil, fmt.Errorf("surgery: %w: scores of %d texts, %d in the vocabulary", ErrLabel, s.Cols, texts)
		}
		if n := s.Grid.X * s.Grid.Y; s.Grid.X < 1 || s.Grid.Y < 1 || s.Rows != 1+n {
			return nil, fmt.Errorf("surgery: %w: %d rows for a grid of %d×%d", ErrGrid, s.Rows, s.Grid.X, s.Grid.Y)
		}
		region, err := s.region()
		if err != nil {
			return nil, err
		}
		m.pieces = append(m.pieces, piece{s, region,
			pix.BilinearTaps(s.Grid.X, region.Dx()), pix.BilinearTaps(s.Grid.Y, region.Dy())})
	}
	return m, nil
}

// line is the scratch of one row.
type line struct {
	values []float32 // width × texts
	counts []float32 // how many pieces cover a pixel
	lerped []float32 // a row of a grid
}

func (m *mosaic) newLine() *line {
	widest := 0
	for _, p := range m.pieces {
		widest = max(widest, p.Grid.X)
	}
	return &line{make([]float32, m.size.X*m.texts), make([]float32, m.size.X), make([]float32, widest*m.texts)}
}

// row stores the scores of a row of pixels, width × texts. Pixels that no piece
// covers are left 0 with a count of 0.
func (m *mosaic) row(k simd.Kernel, l *line, y int) {
	clear(l.values)
	clear(l.counts)
	n := m.texts
	for i := range m.pieces {
		p := &m.pieces[i]
		if y < p.region.Min.Y || y >= p.region.Max.Y {
			continue
		}
		t := p.rows[y-p.region.Min.Y]
		for x := range p.Grid.X {
			k.Lerp(l.lerped[x*n:(x+1)*n], p.cell(x, t.At[0]), p.cell(x, t.At[1]), t.Weights[0], t.Weights[1])
		}
		for x, t := range p.columns {
			at := p.region.Min.X + x
			dst := l.values[at*n : (at+1)*n]
			a, b := l.lerped[t.At[0]*n:][:n], l.lerped[t.At[1]*n:][:n]
			if l.counts[at] == 0 {
				k.Lerp(dst, a, b, t.Weights[0], t.Weights[1])
			} else {
				for c := range dst {
					dst[c] += float32(t.Weights[0]*a[c]) + float32(t.Weights[1]*b[c])
				}
			}
			l.counts[at]++
		}
	}
	for x, count := range l.counts {
		if count > 1 {
			dst := l.values[x*n : (x+1)*n]
			for c := range dst {
				dst[c] /= count
			}
		}
	}
}

// cell is the scores of a cell of the grid.
func (p *piece) cell(x, y int) []float32 {
	return p.Data[(1+y*p.Grid.X+x)*p.Stride:][:p.Cols]
}
