package golden

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"testing"
)

// Option changes how a check judges.
type Option func(*check)

type check struct {
	fraction float64
}

// Fraction sets the part of the fixture's tolerance that may be used instead
// of a tenth. The caller says why in a comment.
func Fraction(x float64) Option { return func(c *check) { c.fraction = x } }

// Check compares a whole float tensor with an expected output: the elements
// and rows that are stored, and the sums of all. It reports the first mismatch
// and logs the fraction of the tolerance used. A correct float32 port uses 2 to
// 10 % of it, so more than a tenth fails.
func (f *Fixture) Check(t testing.TB, output string, got []float32, opts ...Option) {
	t.Helper()
	o, ok := f.OutputsRaw[output]
	if !ok {
		t.Fatalf("golden: %s has no output %s", f.File, output)
	}
	c := check{fraction: 0.1}
	for _, opt := range opts {
		opt(&c)
	}
	if len(got) != count(o.Shape) {
		t.Errorf("%s: %s: %d values, want %v", f.File, output, len(got), o.Shape)
		return
	}
	abs := o.Abs()
	limit := abs * c.fraction
	worst, compared := 0.0, 0
	compare := func(part string, want []float32, at func(i int) int) {
		for i, w := range want {
			j := at(i)
			d := difference(got[j], w)
			compared++
			if worst = max(worst, d); d > limit {
				t.Errorf("%s: %s (%s): first mismatch at %v: want %v, got %v, off by %.3g of %.3g allowed (%.1f%% of the tolerance)",
					f.File, output, part, unravel(j, o.Shape), w, got[j], d, limit, 100*d/abs)
				return
			}
		}
	}
	if x, ok := f.tensors["out."+output]; ok {
		compare("full", floats(x), func(i int) int { return i })
	}
	if o.Stored == "strided" {
		x, ok := f.tensors[fmt.Sprintf("out.%s.s%d", output, o.Stride)]
		if !ok {
			t.Fatalf("golden: %s: %s is not stored", f.File, output)
		}
		compare("strided", floats(x), func(i int) int { return i * o.Stride })
	}
	if len(o.Rows) > 0 {
		n := len(o.Shape)
		rows, cols := o.Shape[n-2], o.Shape[n-1]
		for _, row := range o.Rows {
			base := 0
			if row == "last" {
				base = (rows - 1) * cols
			}
			compare(row+" row", floats(f.tensors["out."+output+"."+row]), func(i int) int { return base + i })
		}
	}
	if o.Sum != nil && o.SumSq != nil {
		var sum, sumsq float64
		for _, v := range got {
			sum += float64(v)
			sumsq += float64(v) * float64(v)
		}
		// Errors of the limit's size, all of one sign, move the sums by this much.
		n := float64(len(got))
		rms := math.Sqrt(*o.SumSq / n)
		compared++
		if d := math.Abs(sum - *o.Sum); !(d <= n*limit+1e-9*math.Abs(*o.Sum)) {
			t.Errorf("%s: %s: sum of all: want %v, got %v", f.File, output, *o.Sum, sum)
		}
		if d := math.Abs(sumsq - *o.SumSq); !(d <= n*limit*(2*rms+limit)+1e-9**o.SumSq) {
			t.Errorf("%s: %s: sum of squares: want %v, got %v", f.File, output, *o.SumSq, sumsq)
		}
	}
	if compared == 0 {
		t.Errorf("golden: %s: nothing of %s is stored", f.File, output)
	}
	if abs > 0 {
		t.Logf("%s: %s: %.1f%% of the tolerance", f.File, output, 100*worst/abs)
	}
}

// CheckBytes compares a whole byte tensor with an expected output: all bytes
// by their digest, and the stored ones to show where a difference is.
func (f *Fixture) CheckBytes(t testing.TB, output string, got []byte) {
	t.Helper()
	o, ok := f.OutputsRaw[output]
	if !ok {
		t.Fatalf("golden: %s has no output %s", f.File, output)
	}
	if len(got) != count(o.Shape) {
		t.Errorf("%s: %s: %d bytes, want %v", f.File, output, len(got), o.Shape)
		return
	}
	stride, name := 1, "out."+output
	if o.Stored == "strided" {
		stride, name = o.Stride, fmt.Sprintf("out.%s.s%d", output, o.Stride)
	}
	stored, ok := f.tensors[name]
	if !ok && o.SHA256 == "" {
		t.Fatalf("golden: %s: nothing of %s is stored", f.File, output)
	}
	for i, want := range stored.U8 {
		if got[i*stride] != want {
			t.Errorf("%s: %s: first mismatch at %v: want %d, got %d", f.File, output, unravel(i*stride, o.Shape), want, got[i*stride])
			return
		}
	}
	if sum := sha256.Sum256(got); o.SHA256 != "" && hex.EncodeToString(sum[:]) != o.SHA256 {
		t.Errorf("%s: %s: a byte that is not stored differs", f.File, output)
	}
}

// Close compares two tensors, reporting the first mismatch and the worst one.
func Close(t testing.TB, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	first, worst := -1, 0.0
	for i := range want {
		d := difference(got[i], want[i])
		if d > tolerance && first < 0 {
			first = i
		}
		worst = max(worst, d)
	}
	if first >= 0 {
		t.Errorf("%s: first mismatch at %d: want %v, got %v; worst difference %.3g, allowed %.3g",
			what, first, want[first], got[first], worst, tolerance)
	}
}

// difference is |a - b|, infinite where only one is NaN or they are unlike
// infinities.
func difference(a, b float32) float64 {
	if a == b || a != a && b != b {
		return 0
	}
	d := math.Abs(float64(a) - float64(b))
	if math.IsNaN(d) {
		return math.Inf(1)
	}
	return d
}

func floats(x Tensor) []float32 {
	switch {
	case x.F64 != nil:
		out := make([]float32, len(x.F64))
		for i, v := range x.F64 {
			out[i] = float32(v)
		}
		return out
	case x.I32 != nil:
		out := make([]float32, len(x.I32))
		for i, v := range x.I32 {
			out[i] = float32(v)
		}
		return out
	}
	return x.F32
}

// unravel turns a flat index into one per axis.
func unravel(i int, shape []int) []int {
	out := make([]int, len(shape))
	for axis := len(shape) - 1; axis >= 0; axis-- {
		out[axis] = i % shape[axis]
		i /= shape[axis]
	}
	return out
}
