package eval

import (
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/surgery"
)

// Thresholds are the values at which [Maps] cuts heat maps: 0.1, 0.15, … 0.9.
func Thresholds() [17]float64 {
	var t [17]float64
	for i := range t {
		t[i] = float64(10+5*i) / 100
	}
	return t
}

// Maps measures heat maps of 0–1 against masks of what they should show.
type Maps struct {
	// Overlap is the IoU of the pixels at or above each of [Thresholds].
	Overlap [17]Mean `json:"overlap"`
	// Contrast is the mean of the map inside the mask minus that outside: mSC is
	// its mean.
	Contrast Mean `json:"contrast"`
	// Pointing is the share of maps whose peak lies in the mask.
	Pointing Mean `json:"pointing"`
}

// Add measures one map. Masks that are empty or everything say nothing and are
// left out: Add returns false.
func (m *Maps) Add(heat *surgery.HeatMap, mask *image.Alpha) (bool, error) {
	if heat == nil || mask == nil {
		return false, fmt.Errorf("eval: %w: no heat map or no mask", ErrMismatch)
	}
	if mask.Rect.Dx() != heat.Width || mask.Rect.Dy() != heat.Height || len(heat.Values) != heat.Width*heat.Height {
		return false, fmt.Errorf("eval: %w: map of %d×%d pixels, mask of %v", ErrMismatch, heat.Width, heat.Height, mask.Rect.Size())
	}
	// Histograms over the thresholds that a value reaches, inside and outside.
	thresholds := Thresholds()
	var reach [2][18]int
	var sum [2]float64
	var count [2]int
	for i, v := range heat.Values {
		if !(v >= 0 && v <= 1) {
			return false, fmt.Errorf("eval: %w: %v in a heat map", ErrValue, v)
		}
		in := 0
		if inside(mask, image.Pt(i%heat.Width, i/heat.Width)) {
			in = 1
		}
		n := 0
		for n < len(thresholds) && float64(v) >= thresholds[n] {
			n++
		}
		reach[in][n]++
		sum[in] += float64(v)
		count[in]++
	}
	if count[0] == 0 || count[1] == 0 {
		return false, nil
	}
	hits, misses := 0, 0
	for n := len(thresholds); n > 0; n-- {
		hits, misses = hits+reach[1][n], misses+reach[0][n]
		m.Overlap[n-1].add(float64(hits) / float64(count[1]+misses))
	}
	m.Contrast.add(sum[1]/float64(count[1]) - sum[0]/float64(count[0]))
	hit := 0.0
	if inside(mask, heat.Peak()) {
		hit = 1
	}
	m.Pointing.add(hit)
	return true, nil
}

// inside reports whether a pixel, counted from the mask's corner, is at least half
// opaque.
func inside(mask *image.Alpha, p image.Point) bool { return mask.Pix[p.Y*mask.Stride+p.X] >= 128 }

// Merge adds the maps of other.
func (m *Maps) Merge(other *Maps) {
	for i := range m.Overlap {
		m.Overlap[i].Merge(other.Overlap[i])
	}
	m.Contrast.Merge(other.Contrast)
	m.Pointing.Merge(other.Pointing)
}

// MeanIoU is the mean IoU at a threshold, which is rounded to the next of
// [Thresholds].
func (m *Maps) MeanIoU(threshold float64) float64 {
	best := 0
	for i, t := range Thresholds() {
		if abs(t-threshold) < abs(Thresholds()[best]-threshold) {
			best = i
		}
	}
	return m.Overlap[best].Value()
}

// BestIoU is the largest mean IoU, and the threshold that gives it.
func (m *Maps) BestIoU() (iou, threshold float64) {
	best := 0
	for i := range m.Overlap {
		if m.Overlap[i].Value() > m.Overlap[best].Value() {
			best = i
		}
	}
	return m.Overlap[best].Value(), Thresholds()[best]
}

func abs(x float64) float64 { return max(x, -x) }

// Masks measures single masks, such as a segmenter's, against the truth.
type Masks struct {
	Overlap Mean `json:"overlap"` // IoU
	Half    Mean `json:"half"`    // share of masks with an IoU of at least 0.5
}

// Add measures one mask; pixels belong to it that are at least half opaque. Two
// empty masks have an IoU of 0.
func (m *Masks) Add(mask, truth *image.Alpha) error {
	if mask == nil || truth == nil {
		return fmt.Errorf("eval: %w: no mask or no truth", ErrMismatch)
	}
	size := mask.Rect.Size()
	if size != truth.Rect.Size() {
		return fmt.Errorf("eval: %w: masks of %v and %v", ErrMismatch, size, truth.Rect.Size())
	}
	both, either := 0, 0
	for y := range size.Y {
		for x := range size.X {
			at := image.Pt(x, y)
			a, b := inside(mask, at), inside(truth, at)
			if a && b {
				both++
			}
			if a || b {
				either++
			}
		}
	}
	iou := float64(both) / float64(max(either, 1))
	m.Overlap.add(iou)
	half := 0.0
	if iou >= 0.5 {
		half = 1
	}
	m.Half.add(half)
	return nil
}

// Merge adds the masks of other.
func (m *Masks) Merge(other *Masks) {
	m.Overlap.Merge(other.Overlap)
	m.Half.Merge(other.Half)
}
