package pix

import (
	"context"
	"fmt"
	"image"
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
// rows of two samples or fewer, repeat samples) and colours are converted in
// 16-bit fixed point. Go's own conversion repeats chroma samples, up to 37
// levels away at 4:2:0.
// Source: libjpeg-turbo jdsample.c and jdcolor.c.
func fromYCbCr(ctx context.Context, mem *Scratch, m *image.YCbCr) (*raster, error) {
	b := m.Bounds()
	out := newRaster(mem, ModeRGB, b.Dx(), b.Dy())
	w := out.width
	u := newUpsampler(mem, m)
	cb, cr := mem.newBytes(w), mem.newBytes(w)
	budget := budget{ctx: ctx}
	for y := range out.height {
		if err := budget.spend(w); err != nil {
			return nil, err
		}
		u.row(cb, m.Cb, y)
		u.row(cr, m.Cr, y)
		luma, dst := m.Y[m.YOffset(b.Min.X, b.Min.Y+y):][:w], out.row(y)
		for x, l := range luma {
			ycc(dst[3*x:3*x+3:3*x+3], l, cb[x], cr[x])
		}
	}
	return out, nil
}

func ycc(dst []uint8, y, cb, cr uint8) {
	const half = 1 << 15
	l, b, r := int32(y), int32(cb)-128, int32(cr)-128
	dst[0] = clampByte(l + (91881*r+half)>>16)          // 1.40200
	dst[1] = clampByte(l + (-22554*b-46802*r+half)>>16) // 0.34414, 0.71414
	dst[2] = clampByte(l + (116130*b+half)>>16)         // 1.77200
}

func clampByte(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// upsampler brings rows of chroma to the width of the picture.
type upsampler struct {
	m      *image.YCbCr
	fx, fy int
	fancy  bool
	width  int // of a row of chroma
	height int
	sums   []int32
}

func newUpsampler(mem *Scratch, m *image.YCbCr) *upsampler {
	b := m.Bounds()
	u := &upsampler{m: m}
	u.fx, u.fy = subsampling(m.SubsampleRatio)
	u.width, u.height = (b.Dx()+u.fx-1)/u.fx, (b.Dy()+u.fy-1)/u.fy
	aligned := b.Min.X%u.fx == 0 && b.Min.Y%u.fy == 0
	u.fancy = aligned && u.fx <= 2 && u.fy <= 2 && u.fx*u.fy > 1 && (u.fx == 1 || u.width > 2)
	if u.fancy && u.fy == 2 {
		u.sums = mem.newInts(u.width)
	}
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
	chroma := func(y int) []uint8 {
		y = min(max(y, 0), u.height-1)
		return plane[u.m.COffset(b.Min.X, b.Min.Y+y*u.fy):][:u.width]
	}
	near := chroma(y / u.fy)
	if u.fy == 1 {
		h2v1(dst, near)
		return
	}
	far := chroma(y/2 - 1 + 2*(y%2)) // above for even rows, below for odd ones
	for x := range u.sums {
		u.sums[x] = 3*int32(near[x]) + int32(far[x])
	}
	if u.fx == 2 {
		h2v2(dst, u.sums)
		return
	}
	bias := int32(1 + y%2)
	for x := range dst {
		dst[x] = uint8((u.sums[x] + bias) >> 2)
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

func h2v1(dst, src []uint8) {
	for x := range dst {
		i := x / 2
		v := int32(src[i])
		switch {
		case x%2 == 0 && i == 0, x%2 == 1 && i == len(src)-1:
		case x%2 == 0:
			v = (3*v + int32(src[i-1]) + 1) >> 2
		default:
			v = (3*v + int32(src[i+1]) + 2) >> 2
		}
		dst[x] = uint8(v)
	}
}

// h2v2 takes rows that are already 3·near + far.
func h2v2(dst []uint8, sums []int32) {
	for x := range dst {
		i := x / 2
		v := sums[i]
		switch {
		case x%2 == 0 && i == 0:
			v = (4*v + 8) >> 4
		case x%2 == 0:
			v = (3*v + sums[i-1] + 8) >> 4
		case i == len(sums)-1:
			v = (4*v + 7) >> 4
		default:
			v = (3*v + sums[i+1] + 7) >> 4
		}
		dst[x] = uint8(v)
	}
}
