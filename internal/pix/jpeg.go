package pix

import (
	"context"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/chroma"
)

// checkYCbCr reports planes that are too short for what they claim to hold.
func checkYCbCr(m *image.YCbCr) error {
	b := m.Rect
	fx, _ := subsampling(m.SubsampleRatio)
	cw := (b.Max.X+fx-1)/fx - b.Min.X/fx
	luma := m.YOffset(b.Max.X-1, b.Max.Y-1)
	chroma := m.COffset(b.Max.X-1, b.Max.Y-1)
	if m.YStride < b.Dx() || m.CStride < cw || luma >= len(m.Y) || chroma >= min(len(m.Cb), len(m.Cr)) {
		return fmt.Errorf("%w: planes of %d and %d bytes for %d×%d", ErrSize, len(m.Y), min(len(m.Cb), len(m.Cr)), b.Dx(), b.Dy())
	}
	return nil
}

// fromYCbCr converts as libjpeg does with its defaults: chroma is upsampled by
// a triangle filter ("fancy upsampling", h2v1, h1v2 and h2v2; other ratios, and
// rows of two samples or fewer, repeat samples) and colors are converted in
// 16-bit fixed point. Go's own conversion repeats chroma samples, up to 37
// levels away at 4:2:0.
// Source: libjpeg-turbo jdsample.c and jdcolor.c.
func fromYCbCr(ctx context.Context, mem *Scratch, m *image.YCbCr) (*raster, error) {
	b := m.Bounds()
	out := newRaster(mem, ModeRGB, b.Dx(), b.Dy())
	w := out.width
	u := newUpsampler(m)
	cb, cr := mem.newBytes(w), mem.newBytes(w)
	budget := budget{ctx: ctx}
	for y := range out.height {
		if err := budget.spend(w); err != nil {
			return nil, err
		}
		u.row(cb, m.Cb, y)
		u.row(cr, m.Cr, y)
		chroma.RGB(out.row(y), m.Y[m.YOffset(b.Min.X, b.Min.Y+y):][:w], cb, cr)
	}
	return out, nil
}

// upsampler brings rows of chroma to the width of the picture.
type upsampler struct {
	m      *image.YCbCr
	fx, fy int
	fancy  bool
	width  int // of a row of chroma
	height int
}

func newUpsampler(m *image.YCbCr) *upsampler {
	b := m.Bounds()
	u := &upsampler{m: m}
	u.fx, u.fy = subsampling(m.SubsampleRatio)
	u.width, u.height = (b.Dx()+u.fx-1)/u.fx, (b.Dy()+u.fy-1)/u.fy
	aligned := b.Min.X%u.fx == 0 && b.Min.Y%u.fy == 0
	u.fancy = aligned && u.fx <= 2 && u.fy <= 2 && u.fx*u.fy > 1 && (u.fx == 1 || u.width > 2)
	return u
}

// row stores row y of the picture.
func (u *upsampler) row(dst, plane []uint8, y int) {
	b := u.m.Bounds()
	if !u.fancy {
		at := u.m.COffset(b.Min.X, b.Min.Y+y) - b.Min.X/u.fx
		for x := range dst {
			dst[x] = plane[at+(b.Min.X+x)/u.fx]
		}
		return
	}
	samples := func(y int) []uint8 {
		y = min(max(y, 0), u.height-1)
		return plane[u.m.COffset(b.Min.X, b.Min.Y+y*u.fy):][:u.width]
	}
	near := samples(y / u.fy)
	if u.fy == 1 {
		chroma.H2V1(dst, near)
		return
	}
	far := samples(y/2 - 1 + 2*(y%2)) // above for even rows, below for odd ones
	if u.fx == 2 {
		chroma.H2V2(dst, near, far)
	} else {
		chroma.H1V2(dst, near, far, y%2 == 1)
	}
}

func subsampling(r image.YCbCrSubsampleRatio) (fx, fy int) {
	switch r {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}
