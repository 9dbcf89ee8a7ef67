package eval

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/clipsurgery/clipsurgery/surgery"
)

// Confusion counts, for pairs of label maps, how many pixels of each class are
// labeled with each class.
type Confusion struct {
	// Classes is how many there are.
	Classes int `json:"classes"`
	// Counts is pixels by class and label: Classes rows, the true classes, of
	// Classes+1 columns, the last for pixels without a label.
	Counts []int64 `json:"counts"`
}

// maxClasses bounds the table that a damaged state can ask for.
const maxClasses = 1 << 12

// NewConfusion returns the empty table of n classes, 1 to 4,096; of others the
// error is [ErrMismatch].
func NewConfusion(n int) (*Confusion, error) {
	if err := checkClasses(n); err != nil {
		return nil, err
	}
	return newConfusion(n), nil
}

func newConfusion(n int) *Confusion { return &Confusion{n, make([]int64, n*(n+1))} }

func checkClasses(n int) error {
	if n < 1 || n > maxClasses {
		return fmt.Errorf("eval: %w: %d classes, want 1 to %d", ErrMismatch, n, maxClasses)
	}
	return nil
}

// Add counts the pixels of a picture. Pixels whose truth is no class, such as
// [surgery.Ignore], do not count; a label that is no class is wrong wherever it
// is.
func (c *Confusion) Add(labels, truth *surgery.LabelMap) error {
	if labels == nil || truth == nil {
		return fmt.Errorf("eval: %w: no labels or no truth", ErrMismatch)
	}
	if labels.Width != truth.Width || labels.Height != truth.Height || len(labels.Labels) != len(truth.Labels) {
		return fmt.Errorf("eval: %w: labels of %d×%d pixels, truth of %d×%d", ErrMismatch, labels.Width, labels.Height, truth.Width, truth.Height)
	}
	for i, t := range truth.Labels {
		if int(t) < c.Classes {
			c.Counts[int(t)*(c.Classes+1)+min(int(labels.Labels[i]), c.Classes)]++
		}
	}
	return nil
}

// Merge adds the counts of other.
func (c *Confusion) Merge(other *Confusion) error {
	if c.Classes != other.Classes {
		return fmt.Errorf("eval: %w: %d and %d classes", ErrMismatch, c.Classes, other.Classes)
	}
	for i, n := range other.Counts {
		c.Counts[i] += n
	}
	return nil
}

// IoU is the pixels that are of the class and labeled so, over those that are
// of the class or labeled so; NaN of a class that never occurs.
func (c *Confusion) IoU(class int) float64 {
	both, either := int64(0), int64(0)
	for k := range c.Classes + 1 {
		either += c.Counts[class*(c.Classes+1)+k]
		if k < c.Classes && k != class {
			either += c.Counts[k*(c.Classes+1)+class]
		}
	}
	both = c.Counts[class*(c.Classes+1)+class]
	return float64(both) / float64(either)
}

// MeanIoU is the mean of IoU over the given classes, or all; classes that never
// occur are left out.
func (c *Confusion) MeanIoU(classes ...int) float64 {
	var all []float64
	for _, k := range choose(c.Classes, classes) {
		all = append(all, c.IoU(k))
	}
	return meanOf(all)
}

// PixelAccuracy is the share of pixels with the right label.
func (c *Confusion) PixelAccuracy() float64 {
	right, all := int64(0), int64(0)
	for t := range c.Classes {
		right += c.Counts[t*(c.Classes+1)+t]
		for k := range c.Classes + 1 {
			all += c.Counts[t*(c.Classes+1)+k]
		}
	}
	return float64(right) / float64(all)
}

// choose is the given classes, or all n.
func choose(n int, classes []int) []int {
	if classes != nil {
		return classes
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// UnmarshalJSON restores a saved table.
func (c *Confusion) UnmarshalJSON(data []byte) error {
	type plain Confusion
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return err
	}
	if p.Classes < 1 || p.Classes > maxClasses || len(p.Counts) != p.Classes*(p.Classes+1) {
		return fmt.Errorf("eval: %w: %d counts of %d classes", ErrFormat, len(p.Counts), p.Classes)
	}
	for _, n := range p.Counts {
		if n < 0 || n > math.MaxInt64/int64(len(p.Counts)) {
			return fmt.Errorf("eval: %w: a count of %d", ErrFormat, n)
		}
	}
	*c = Confusion(p)
	return nil
}
