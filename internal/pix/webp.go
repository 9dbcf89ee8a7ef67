package pix

import (
	"context"
	"image"
)

// FromVP8 is the picture of a WebP file that Go decoded to planes.
func FromVP8(ctx context.Context, m *image.YCbCr) (*Picture, error) {
	return pictureOf(fromVP8(ctx, nil, &image.NYCbCrA{YCbCr: *m}))
}

// FromVP8Alpha is that of one with alpha.
func FromVP8Alpha(ctx context.Context, m *image.NYCbCrA) (*Picture, error) {
	return pictureOf(fromVP8(ctx, nil, m))
}

// fromVP8 converts as libwebp does with its defaults: chroma is upsampled with
// weights of 9, 3, 3 and 1 ("fancy upsampling"), and luma and chroma are those
// of television, 16 to 235 and 240, where Go's conversion takes them for JPEG's.
// VP8 has chroma of half the size in both directions, and no other. Without a
// plane of alpha the picture is RGB.
// Source: libwebp src/dsp/upsampling.c and src/dsp/yuv.h.
func fromVP8(ctx context.Context, mem *Scratch, m *image.NYCbCrA) (*raster, error) {
	b := m.Rect
	if m.SubsampleRatio != image.YCbCrSubsampleRatio420 || b.Min.X%2 != 0 || b.Min.Y%2 != 0 {
		return fromVP8Pixels(ctx, mem, m)
	}
	mode := ModeRGBA
	if m.A == nil {
		mode = ModeRGB
	}
	out := newRaster(mem, mode, b.Dx(), b.Dy())
	w, n := out.width, mode.Channels()
	cw, ch := (w+1)/2, (out.height+1)/2
	u, v := mem.newBytes(w), mem.newBytes(w)
	chroma := m.COffset(b.Min.X, b.Min.Y)
	budget := budget{ctx: ctx}
	for y := range out.height {
		if err := budget.spend(w); err != nil {
			return nil, err
		}
		near := chroma + y/2*m.CStride
		far := chroma + min(max(y/2-1+y%2*2, 0), ch-1)*m.CStride // above for even rows, below for odd ones
		fancy(u, m.Cb[near:][:cw], m.Cb[far:][:cw])
		fancy(v, m.Cr[near:][:cw], m.Cr[far:][:cw])
		luma, dst := m.Y[m.YOffset(b.Min.X, b.Min.Y+y):][:w], out.row(y)
		for x, l := range luma {
			yuv(dst[n*x:][:3], int(l), int(u[x]), int(v[x]))
		}
		if n == 4 {
			for x, a := range m.A[m.AOffset(b.Min.X, b.Min.Y+y):][:w] {
				dst[4*x+3] = a
			}
		}
	}
	return out, nil
}

// fromVP8Pixels converts parts that begin inside a sample of chroma, and what
// no WebP has: samples are repeated.
func fromVP8Pixels(ctx context.Context, mem *Scratch, m *image.NYCbCrA) (*raster, error) {
	b := m.Rect
	out := newRaster(mem, ModeRGBA, b.Dx(), b.Dy())
	budget := budget{ctx: ctx}
	for y := range out.height {
		if err := budget.spend(out.width); err != nil {
			return nil, err
		}
		dst := out.row(y)
		for x := range out.width {
			l, c := m.YOffset(b.Min.X+x, b.Min.Y+y), m.COffset(b.Min.X+x, b.Min.Y+y)
			yuv(dst[4*x:][:3], int(m.Y[l]), int(m.Cb[c]), int(m.Cr[c]))
			dst[4*x+3] = 255
			if m.A != nil {
				dst[4*x+3] = m.A[m.AOffset(b.Min.X+x, b.Min.Y+y)]
			}
		}
	}
	return out, nil
}

// fancy upsamples a row of chroma, given it and the nearer of its neighbors.
func fancy(dst, near, far []uint8) {
	for x := range dst {
		i := x / 2
		j := min(max(i-1+x%2*2, 0), len(near)-1)
		n, f, beside, across := int(near[i]), int(far[i]), int(near[j]), int(far[j])
		if i == j {
			dst[x] = uint8((3*n + f + 2) >> 2)
			continue
		}
		diagonal := (n + f + beside + across + 8 + 2*(f+beside)) >> 3
		dst[x] = uint8((diagonal + n) >> 1)
	}
}

func yuv(dst []uint8, y, u, v int) {
	scaled := func(x, factor int) int { return x * factor >> 8 }
	clip := func(x int) uint8 { return uint8(min(max(x>>6, 0), 255)) }
	dst[0] = clip(scaled(y, 19077) + scaled(v, 26149) - 14234)
	dst[1] = clip(scaled(y, 19077) - scaled(u, 6419) - scaled(v, 13320) + 8708)
	dst[2] = clip(scaled(y, 19077) + scaled(u, 33050) - 17685)
}
