package jpeg

import "bytes"

// scan is the header of the current scan, ITU T.81, B.2.3.
type scan struct {
	components    []*component
	first, last   int // coefficients
	before, shift int // bits that were missing before the scan, and after
}

// readScan reads the header of a scan.
// Source: libjpeg-turbo jdmarker.c:get_sos.
func (d *decoder) readScan(b []byte) error {
	if !d.frame {
		return invalid("scan before the frame")
	}
	if len(b) < 1 || b[0] < 1 || b[0] > 4 || len(b) != 4+2*int(b[0]) {
		return invalid("scan header of %d bytes", len(b))
	}
	n := int(b[0])
	s := scan{first: int(b[1+2*n]), last: int(b[2+2*n]), before: int(b[3+2*n] >> 4), shift: int(b[3+2*n] & 15)}
	blocks := 0
	for i := range n {
		c := d.find(b[1+2*i], i)
		if c == nil {
			return invalid("scan of component %d", b[1+2*i])
		}
		for _, other := range s.components {
			if other == c {
				return invalid("component %d twice in a scan", c.id)
			}
		}
		c.dc, c.ac = b[2+2*i]>>4, b[2+2*i]&15
		s.components = append(s.components, c)
		blocks += c.h * c.v
	}
	if n > 1 && blocks > 10 {
		return invalid("%d blocks in an MCU", blocks)
	}
	d.scan = s
	return nil
}

// find is component number at or a later one with an id: files whose components
// share one are read in order.
func (d *decoder) find(id uint8, at int) *component {
	for i := at; i < len(d.components); i++ {
		if d.components[i].id == id {
			return &d.components[i]
		}
	}
	return nil
}

// segments reads the entropy-coded data of a scan, restart intervals and all.
type segments struct {
	bitReader
	interval int
	left     int   // MCUs before the next restart
	next     uint8 // number of that marker
	short    bool  // the segment ended early: what is left of it is zeros
	zeros    int   // blocks that follow without coefficients (EOBRUN)
	found    bool  // a coefficient other than DC
}

func (d *decoder) newSegments() segments {
	return segments{bitReader: bitReader{data: d.data, pos: d.pos}, interval: d.restart, left: d.restart}
}

// step is how many MCUs of n can be taken at once.
func (s *segments) step(n int) int {
	if s.interval > 0 {
		return min(n, s.left)
	}
	return n
}

// begin handles a restart that is due.
// Source: libjpeg-turbo jdhuff.c:process_restart.
func (s *segments) begin(components []*component) error {
	if s.interval == 0 || s.left > 0 {
		return nil
	}
	if err := s.resync(); err != nil {
		return err
	}
	s.next = (s.next + 1) & 7
	s.left = s.interval
	s.acc, s.n, s.zeros = 0, 0, 0
	if s.marker == 0 {
		s.short = false
	}
	for _, c := range components {
		c.predicted = 0
	}
	return nil
}

// resync finds the restart marker that is due. A marker that belongs to what
// follows stays pending, so that the segment is taken as missing.
// Source: libjpeg-turbo jdmarker.c:jpeg_resync_to_restart.
func (s *segments) resync() error {
	for {
		if s.marker == 0 && !s.nextMarker() {
			return truncated("restart marker")
		}
		m := s.marker
		ahead := (m - markerRST0 - s.next) & 7
		switch {
		case m < markerSOF0:
			s.marker = 0
		case m < markerRST0, m > markerRST7, ahead == 1, ahead == 2:
			return nil
		case ahead == 6, ahead == 7:
			s.marker = 0
		default:
			s.marker = 0
			return nil
		}
	}
}

func (s *segments) nextMarker() bool {
	for s.marker == 0 {
		i := bytes.IndexByte(s.data[s.pos:], 0xff)
		if i < 0 {
			return false
		}
		s.pos += i + 1
		if s.stuffed() {
			s.marker = 0
		} else if s.ended {
			return false
		}
	}
	return true
}

// end finishes n MCUs.
func (s *segments) end(n int) error {
	s.left -= n
	if s.n >= 0 {
		return nil
	}
	if s.ended {
		return truncated("pixels")
	}
	s.short = true
	s.acc, s.n = 0, 0
	return nil
}

