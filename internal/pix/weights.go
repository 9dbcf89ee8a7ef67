package pix

const (
	precision  = 32 - 8 - 2 // bits of a weight
	maxTable   = 1 << 18    // weights of a table
	maxWeights = 1 << 12    // weights that are worked on at a time without one
)

func clip8(v int32) uint8 { return uint8(min(max(v>>precision, 0), 255)) }

// scaler computes the weights of outputs from to to-1 along one side of a
// picture: Pillow's precompute_coeffs and normalize_coeffs_8bpc, without a table
// of the picture's size.
type scaler struct {
	in, out, from, to int
	shift             int // where the rows that a pass gets begin
	scale, support    float64
	inverse           float64
	filter            Filter
}

func newScaler(in, out, from, to int, f Filter) scaler {
	scale := float64(in) / float64(out)
	filterScale := max(scale, 1)
	return scaler{in: in, out: out, from: from, to: to,
		scale: scale, support: f.support * filterScale, inverse: 1 / filterScale, filter: f}
}

// taps are the source positions and fixed-point weights of one output.
type taps struct {
	first   int
	weights []int32
}

// window is the samples that make one output.
type window struct {
	first, end  int
	center, sum float64
	inverse     float64
	filter      Filter
}

func (s *scaler) bounds(i int) (first, end int, center float64) {
	center = (float64(i) + 0.5) * s.scale
	return max(int(center-s.support+0.5), 0), min(int(center+s.support+0.5), s.in), center
}

func (s *scaler) window(budget *budget, i int) (window, error) {
	first, end, center := s.bounds(i)
	w := window{first, end, center, 0, s.inverse, s.filter}
	for x := first; x < end; x++ {
		if (x-first)%checkEvery == checkEvery-1 {
			if err := budget.spend(checkEvery); err != nil {
				return w, err
			}
		}
		w.sum += w.at(x)
	}
	return w, nil
}

func (w *window) at(x int) float64 {
	return w.filter.at((float64(x-w.first) + float64(w.first) - w.center + 0.5) * w.inverse)
}

// fill stores the weights of the samples from x on, as many as dst holds.
func (w *window) fill(dst []int32, x int) []int32 {
	dst = dst[:min(len(dst), w.end-x)]
	for i := range dst {
		v := w.at(x + i)
		if w.sum != 0 {
			v /= w.sum
		}
		if v < 0 {
			dst[i] = int32(-0.5 + v*(1<<precision))
		} else {
			dst[i] = int32(0.5 + v*(1<<precision))
		}
	}
	return dst
}

// span is the samples that outputs from to to-1 are made of; the outputs
// themselves where nothing is scaled.
func (s *scaler) span() (first, end int) {
	if s.in == s.out {
		return s.from, s.to
	}
	first, _, _ = s.bounds(s.from)
	_, end, _ = s.bounds(s.to - 1)
	return first, end
}

// most is the number of weights of any output, at most.
func (s *scaler) most() int { return min(int(2*s.support)+2, s.in) }

// block returns the taps of outputs from first on, as many as a table holds, and
// the output behind them; no table where one output alone is too much.
func (s *scaler) block(budget *budget, mem *Scratch, line *lineMemory, first int) (end int, table []taps, err error) {
	total := 0
	for end = first; end < s.to; end++ {
		a, b, _ := s.bounds(end)
		if total += b - a; total > maxTable {
			break
		}
	}
	if end == first {
		return first + 1, nil, nil
	}
	if total = min(total, maxTable); len(line.weights) < total {
		line.weights = mem.newInts(total)
	}
	table = mem.newTaps(end - first)
	rest := line.weights
	for i := range table {
		w, err := s.window(budget, first+i)
		if err != nil {
			return end, nil, err
		}
		n := w.end - w.first
		table[i] = taps{w.first, w.fill(rest[:n], w.first)}
		rest = rest[n:]
	}
	return end, table, nil
}
