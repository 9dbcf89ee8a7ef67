package eval

import (
	"errors"
	"fmt"
	"math"
)

var (
	// ErrMismatch reports accumulators, or an accumulator and what is added to
	// it, that are not of the same classes or sizes.
	ErrMismatch = errors.New("sizes do not match")
	// ErrValue reports a number that cannot be averaged or ranked.
	ErrValue = errors.New("not a usable number")
	// ErrFormat reports a data set or a saved state that cannot be read.
	ErrFormat = errors.New("format")
)

// Mean is a mean of numbers between -1 and 1 whose sum does not depend on the
// order of its terms: each is rounded to a multiple of 2^-36 and added as an
// integer. It holds over 10^8 terms.
type Mean struct {
	Count int64 `json:"count"`
	Sum   int64 `json:"sum"` // in units of 2^-36
}

const meanUnit = 1 << 36

// Add takes a number into the mean. Numbers beyond ±1, and NaN, are [ErrValue].
func (m *Mean) Add(v float64) error {
	if !(math.Abs(v) <= 1) {
		return fmt.Errorf("eval: %w: %v in a mean of numbers from -1 to 1", ErrValue, v)
	}
	m.add(v)
	return nil
}

// add takes a number that is known to lie between -1 and 1.
func (m *Mean) add(v float64) {
	m.Count++
	m.Sum += int64(math.RoundToEven(v * meanUnit))
}

// Merge adds the terms of other.
func (m *Mean) Merge(other Mean) {
	m.Count += other.Count
	m.Sum += other.Sum
}

// Value is the mean, NaN of nothing.
func (m Mean) Value() float64 {
	return float64(m.Sum) / meanUnit / float64(m.Count)
}

func meanOf(values []float64) float64 {
	sum, n := 0.0, 0.0
	for _, v := range values {
		if !math.IsNaN(v) {
			sum += v
			n++
		}
	}
	return sum / n
}