// beginScan checks the tables of a scan.
func (d *decoder) beginScan() error {
	for _, c := range d.scan.components {
		if c.quant == nil {
			if c.table > 3 || d.quant[c.table] == nil {
				return invalid("no quantisation table %d", c.table)
			}
			c.quant = d.quant[c.table] // later definitions are for others
		}
		c.predicted = 0
		if needDC := !d.progressive || d.scan.first == 0 && d.scan.before == 0; needDC {
			if c.dc > 3 || d.dcCodes[c.dc] == nil || d.dcCodes[c.dc].bad || d.dcCodes[c.dc].wide {
				return invalid("no Huffman table %d for DC", c.dc)
			}
		}
		if needAC := !d.progressive || d.scan.first > 0; needAC {
			if c.ac > 3 || d.acCodes[c.ac] == nil || d.acCodes[c.ac].bad {
				return invalid("no Huffman table %d for AC", c.ac)
			}
		}
	}
	if d.progressive {
		return d.beginProgressive()
	}
	return nil
}

// decodeDirect decodes the one scan of a file row by row into pixels.
func (d *decoder) decodeDirect() error {
	if err := d.beginScan(); err != nil {
		return err
	}
	s := d.newSegments()
	for y := range d.mcuY {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		for x := range d.mcuX {
			if err := s.begin(d.scan.components); err != nil {
				return err
			}
			for _, c := range d.scan.components {
				dc, ac := d.dcCodes[c.dc], d.acCodes[c.ac]
				for b := range c.h * c.v {
					var block [64]int16
					flat := true
					if !s.short {
						flat = s.block(dc, ac, &c.predicted, &block)
					}
					d.out.store(c, x*c.h+b%c.h, y*c.v+b/c.h, &block, flat)
				}
			}
			if err := s.end(1); err != nil {
				return err
			}
		}
		d.out.emit(y)
	}
	return nil
}

// decodeScan decodes a scan into the coefficients.
func (d *decoder) decodeScan() error {
	if err := d.beginScan(); err != nil {
		return err
	}
	rows, columns := d.mcuY, d.mcuX
	if len(d.scan.components) == 1 {
		rows, columns = d.scan.components[0].blocksY, d.scan.components[0].blocksX
	}
	s := d.newSegments()
	for y := range rows {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		for x := 0; x < columns; {
			if err := s.begin(d.scan.components); err != nil {
				return err
			}
			n := s.step(columns - x)
			if !s.short {
				var err error
				if n, err = d.decodeMCUs(&s, x, y, n); err != nil {
					return err
				}
			}
			if err := s.end(n); err != nil {
				return err
			}
			x += n
		}
	}
	for _, c := range d.scan.components {
		c.detailed = c.detailed || s.found
	}
	d.pos, d.marker = s.pos, s.marker
	return nil
}

// decodeMCUs decodes one MCU, or skips those of at most n that the scan leaves
// alone.
func (d *decoder) decodeMCUs(s *segments, x, y, n int) (int, error) {
	c := d.scan.components[0]
	if s.zeros > 0 && (d.scan.before == 0 || !c.detailed && !s.found) {
		n = min(n, s.zeros)
		s.zeros -= n
		return n, nil
	}
	if len(d.scan.components) == 1 {
		d.decodeBlock(s, c, x, y)
		return 1, d.spend(1)
	}
	blocks := 0
	for _, c := range d.scan.components {
		for b := range c.h * c.v {
			d.decodeBlock(s, c, x*c.h+b%c.h, y*c.v+b/c.h)
		}
		blocks += c.h * c.v
	}
	return 1, d.spend(blocks)
}

func (d *decoder) decodeBlock(s *segments, c *component, x, y int) {
	b := d.block(c, x, y)
	if !d.progressive {
		var block [64]int16
		b.load(&block)
		s.block(d.dcCodes[c.dc], d.acCodes[c.ac], &c.predicted, &block)
		b.store(&block)
		return
	}
	switch p := &d.scan; {
	case p.first == 0 && p.before == 0:
		s.firstDC(d.dcCodes[c.dc], &c.predicted, b, p)
	case p.first == 0:
		s.refineDC(b, p)
	case p.before == 0:
		s.firstAC(d.acCodes[c.ac], b, p)
	default:
		s.refineAC(d.acCodes[c.ac], b, p)
	}
}
