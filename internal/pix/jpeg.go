package pix

import "image"

// fromYCbCr converts as libjpeg does with its defaults: chroma is upsampled by
// a triangle filter ("fancy upsampling", h2v1, h1v2 and h2v2; other ratios
// repeat samples) and colours are converted in 16-bit fixed point. Go's own
// conversion repeats chroma samples, up to 37 levels away at 4:2:0.
// Source: libjpeg-turbo jdsample.c and jdcolor.c.
func fromYCbCr(mem *Scratch, m *image.YCbCr) *RGB {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	cb, cr := upsample(mem, m, m.Cb), upsample(mem, m, m.Cr)
	out := &RGB{w, h, mem.newBytes(3 * w * h)}
	for y := range h {
		luma := m.Y[m.YOffset(b.Min.X, b.Min.Y+y):]
		for x := range w {
			i := y*w + x
			ycc(out.Pix[3*i:3*i+3:3*i+3], luma[x], cb[i], cr[i])
		}
	}
	return out
}

func ycc(dst []uint8, y, cb, cr uint8) {
	const half = 1 << 15
	l, b, r := int32(y), int32(cb)-128, int32(cr)-128
	dst[0] = clampByte(l + (91881*r+half)>>16)          // 1.40200
	dst[1] = clampByte(l + (-22554*b-46802*r+half)>>16) // 0.34414, 0.71414
	dst[2] = clampByte(l + (116130*b+half)>>16)         // 1.77200
}

func clampByte(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// upsample brings one chroma plane to the size of the picture.
func upsample(mem *Scratch, m *image.YCbCr, plane []uint8) []uint8 {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	out := mem.newBytes(w * h)
	fx, fy := subsampling(m.SubsampleRatio)
	aligned := b.Min.X%fx == 0 && b.Min.Y%fy == 0
	if !aligned || fx > 2 || fy > 2 || fx*fy == 1 {
		for y := range h {
			for x := range w {
				out[y*w+x] = plane[m.COffset(b.Min.X+x, b.Min.Y+y)]
			}
		}
		return out
	}
	cw, ch := (w+fx-1)/fx, (h+fy-1)/fy
	row := func(y int) []uint8 {
		y = min(max(y, 0), ch-1)
		return plane[m.COffset(b.Min.X, b.Min.Y+y*fy):][:cw]
	}
	sums := mem.newInts(cw)
	for y := range h {
		dst := out[y*w : (y+1)*w]
		near := row(y / fy)
		if fy == 1 {
			h2v1(dst, near)
			continue
		}
		far := row(y/2 - 1 + 2*(y%2)) // above for even rows, below for odd ones
		for x := range sums {
			sums[x] = 3*int32(near[x]) + int32(far[x])
		}
		if fx == 2 {
			h2v2(dst, sums)
			continue
		}
		bias := int32(1 + y%2)
		for x := range dst {
			dst[x] = uint8((sums[x] + bias) >> 2)
		}
	}
	return out
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
