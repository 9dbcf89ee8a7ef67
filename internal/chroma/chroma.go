// Package chroma has libjpeg's arithmetic for rows of subsampled chroma: the
// triangle filter ("fancy upsampling") and the conversion of YCbCr to RGB.
//
// Source: libjpeg-turbo jdsample.c, jdcolor.c.
package chroma

// H2V1 doubles a row: every sample is 3/4 of the nearer and 1/4 of the farther
// one. len(src) is half of len(dst), rounded up.
func H2V1(dst, src []uint8) {
	last := len(src) - 1
	far := int32(src[0])
	for i, s := range src {
		v := int32(s)
		next := int32(src[min(i+1, last)])
		dst[2*i] = uint8((3*v + far + 1) >> 2)
		if 2*i+1 < len(dst) {
			dst[2*i+1] = uint8((3*v + next + 2) >> 2)
		}
		far = v
	}
}

// H1V2 makes a row between two, the upper or lower one of those that belong to
// the row near.
func H1V2(dst, near, far []uint8, lower bool) {
	bias := int32(1)
	if lower {
		bias = 2
	}
	far = far[:len(near)]
	for i, n := range near[:len(dst)] {
		dst[i] = uint8((3*int32(n) + int32(far[i]) + bias) >> 2)
	}
}

// H2V2 is H2V1 of a row between two.
func H2V2(dst, near, far []uint8) {
	far = far[:len(near)]
	next := 3*int32(near[0]) + int32(far[0])
	before := next
	for i := range near {
		v := next
		if i+1 < len(near) {
			next = 3*int32(near[i+1]) + int32(far[i+1])
		}
		dst[2*i] = uint8((3*v + before + 8) >> 4)
		if 2*i+1 < len(dst) {
			dst[2*i+1] = uint8((3*v + next + 7) >> 4)
		}
		before = v
	}
}

// Repeat repeats every sample n times, the last one as often as there is room.
func Repeat(dst, src []uint8, n int) {
	for _, s := range src {
		part := dst[:min(n, len(dst))]
		for i := range part {
			part[i] = s
		}
		dst = dst[len(part):]
	}
}

// RGB converts a row of YCbCr to interleaved RGB.
func RGB(dst, y, cb, cr []uint8) {
	const half = 1 << 15
	cb, cr, dst = cb[:len(y)], cr[:len(y)], dst[:3*len(y)]
	for i := range y {
		l, b, r := int32(y[i]), int32(cb[i])-128, int32(cr[i])-128
		p := dst[3*i : 3*i+3 : 3*i+3]
		p[0] = clamp(l + (91881*r+half)>>16)          // 1.40200
		p[1] = clamp(l + (-22554*b-46802*r+half)>>16) // 0.34414, 0.71414
		p[2] = clamp(l + (116130*b+half)>>16)         // 1.77200
	}
}

func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}
