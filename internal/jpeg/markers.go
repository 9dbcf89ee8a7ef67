package jpeg

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Markers of ITU T.81, table B.1.
const (
	markerSOF0  = 0xc0
	markerSOF1  = 0xc1
	markerSOF2  = 0xc2
	markerDHT   = 0xc4
	markerDAC   = 0xcc
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDNL   = 0xdc
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPP14 = 0xee
	markerAPP15 = 0xef
	markerCOM   = 0xfe
	markerTEM   = 0x01

	maxSide = 65500 // as libjpeg has it
)

// zigzag is the place of coefficients in the order of files; those beyond the
// 63rd, which damaged files name, are the last.
var zigzag = [80]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
}

// readHeader reads up to the first scan.
func (d *decoder) readHeader() error {
	if len(d.data) < 2 {
		return truncated("start of image")
	}
	if d.data[0] != 0xff || d.data[1] != markerSOI {
		return invalid("no start of image")
	}
	d.pos = 2
	more, err := d.readMarkers()
	if err == nil && !more {
		err = invalid("no scan")
	}
	return err
}

// nextMarker finds a marker if none is pending.
// Source: libjpeg-turbo jdmarker.c:next_marker.
func (d *decoder) nextMarker() error {
	for d.marker == 0 {
		i := bytes.IndexByte(d.data[d.pos:], 0xff)
		if i < 0 {
			d.pos = len(d.data)
			return truncated("no end of image")
		}
		d.pos += i
		for d.pos < len(d.data) && d.data[d.pos] == 0xff {
			d.pos++
		}
		if d.pos == len(d.data) {
			return truncated("no end of image")
		}
		d.marker = d.data[d.pos]
		d.pos++
	}
	return nil
}

// readMarkers reads up to the next scan, or the end of the image.
// Source: libjpeg-turbo jdmarker.c:read_markers.
func (d *decoder) readMarkers() (more bool, err error) {
	for {
		if err := d.nextMarker(); err != nil {
			return false, err
		}
		m := d.marker
		d.marker = 0
		switch {
		case m == markerEOI:
			return false, nil
		case m == markerSOI:
			return false, invalid("second start of image")
		case m >= markerRST0 && m <= markerRST7, m == markerTEM:
			continue
		}
		if name := unsupportedFrame(m); name != "" {
			return false, fmt.Errorf("%w: %s", ErrUnsupported, name)
		}
		body, err := d.segment()
		if err != nil {
			return false, err
		}
		switch {
		case m >= markerSOF0 && m <= markerSOF2:
			d.progressive = m == markerSOF2
			err = d.readFrame(body)
		case m == markerSOS:
			return true, d.readScan(body)
		case m == markerDHT:
			err = d.readHuffman(body)
		case m == markerDQT:
			err = d.readQuant(body)
		case m == markerDRI:
			if len(body) != 2 {
				return false, invalid("restart interval of %d bytes", len(body))
			}
			d.restart = int(binary.BigEndian.Uint16(body))
		case m == markerAPP0:
			d.jfif = d.jfif || len(body) >= 14 && string(body[:5]) == "JFIF\x00"
		case m == markerAPP14:
			if len(body) >= 12 && string(body[:5]) == "Adobe" {
				d.adobe, d.transform = true, body[11]
			}
		case m > markerAPP0 && m <= markerAPP15, m == markerCOM, m == markerDNL, m == markerDAC:
		default:
			err = invalid("marker %#02x", m)
		}
		if err != nil {
			return false, err
		}
	}
}

func unsupportedFrame(marker uint8) string {
	switch marker {
	case 0xc3:
		return "lossless coding"
	case 0xc5, 0xc6, 0xc7, 0xcd, 0xce, 0xcf, 0xde, 0xdf:
		return "hierarchical coding"
	case 0xc8:
		return "JPEG extension"
	case 0xc9, 0xca, 0xcb:
		return "arithmetic coding"
	}
	return ""
}

// segment is the body of a marker segment.
func (d *decoder) segment() ([]byte, error) {
	if len(d.data)-d.pos < 2 {
		return nil, truncated("marker segment")
	}
	n := int(binary.BigEndian.Uint16(d.data[d.pos:]))
	if n < 2 {
		return nil, invalid("marker segment of %d bytes", n)
	}
	if len(d.data)-d.pos < n {
		return nil, truncated("marker segment")
	}
	body := d.data[d.pos+2 : d.pos+n]
	d.pos += n
	return body, nil
}

