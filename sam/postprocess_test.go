package sam

import (
	"image"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/simd"
)

// TestUpsampler compares with the two bilinear steps one after the other.
func TestUpsampler(t *testing.T) {
	for _, c := range []struct {
		side, padded    int
		input, original image.Point
	}{
		{64, 256, image.Pt(256, 115), image.Pt(333, 150)},
		{64, 256, image.Pt(82, 256), image.Pt(97, 301)},
		{64, 128, image.Pt(128, 128), image.Pt(128, 128)},
		{256, 1024, image.Pt(1024, 768), image.Pt(64, 48)},
		{256, 1024, image.Pt(1024, 1), image.Pt(1500, 1)},
		{4, 16, image.Pt(16, 16), image.Pt(1, 1)},
		{64, 32, image.Pt(32, 20), image.Pt(100, 63)}, // patches of two pixels
	} {
		low := golden.Procedural("low", []int{c.side, c.side}, 0, 1)
		big := make([]float32, c.padded*c.padded)
		pix.Bilinear(big, image.Pt(c.padded, c.padded), low, image.Pt(c.side, c.side), 1)
		crop := make([]float32, 0, c.input.X*c.input.Y)
		for y := range c.input.Y {
			crop = append(crop, big[y*c.padded:][:c.input.X]...)
		}
		want := make([]float32, c.original.X*c.original.Y)
		pix.Bilinear(want, c.original, crop, c.input, 1)

		for _, k := range simd.All() {
			got := newUpsampler(c.side, c.padded, c.input, c.original).logits(nn.Exec{Kernel: k}, low)
			golden.Close(t, k.Name(), got, want, 2e-6)
		}
	}
}
