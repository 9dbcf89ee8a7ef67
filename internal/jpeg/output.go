package jpeg

import "github.com/clipsurgery/clipsurgery/internal/chroma"

// output turns blocks into pixels, as soon as the chroma below a row is known.
type output struct {
	d       *decoder
	pix     []uint8
	planes  []plane
	emitted int // rows
	ycc     bool
}

// plane holds two rows of MCUs of a component.
type plane struct {
	*component
	samples  []uint8
	stride   int
	rows     int
	fx, fy   int // sampling
	fancy    bool
	expanded []uint8 // a row in the picture's width
}

func (o *output) init(d *decoder, pix []uint8) {
	o.d, o.pix, o.ycc = d, pix, d.isYCC()
	for i := range d.components {
		c := &d.components[i]
		p := plane{component: c, stride: 8 * c.stride, rows: 16 * c.v, fx: d.maxH / c.h, fy: d.maxV / c.v}
		p.samples = make([]uint8, p.stride*p.rows)
		p.fancy = p.fx <= 2 && p.fy <= 2 && (p.fx == 1 || p.width > 2)
		p.expanded = make([]uint8, d.width)
		o.planes = append(o.planes, p)
	}
}

// isYCC guesses the color space.
// Source: libjpeg-turbo jdapimin.c:default_decompress_parms.
func (d *decoder) isYCC() bool {
	c := d.components
	switch len(c) {
	case 3:
		switch {
		case d.jfif:
			return true
		case d.adobe:
			return d.transform != 0
		}
		return c[0].id != 'R' || c[1].id != 'G' || c[2].id != 'B'
	case 4:
		return d.adobe && d.transform != 0
	}
	return false
}

// store transforms the block at column x and row y of a component.
func (o *output) store(c *component, x, y int, block *[64]int16, flat bool) {
	p := &o.planes[c.index]
	inverse(p.samples[8*y%p.rows*p.stride+8*x:], p.stride, block, c.quant, flat)
}

// outputCoefficients transforms the coefficients of all scans.
func (d *decoder) outputCoefficients() error {
	var none [64]uint16
	for i := range d.components {
		if d.components[i].quant == nil { // no scan had it
			d.components[i].quant = &none
		}
	}
	for y := range d.mcuY {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		for i := range d.components {
			c := &d.components[i]
			for by := y * c.v; by < (y+1)*c.v; by++ {
				for bx := range c.stride {
					var block [64]int16
					flat := d.block(c, bx, by).load(&block)
					d.out.store(c, bx, by, &block, flat)
				}
			}
		}
		d.out.emit(y)
	}
	return nil
}

// emit converts the rows that are complete after row y of MCUs: all but the
// last, which takes chroma from the row below.
func (o *output) emit(y int) {
	d := o.d
	end := d.height
	if y+1 < d.mcuY {
		end = (y+1)*8*d.maxV - 1
	}
	n := len(o.planes)
	for ; o.emitted < end; o.emitted++ {
		dst := o.pix[o.emitted*d.width*n:][:d.width*n]
		var rows [4][]uint8
		for i := range o.planes {
			rows[i] = o.planes[i].row(o.emitted)
		}
		switch {
		case n == 1:
			copy(dst, rows[0])
		case n == 3 && o.ycc:
			chroma.RGB(dst, rows[0], rows[1], rows[2])
		case n == 3:
			interleave(dst, rows[:3], 0)
		case o.ycc:
			fromYCCK(dst, rows)
		default:
			interleave(dst, rows[:4], 255)
		}
	}
}

// row is a row of the component in the picture's size.
// Source: libjpeg-turbo jdsample.c:jinit_upsampler.
func (p *plane) row(y int) []uint8 {
	samples := func(y int) []uint8 {
		return p.samples[min(max(y, 0), p.height-1)%p.rows*p.stride:][:p.width]
	}
	near := samples(y / p.fy)
	if p.fx == 1 && (p.fy == 1 || !p.fancy) {
		return near
	}
	if !p.fancy {
		chroma.Repeat(p.expanded, near, p.fx)
		return p.expanded
	}
	if p.fy == 1 {
		chroma.H2V1(p.expanded, near)
		return p.expanded
	}
	far := samples(y/2 - 1 + y%2*2)
	if p.fx == 1 {
		chroma.H1V2(p.expanded, near, far, y%2 == 1)
	} else {
		chroma.H2V2(p.expanded, near, far)
	}
	return p.expanded
}

func interleave(dst []uint8, rows [][]uint8, invert uint8) {
	n := len(rows)
	for c, row := range rows {
		for x, v := range row {
			dst[x*n+c] = v ^ invert
		}
	}
}

// fromYCCK gives Pillow's CMYK, where libjpeg's is inverted: its C, M, Y are
// 255 - R, G, B.
func fromYCCK(dst []uint8, rows [4][]uint8) {
	for x, k := range rows[3] {
		p := dst[4*x : 4*x+4]
		chroma.RGB(p[:3], rows[0][x:x+1], rows[1][x:x+1], rows[2][x:x+1])
		p[3] = 255 - k
	}
}
