package pix

import "image"

// fromVP8 converts as libwebp does with its defaults: chroma is upsampled with
// weights of 9, 3, 3 and 1 ("fancy upsampling"), and luma and chroma are those
// of television, 16 to 235 and 240, where Go's conversion takes them for JPEG's.
// VP8 has chroma of half the size in both directions, and no other.
// Source: libwebp src/dsp/upsampling.c and src/dsp/yuv.h.
func fromVP8(m *image.YCbCr) *RGB {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	cw, ch := (w+1)/2, (h+1)/2
	out := &RGB{w, h, make([]uint8, 3*w*h)}
	u, v := make([]uint8, w), make([]uint8, w)
	for y := range h {
		near := y / 2 * m.CStride
		far := min(max(y/2-1+y%2*2, 0), ch-1) * m.CStride // above for even rows, below for odd ones
		fancy(u, m.Cb[near:][:cw], m.Cb[far:][:cw])
		fancy(v, m.Cr[near:][:cw], m.Cr[far:][:cw])
		luma := m.Y[y*m.YStride:][:w]
		for x, l := range luma {
			yuv(out.Pix[3*(y*w+x):][:3], int(l), int(u[x]), int(v[x]))
		}
	}
	return out
}

// fancy upsamples a row of chroma, given it and the nearer of its neighbours.
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
