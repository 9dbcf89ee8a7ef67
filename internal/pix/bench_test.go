package pix

import (
	"fmt"
	"image"
	"testing"
)

// BenchmarkResize resizes photographs to the inputs of CLIP (bicubic) and SAM
// (bilinear).
func BenchmarkResize(b *testing.B) {
	for _, c := range []struct {
		from, to image.Point
		filter   Filter
	}{
		{image.Pt(640, 480), image.Pt(224, 224), Bicubic()},
		{image.Pt(640, 480), image.Pt(512, 512), Bicubic()},
		{image.Pt(4000, 3000), image.Pt(224, 224), Bicubic()},
		{image.Pt(1920, 1080), image.Pt(1024, 576), Triangle()},
	} {
		b.Run(fmt.Sprintf("%dx%d-%dx%d", c.from.X, c.from.Y, c.to.X, c.to.Y), func(b *testing.B) {
			r := NewPicture(ModeRGB, c.from.X, c.from.Y)
			for i := range r.Pix {
				r.Pix[i] = uint8(i * 7)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(r.Pix)))
			for b.Loop() {
				if _, err := Resize(b.Context(), r, Whole(c.to, c.filter)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFromImage converts a decoded JPEG at 4:2:0.
func BenchmarkFromImage(b *testing.B) {
	img := image.NewYCbCr(image.Rect(0, 0, 1920, 1080), image.YCbCrSubsampleRatio420)
	b.SetBytes(3 * 1920 * 1080)
	for b.Loop() {
		if _, err := FromImage(b.Context(), img); err != nil {
			b.Fatal(err)
		}
	}
}
