package jpeg

// The constants of the transform in 13-bit fixed point.
const (
	fix0298 = 2446
	fix0390 = 3196
	fix0541 = 4433
	fix0765 = 6270
	fix0899 = 7373
	fix1175 = 9633
	fix1501 = 12299
	fix1847 = 15137
	fix1961 = 16069
	fix2053 = 16819
	fix2562 = 20995
	fix3072 = 25172

	fixBits  = 13
	passBits = 2
)

// inverse stores the samples of a block: the accurate integer transform of
// Loeffler, Ligtenberg and Moschytz. Sums of damaged blocks wrap and saturate in
// 16 bits where libjpeg-turbo's vector code has 16 bits.
// Source: libjpeg-turbo jidctint.c:jpeg_idct_islow, simd/x86_64/jidctint-avx2.asm.
func inverse(dst []uint8, stride int, coefficients *[64]int16, quant *[64]uint16, flat bool) {
	dc := coefficients[0] * int16(quant[0])
	if flat {
		v := clamp((int32(dc<<passBits)<<fixBits+1<<(fixBits+passBits+2))>>(fixBits+passBits+3) + 128)
		for y := range 8 {
			row := dst[y*stride:][:8]
			for x := range row {
				row[x] = v
			}
		}
		return
	}
	var w [64]int32
	var in, out [8]int32
	shallow := true // no coefficient below the first row
	for _, c := range coefficients[8:] {
		if c != 0 {
			shallow = false
			break
		}
	}
	for x := range 8 {
		in[0] = int32(coefficients[x] * int16(quant[x]))
		if shallow {
			v := int32(int16(in[0]) << passBits)
			for y := range 8 {
				w[8*y+x] = v
			}
			continue
		}
		rest := int16(0)
		for y := 1; y < 8; y++ {
			c := coefficients[8*y+x]
			rest |= c
			in[y] = int32(c * int16(quant[8*y+x]))
		}
		if rest == 0 {
			v := saturate(in[0] << passBits)
			for y := range 8 {
				w[8*y+x] = v
			}
			continue
		}
		inverse8(&out, &in)
		const shift = fixBits - passBits
		for y, v := range out {
			w[8*y+x] = saturate((v + 1<<(shift-1)) >> shift)
		}
	}
	for y := range 8 {
		inverse8(&out, (*[8]int32)(w[8*y:]))
		row := dst[y*stride:][:8:8]
		const shift = fixBits + passBits + 3
		for x, v := range out {
			row[x] = clamp((v+1<<(shift-1))>>shift + 128)
		}
	}
}

// inverse8 transforms eight values, which gain 13 bits.
func inverse8(out, in *[8]int32) {
	z1 := (in[2] + in[6]) * fix0541
	t2, t3 := z1-in[6]*fix1847, z1+in[2]*fix0765
	t0, t1 := int32(int16(in[0]+in[4]))<<fixBits, int32(int16(in[0]-in[4]))<<fixBits
	e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2

	z3, z4 := int32(int16(in[7]+in[3])), int32(int16(in[5]+in[1]))
	z5 := (z3 + z4) * fix1175
	z3, z4 = z5-z3*fix1961, z5-z4*fix0390
	z1, z2 := (in[7]+in[1])*-fix0899, (in[5]+in[3])*-fix2562
	o0 := in[7]*fix0298 + z1 + z3
	o1 := in[5]*fix2053 + z2 + z4
	o2 := in[3]*fix3072 + z2 + z3
	o3 := in[1]*fix1501 + z1 + z4

	out[0], out[7] = e0+o3, e0-o3
	out[1], out[6] = e1+o2, e1-o2
	out[2], out[5] = e2+o1, e2-o1
	out[3], out[4] = e3+o0, e3-o0
}

func saturate(v int32) int32 { return min(max(v, -1<<15), 1<<15-1) }

func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^(v >> 31))
	}
	return uint8(v)
}