// readFrame reads ITU T.81, B.2.2.
func (d *decoder) readFrame(b []byte) error {
	if d.frame {
		return invalid("second frame")
	}
	if len(b) < 6 || len(b) != 6+3*int(b[5]) {
		return invalid("frame header of %d bytes", len(b))
	}
	if b[0] != 8 {
		return fmt.Errorf("%w: %d-bit samples", ErrUnsupported, b[0])
	}
	d.height, d.width = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	n := int(b[5])
	switch {
	case d.height == 0:
		return fmt.Errorf("%w: height given after the first scan (DNL)", ErrUnsupported)
	case d.width == 0 || max(d.width, d.height) > maxSide:
		return invalid("size of %d×%d", d.width, d.height)
	case n != 1 && n != 3 && n != 4:
		return fmt.Errorf("%w: %d components", ErrUnsupported, n)
	}
	d.frame = true
	d.components = make([]component, n)
	for i := range d.components {
		c, p := &d.components[i], b[6+3*i:]
		c.index = i
		c.id, c.h, c.v, c.table = p[0], int(p[1]>>4), int(p[1]&15), p[2]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return invalid("sampling factors %d×%d", c.h, c.v)
		}
		if n == 1 {
			c.h, c.v = 1, 1 // one component alone has MCUs of one block
		}
		d.maxH, d.maxV = max(d.maxH, c.h), max(d.maxV, c.v)
	}
	return d.layOut()
}

// layOut computes the sizes of planes in samples, blocks and MCUs.
// Source: libjpeg-turbo jdinput.c:initial_setup.
func (d *decoder) layOut() error {
	d.mcuX, d.mcuY = ceilDiv(d.width, 8*d.maxH), ceilDiv(d.height, 8*d.maxV)
	for i := range d.components {
		c := &d.components[i]
		if d.maxH%c.h != 0 || d.maxV%c.v != 0 {
			return fmt.Errorf("%w: fractional sampling, %d×%d of %d×%d", ErrUnsupported, c.h, c.v, d.maxH, d.maxV)
		}
		c.width, c.height = ceilDiv(d.width*c.h, d.maxH), ceilDiv(d.height*c.v, d.maxV)
		c.blocksX, c.blocksY = ceilDiv(c.width, 8), ceilDiv(c.height, 8)
		c.stride = d.mcuX * c.h
		c.first = d.rowBlocks
		d.rowBlocks += c.stride * c.v
		for k := range c.bits {
			c.bits[k] = -1
		}
	}
	return nil
}

// readQuant reads ITU T.81, B.2.4.1.
func (d *decoder) readQuant(b []byte) error {
	for len(b) > 0 {
		wide, id := b[0]>>4, b[0]&15
		b = b[1:]
		if id > 3 || wide > 1 {
			return invalid("quantisation table %d of precision %d", id, wide)
		}
		size := 64 << wide
		if len(b) < size {
			return invalid("quantisation table of %d bytes", len(b))
		}
		q := new([64]uint16)
		for k := range q {
			if wide == 1 {
				q[zigzag[k]] = binary.BigEndian.Uint16(b[2*k:])
			} else {
				q[zigzag[k]] = uint16(b[k])
			}
		}
		d.quant[id] = q
		b = b[size:]
	}
	return nil
}

// readHuffman reads ITU T.81, B.2.4.2.
func (d *decoder) readHuffman(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 {
			return invalid("Huffman table of %d bytes", len(b))
		}
		id, n := b[0], 0
		for _, c := range b[1:17] {
			n += int(c)
		}
		if id&^0x10 > 3 || n > 256 || len(b) < 17+n {
			return invalid("Huffman table %#02x of %d codes", id, n)
		}
		t := newHuffman(b[1:17], b[17:17+n])
		if id&0x10 != 0 {
			d.acCodes[id&3] = t
		} else {
			d.dcCodes[id&3] = t
		}
		b = b[17+n:]
	}
	return nil
}
