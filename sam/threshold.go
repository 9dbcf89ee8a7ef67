package sam

import (
	"github.com/clipsurgery/clipsurgery/internal/runs"
	"github.com/clipsurgery/clipsurgery/simd"
)

// thresholder makes masks of low-resolution logits. It never holds the logits
// of a whole picture, and scales no more of them than it must: bilinear
// samples lie between the values that they mix, so that where all of these are
// on one side of the threshold, the mask is known. It is scratch for many
// masks, one after the other.
type thresholder struct {
	up     *upsampler
	kernel simd.Kernel
	blocks []block // of columns, a word of the mask each
	bounds []limit // of every row of logits, by blocks
	lines  []float32
	made   []int // which row of logits a block of a line has, from 1
	rows   *runs.Rows
}

// block is columns lo to hi of the picture and those of the logits that they
// mix.
type block struct{ picture, logits span }

// limit is the smallest and the largest of some logits.
type limit struct{ lo, hi float32 }

const blockColumns = 64

// newThresholder works in scratch, of up.scratch() floats.
func newThresholder(up *upsampler, k simd.Kernel, scratch []float32) *thresholder {
	n := (up.size.X + blockColumns - 1) / blockColumns
	t := &thresholder{
		up: up, kernel: k,
		blocks: make([]block, n),
		bounds: make([]limit, up.side*n),
		lines:  scratch[:up.scratch()],
		made:   make([]int, taps*n),
		rows:   runs.NewRows(up.size),
	}
	for i := range t.blocks {
		lo, hi := i*blockColumns, min((i+1)*blockColumns, up.size.X)
		t.blocks[i] = block{span{lo, hi}, span{up.columns[lo].first, up.columns[hi-1].first + taps}}
	}
	return t
}

// mask is the mask that was scanned last.
func (t *thresholder) mask() Mask { return Mask{Size: t.up.size, runs: t.rows.Runs()} }

// counts is the number of pixels above the threshold plus and minus an offset.
type counts struct{ above, below int }

// stability is their ratio, NaN if both are 0
// (segment_anything/utils/amg.py, calculate_stability_score).
func (c counts) stability() float32 { return float32(c.above) / float32(c.below) }

// scan finds the pixels whose logit is above the threshold, and counts those
// above it plus and minus the offset.
func (t *thresholder) scan(logits []float32, threshold, offset float32) counts {
	t.rows.Reset()
	clear(t.made)
	for y := range t.up.side {
		for i, b := range t.blocks {
			lo, hi := t.kernel.MinMax(logits[y*t.up.side:][b.logits.lo:b.logits.hi])
			t.bounds[y*len(t.blocks)+i] = limit{lo, hi}
		}
	}
	above, below := threshold+offset, threshold-offset
	least, most := min(threshold, above, below), max(threshold, above, below)
	var c counts
	for i := range t.up.rows {
		r := &t.up.rows[i]
		for j, b := range t.blocks {
			n := b.picture.hi - b.picture.lo
			at := t.limits(r, j)
			switch {
			case at.hi <= least:
			case at.lo > most:
				t.rows.Row[j] = 1<<n - 1
				c.above += n
				c.below += n
			default:
				var word uint64
				for x, v := range t.sample(logits, r, j) {
					word |= bit(v > threshold) << x
					c.above += int(bit(v > above))
					c.below += int(bit(v > below))
				}
				t.rows.Row[j] = word
			}
		}
		t.rows.Next()
	}
	return c
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// limits bounds the samples of a row in block j, rounding included.
func (t *thresholder) limits(r *mix, j int) limit {
	at := t.bounds[r.first*len(t.blocks)+j]
	for i := 1; i < taps; i++ {
		if r.weight[i] != 0 {
			b := t.bounds[(r.first+i)*len(t.blocks)+j]
			at.lo, at.hi = min(at.lo, b.lo), max(at.hi, b.hi)
		}
	}
	slack := max(-at.lo, at.hi) * (1.0 / (1 << 18))
	return limit{at.lo - slack, at.hi + slack}
}

// sample is the logits of a row of the picture in block j.
func (t *thresholder) sample(logits []float32, r *mix, j int) []float32 {
	width, b := t.up.size.X, t.blocks[j].picture
	part := func(line int) []float32 { return t.lines[line*width:][b.lo:b.hi] }
	row := func(i int) []float32 {
		line, made := part(i%taps), &t.made[i%taps*len(t.blocks)+j]
		if *made != 1+i {
			t.up.widen(line, b.lo, logits[i*t.up.side:][:t.up.side])
			*made = 1 + i
		}
		return line
	}
	out, next := part(taps), part(taps+1)
	t.kernel.Lerp(out, row(r.first), row(r.first+1), r.weight[0], r.weight[1])
	for i := 2; i < taps; i++ {
		if r.weight[i] != 0 {
			t.kernel.Lerp(next, out, row(r.first+i), 1, r.weight[i])
			out, next = next, out
		}
	}
	return out
}
