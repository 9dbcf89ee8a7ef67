package clipsurgery

import (
	"image"
	"testing"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/stretchr/testify/require"
)

// TestNearest: the guess on the hot half, not the one that the model prefers;
// masks of everything and of nothing correlate with nothing.
func TestNearest(t *testing.T) {
	mask := func(iou float32, in func(i int) bool) sam.Mask {
		a := image.NewAlpha(image.Rect(0, 0, 4, 4))
		for i := range a.Pix {
			if in(i) {
				a.Pix[i] = 255
			}
		}
		m := sam.MaskOf(a)
		m.IoU = iou
		return m
	}
	heat := &surgery.HeatMap{Width: 4, Height: 4, Values: make([]float32, 16)}
	for i := range heat.Values {
		heat.Values[i] = float32(i) / 15
	}
	everything := mask(0.9, func(int) bool { return true })
	nothing := mask(0.8, func(int) bool { return false })
	cold := mask(0.7, func(i int) bool { return i < 8 })
	hot := mask(0.6, func(i int) bool { return i >= 8 })
	require.Equal(t, hot, nearest(sam.Result{Masks: []sam.Mask{everything, nothing, cold, hot}}, heat))
	require.Equal(t, everything, nearest(sam.Result{Masks: []sam.Mask{nothing, everything}}, heat), "then the model's own choice")
	clear(heat.Values)
	require.Equal(t, cold, nearest(sam.Result{Masks: []sam.Mask{hot, cold}}, heat))
}
