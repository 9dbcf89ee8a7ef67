package picturefile

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// Tags of a directory.
const (
	tiffWidth        = 256
	tiffHeight       = 257
	tiffBits         = 258
	tiffCompression  = 259
	tiffPhotometric  = 262
	tiffFillOrder    = 266
	tiffStripOffsets = 273
	tiffSamples      = 277
	tiffRowsPerStrip = 278
	tiffStripCounts  = 279
	tiffPlanar       = 284
	tiffT4Options    = 292
	tiffPredictor    = 317
	tiffColorMap     = 320
	tiffTileWidth    = 322
	tiffTileHeight   = 323
	tiffTileOffsets  = 324
	tiffTileCounts   = 325
	tiffExtraSamples = 338
	tiffSampleFormat = 339
	tiffXMP          = 700
)

// tiffFile is the first directory of a TIFF file, or of a block of EXIF.
type tiffFile struct {
	data    []byte
	order   binary.ByteOrder
	entries map[uint16]tiffEntry
}

// tiffEntry is a tag's value.
type tiffEntry struct {
	kind  uint16
	count uint64
	value []byte // at least what the count says, or the error
	err   error
}

// openTIFF reads the first directory, of BigTIFF too.
func openTIFF(data []byte) (*tiffFile, error) {
	t := &tiffFile{data: data, entries: make(map[uint16]tiffEntry)}
	switch {
	case bytes.HasPrefix(data, []byte("II")):
		t.order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte("MM")):
		t.order = binary.BigEndian
	default:
		return nil, broken("there is no byte order")
	}
	if len(data) < 16 {
		return nil, broken("the header ends early")
	}
	offset, counted, entry, inline := uint64(t.order.Uint32(data[4:])), uint64(2), uint64(12), uint64(4)
	switch version := t.order.Uint16(data[2:]); version {
	case 42:
	case 43:
		offset, counted, entry, inline = t.order.Uint64(data[8:]), 8, 20, 8
	default:
		return nil, unsupported("version %d", version)
	}
	head, err := t.slice(offset, counted)
	if err != nil {
		return nil, err
	}
	n := uint64(t.order.Uint16(head))
	if counted == 8 {
		n = t.order.Uint64(head)
	}
	const maxEntries = 1 << 16
	if n > maxEntries {
		return nil, broken("directory of %d entries", n)
	}
	for i := range n {
		e, err := t.slice(offset+counted+i*entry, entry)
		if err != nil {
			return nil, err
		}
		tag := t.order.Uint16(e)
		if _, twice := t.entries[tag]; twice {
			continue
		}
		t.entries[tag] = t.entry(e, inline)
	}
	return t, nil
}

// sizes of the types of values.
var tiffSizes = [...]uint64{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

// entry reads an entry; inline is how many bytes of a value it holds itself.
func (t *tiffFile) entry(e []byte, inline uint64) tiffEntry {
	out := tiffEntry{kind: t.order.Uint16(e[2:]), count: uint64(t.order.Uint32(e[4:]))}
	at := uint64(8)
	if inline == 8 {
		out.count, at = t.order.Uint64(e[4:]), 12
	}
	if int(out.kind) >= len(tiffSizes) || tiffSizes[out.kind] == 0 {
		out.err = broken("value of type %d", out.kind)
		return out
	}
	if out.count > uint64(len(t.data)) {
		out.err = broken("%d values", out.count)
		return out
	}
	size := out.count * tiffSizes[out.kind]
	out.value = e[at:]
	if size > inline {
		offset := uint64(t.order.Uint32(e[at:]))
		if inline == 8 {
			offset = t.order.Uint64(e[at:])
		}
		out.value, out.err = t.slice(offset, size)
	}
	return out
}

// slice is a part of the file.
func (t *tiffFile) slice(offset, n uint64) ([]byte, error) {
	size := uint64(len(t.data))
	if offset > size || n > size-offset {
		return nil, broken("bytes %d to %d of %d", offset, offset+n, size)
	}
	return t.data[offset : offset+n], nil
}

// ints reads up to most whole numbers; absent tags have none.
func (t *tiffFile) ints(tag uint16, most int64) ([]uint64, error) {
	e, ok := t.entries[tag]
	if !ok {
		return nil, nil
	}
	if e.err != nil {
		return nil, fmt.Errorf("tag %d: %w", tag, e.err)
	}
	out := make([]uint64, min(e.count, uint64(most)))
	for i := range out {
		switch e.kind {
		case 1, 6, 7:
			out[i] = uint64(e.value[i])
		case 3, 8:
			out[i] = uint64(t.order.Uint16(e.value[2*i:]))
		case 4, 9, 13:
			out[i] = uint64(t.order.Uint32(e.value[4*i:]))
		case 16, 17, 18:
			out[i] = t.order.Uint64(e.value[8*i:])
		default:
			return nil, broken("tag %d is of type %d", tag, e.kind)
		}
	}
	return out, nil
}

// number is the first value of a tag.
func (t *tiffFile) number(tag uint16, absent uint64) (uint64, error) {
	v, err := t.ints(tag, 1)
	if err != nil || len(v) == 0 {
		return absent, err
	}
	return v[0], nil
}

// tiffImage is how the pixels of a directory lie in the file.
type tiffImage struct {
	*tiffFile
	width, height    int
	bits, samples    int
	photometric      uint64
	compression      uint64
	reversed, planes bool // fill order 2; a plane for each sample
	horizontal       bool // predictor 2
	extra            []uint64
	mode             pix.Mode
	invert           bool // 0 is white
	premultiplied    bool
	partW, partH     int // of strips and tiles
	tiled            bool
	offsets, counts  []uint64
	inflate          io.ReadCloser // what decompresses, part after part
	lzw              *tiffLZWReader
	fax              *faxReader
	packBits         packBits
}

// tiff reads the first picture of a TIFF file. Every tag that changes pixels is
// obeyed or refused by its name.
// Source: TIFF 6.0; Pillow's TiffImagePlugin for the modes.
func (d *decoder) tiff() (*pix.Picture, error) {
	t, err := openTIFF(d.data)
	if err != nil {
		return nil, err
	}
	m, err := t.describe()
	if err != nil {
		return nil, err
	}
	p, err := d.picture(m.mode, m.width, m.height)
	if err != nil {
		return nil, err
	}
	if m.mode == pix.ModePalette {
		if p.Palette, err = m.colors(); err != nil {
			return nil, err
		}
	}
	if err := d.tiffParts(m, p); err != nil {
		return nil, err
	}
	if m.premultiplied {
		unpremultiply(p.Pix)
	}
	if o, ok := t.orientation(); ok {
		d.orientation = o
	} else if e := t.entries[tiffXMP]; e.err == nil {
		d.orient(nil, e.value)
	}
	return p, nil
}

// unpremultiply undoes the premultiplication of RGBA as Pillow's RGBa does.
func unpremultiply(rgba []uint8) {
	for i := 0; i < len(rgba); i += 4 {
		a := int(rgba[i+3])
		if a == 255 {
			continue
		}
		for c := i; c < i+3; c++ {
			if a == 0 {
				rgba[c] = 0
			} else {
				rgba[c] = uint8(min(int(rgba[c])*255/a, 255))
			}
		}
	}
}

func (t *tiffFile) describe() (*tiffImage, error) {
	m := &tiffImage{tiffFile: t}
	var width, height, fill, planar, predictor, format uint64
	for _, v := range []struct {
		to     *uint64
		tag    uint16
		absent uint64
	}{
		{&width, tiffWidth, 0}, {&height, tiffHeight, 0}, {&m.compression, tiffCompression, 1}, {&m.photometric, tiffPhotometric, 0},
		{&fill, tiffFillOrder, 1}, {&planar, tiffPlanar, 1}, {&predictor, tiffPredictor, 1}, {&format, tiffSampleFormat, 1},
	} {
		var err error
		if *v.to, err = t.number(v.tag, v.absent); err != nil {
			return nil, err
		}
	}
	if width < 1 || height < 1 || width > 1<<31-1 || height > 1<<31-1 {
		return nil, broken("%w: %d×%d", pix.ErrSize, width, height)
	}
	m.width, m.height = int(width), int(height)
	if err := m.checkCompression(); err != nil {
		return nil, err
	}
	switch {
	case fill != 1 && fill != 2:
		return nil, unsupported("fill order %d", fill)
	case planar != 1 && planar != 2:
		return nil, unsupported("planar configuration %d", planar)
	}
	m.reversed = fill == 2
	if err := m.describeSamples(format, planar); err != nil {
		return nil, err
	}
	m.planes = planar == 2 && m.samples > 1
	if m.compression == tiffLZW || m.compression == tiffDeflate || m.compression == tiffDeflateOld {
		m.horizontal = predictor == 2
		if predictor != 1 && (predictor != 2 || m.bits < 8) {
			return nil, unsupported("predictor %d of %d bits", predictor, m.bits)
		}
	}
	return m, m.describeParts()
}

// maxSamples bounds the samples of a pixel.
const maxSamples = 64

// describeSamples decides the mode.
func (m *tiffImage) describeSamples(format, planar uint64) error {
	depths, err := m.ints(tiffBits, maxSamples)
	if err != nil {
		return err
	}
	samples, err := m.number(tiffSamples, 1)
	if err != nil {
		return err
	}
	if m.extra, err = m.ints(tiffExtraSamples, maxSamples); err != nil {
		return err
	}
	if len(depths) == 0 {
		depths = []uint64{1}
	}
	if samples < 1 || samples >= maxSamples || len(depths) != 1 && uint64(len(depths)) < samples {
		return broken("%d samples a pixel of %d depths", samples, len(depths))
	}
	for _, b := range depths[:min(samples, uint64(len(depths)))] {
		if b != depths[0] {
			return unsupported("samples of %d bits", depths)
		}
	}
	m.samples, m.bits = int(samples), int(min(depths[0], 64))
	if format != 1 {
		return unsupported("samples of format %d (%s)", format, map[uint64]string{2: "signed integers", 3: "floating point"}[format])
	}
	colors := map[uint64]int{0: 1, 1: 1, 2: 3, 3: 1, 5: 4}[m.photometric]
	if colors == 0 {
		return unsupported("photometric interpretation %d (%s)", m.photometric, map[uint64]string{
			4: "transparency mask", 6: "YCbCr", 8: "CIELab", 9: "ICCLab", 10: "ITULab", 32803: "color filter array", 34892: "raw"}[m.photometric])
	}
	small := m.bits == 1 || m.bits == 2 || m.bits == 4
	if !(m.bits == 8 || m.bits == 16 && m.photometric != 3 || small && m.samples == 1 && colors == 1) {
		return unsupported("combination of %d samples of %d bits with photometric interpretation %d", m.samples, m.bits, m.photometric)
	}
	extra := m.samples - colors
	switch {
	case extra < 0:
		return broken("%d samples a pixel with photometric interpretation %d", m.samples, m.photometric)
	case len(m.extra) > extra:
		return broken("%d extra samples of %d", len(m.extra), m.samples)
	}
	if m.photometric == 0 && m.bits == 16 {
		return unsupported("photometric interpretation 0 (0 is white) of 16 bits") // Pillow does not invert it
	}
	m.invert = m.photometric == 0
	return m.chooseMode(extra)
}

// chooseMode settles the mode, given the samples beyond the colors. The first
// may be alpha; what is unspecified is dropped.
func (m *tiffImage) chooseMode(extra int) error {
	kind := uint64(0)
	switch {
	case len(m.extra) > 0:
		kind = m.extra[0]
	case extra == 1 && m.photometric == 2:
		kind = 2 // files that do not say what the fourth sample is
	case extra > 0:
		return unsupported("%d samples a pixel without ExtraSamples", m.samples)
	}
	if kind == 999 {
		kind = 2 // Corel Draw's
	}
	if kind > 2 || kind > 0 && m.photometric != 2 && (m.photometric != 1 || kind != 2) {
		return unsupported("extra sample of kind %d with photometric interpretation %d", kind, m.photometric)
	}
	switch {
	case m.photometric == 2 && kind > 0:
		m.mode, m.premultiplied = pix.ModeRGBA, kind == 1
	case m.photometric == 2:
		m.mode = pix.ModeRGB
	case m.photometric == 3:
		m.mode = pix.ModePalette
	case m.photometric == 5:
		m.mode = pix.ModeCMYK
	case kind > 0:
		m.mode = pix.ModeGrayA
	case m.bits == 1:
		m.mode = pix.ModeBilevel
	default:
		m.mode = pix.ModeGray
	}
	return nil
}

// colors reads the palette, whose values have 16 bits.
func (m *tiffImage) colors() (*pix.Palette, error) {
	const most = 3 << 16
	v, err := m.ints(tiffColorMap, most)
	if err != nil {
		return nil, err
	}
	n := 1 << m.bits
	if len(v) < 3*n || len(v) == most {
		return nil, broken("palette of %d values for %d bits", len(v), m.bits)
	}
	n = len(v) / 3
	p := new(pix.Palette)
	for i := range min(n, 256) {
		for c := range 3 {
			p[3*i+c] = uint8(v[c*n+i] >> 8)
		}
	}
	return p, nil
}

// describeParts finds the strips or tiles.
func (m *tiffImage) describeParts() error {
	offsets, counts := uint16(tiffStripOffsets), uint16(tiffStripCounts)
	w, h := uint64(m.width), uint64(m.height)
	_, m.tiled = m.entries[tiffTileWidth]
	var err error
	if m.tiled {
		offsets, counts = tiffTileOffsets, tiffTileCounts
		if w, err = m.number(tiffTileWidth, 0); err != nil {
			return err
		}
		if h, err = m.number(tiffTileHeight, 0); err != nil {
			return err
		}
		const maxSide = 1 << 16
		if w < 1 || h < 1 || w > maxSide || h > maxSide {
			return broken("tiles of %d×%d", w, h)
		}
	} else {
		rows, err := m.number(tiffRowsPerStrip, h)
		if err != nil {
			return err
		}
		if rows < 1 {
			return broken("strips of %d rows", rows)
		}
		h = min(rows, h)
	}
	m.partW, m.partH = int(w), int(h)
	across, down := m.parts()
	want := int64(across) * int64(down)
	if m.planes {
		want *= int64(m.samples)
	}
	if m.offsets, err = m.ints(offsets, want); err != nil {
		return err
	}
	if m.counts, err = m.ints(counts, want); err != nil {
		return err
	}
	if int64(len(m.offsets)) < want {
		return broken("%d strips or tiles, want %d", len(m.offsets), want)
	}
	if n := len(m.counts); n != 0 && n < len(m.offsets) {
		return broken("%d sizes of %d strips or tiles", n, len(m.offsets))
	}
	return nil
}

// parts is how many strips or tiles make a plane.
func (m *tiffImage) parts() (across, down int) {
	return (m.width-1)/m.partW + 1, (m.height-1)/m.partH + 1
}

// part returns the bytes of a strip or tile.
func (m *tiffImage) part(i int) ([]byte, error) {
	offset := m.offsets[i]
	if offset > uint64(len(m.data)) {
		return nil, broken("a strip or tile at %d of %d bytes", offset, len(m.data))
	}
	b := m.data[offset:]
	if len(m.counts) > 0 && m.counts[i] > 0 {
		b = b[:min(m.counts[i], uint64(len(b)))]
	}
	return b, nil
}

// tiffParts decodes strips or tiles into the picture.
func (d *decoder) tiffParts(m *tiffImage, p *pix.Picture) error {
	across, down := m.parts()
	planes, samples := 1, m.samples
	if m.planes {
		planes, samples = min(m.samples, p.Mode.Channels()), 1
	}
	n := (int64(m.partW)*int64(samples*m.bits) + 7) / 8
	if err := checkLines(n, p); err != nil {
		return err
	}
	line := make([]byte, n)
	// Strips may share bytes, but not so that a small file takes long.
	budget := 8*int64(len(m.data)) + 1<<20 + 1<<12*int64(len(m.offsets))
	for i := range planes * across * down {
		plane, x0, y0 := i/(across*down), i%across*m.partW, i/across%down*m.partH
		data, err := m.part(i)
		if err != nil {
			return err
		}
		rows := m.partH
		if !m.tiled {
			rows = min(rows, m.height-y0)
		}
		r, err := m.decompress(contextReader{d.ctx, &meter{m.raw(data), &budget}}, data, m.partW)
		if err != nil {
			return err
		}
		w := min(m.partW, m.width-x0)
		for y := range min(rows, m.height-y0) {
			if err := d.worked(m.partW); err != nil {
				return err
			}
			if _, err := io.ReadFull(r, line); err != nil {
				return truncated("pixel data", err)
			}
			if m.horizontal {
				m.undoDifferences(line, samples)
			}
			m.store(p, x0, y0+y, w, plane, line)
		}
	}
	return nil
}

// raw reads the bytes of a part in the usual order of bits.
func (m *tiffImage) raw(data []byte) io.Reader {
	r := io.Reader(bytes.NewReader(data))
	if m.reversed {
		r = reversedReader{r}
	}
	return r
}

// meter ends what reads more than a budget.
type meter struct {
	r      io.Reader
	budget *int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if *m.budget -= int64(n); *m.budget < 0 {
		return n, broken("strips or tiles share too many bytes")
	}
	return n, err
}

// reversedReader turns the bits of every byte round.
type reversedReader struct{ r io.Reader }

func (r reversedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	for i, b := range p[:n] {
		p[i] = bits.Reverse8(b)
	}
	return n, err
}

// undoDifferences is predictor 2: samples are stored as differences to those of
// the pixel on the left.
func (m *tiffImage) undoDifferences(line []byte, samples int) {
	if m.bits == 8 {
		for i := samples; i < len(line); i++ {
			line[i] += line[i-samples]
		}
		return
	}
	for i := 2 * samples; i+1 < len(line); i += 2 {
		m.order.PutUint16(line[i:], m.order.Uint16(line[i:])+m.order.Uint16(line[i-2*samples:]))
	}
}

// store puts w pixels of a row, or the samples of one plane, into the picture.
func (m *tiffImage) store(p *pix.Picture, x0, y, w, plane int, line []byte) {
	n := p.Mode.Channels()
	dst := p.Row(y)[x0*n : (x0+w)*n]
	if m.bits < 8 {
		scale := uint8(1)
		if m.mode != pix.ModePalette {
			scale = uint8(255 / (1<<m.bits - 1))
		}
		unpackBits(dst, line, m.bits, scale)
	} else {
		step, at := m.bits/8, 0
		if m.bits == 16 && m.order == binary.ByteOrder(binary.LittleEndian) {
			at = 1 // of the upper byte
		}
		if m.planes {
			for x := range w {
				dst[x*n+plane] = line[x*step+at]
			}
		} else {
			for x := range w {
				for c := range n {
					dst[x*n+c] = line[(x*m.samples+c)*step+at]
				}
			}
		}
	}
	if m.invert {
		for i := range dst {
			dst[i] = ^dst[i]
		}
	}
}

// Compressions.
const (
	tiffNone       = 1
	tiffRLE        = 2
	tiffGroup3     = 3
	tiffGroup4     = 4
	tiffLZW        = 5
	tiffDeflate    = 8
	tiffDeflateOld = 32946
	tiffPackBits   = 32773
)

func (m *tiffImage) checkCompression() error {
	switch m.compression {
	case tiffNone, tiffRLE, tiffGroup3, tiffGroup4, tiffLZW, tiffDeflate, tiffDeflateOld, tiffPackBits:
		return nil
	}
	if name, ok := map[uint64]string{6: "old-style JPEG", 7: "JPEG", 34712: "JPEG 2000", 34892: "lossy JPEG", 34925: "LZMA",
		50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 34676: "SGI LogLuv", 34677: "SGI LogLuv", 32809: "ThunderScan"}[m.compression]; ok {
		return unsupported("%s compression", name)
	}
	return unsupported("compression %d", m.compression)
}

// decompress returns what a part of rows of w pixels holds; r reads its bytes.
func (m *tiffImage) decompress(r io.Reader, data []byte, w int) (io.Reader, error) {
	switch m.compression {
	case tiffLZW:
		if len(data) > 1 && data[0] == 0 && data[1]&1 == 1 {
			return nil, unsupported("old-style LZW compression")
		}
		if m.lzw == nil {
			m.lzw = new(tiffLZWReader)
		}
		m.lzw.reset(r)
		return m.lzw, nil
	case tiffDeflate, tiffDeflateOld:
		var err error
		if m.inflate == nil {
			m.inflate, err = zlib.NewReader(r)
		} else {
			err = m.inflate.(zlib.Resetter).Reset(r, nil)
		}
		if err != nil {
			return nil, truncated("pixel data", err)
		}
		return m.inflate, nil
	case tiffPackBits:
		m.packBits = packBits{r: r}
		return &m.packBits, nil
	case tiffRLE, tiffGroup3, tiffGroup4:
		if m.fax == nil {
			var err error
			if m.fax, err = m.newFax(w); err != nil {
				return nil, err
			}
		}
		m.fax.reset(r)
		return m.fax, nil
	}
	return r, nil
}

// packBits undoes Apple's run-length coding.
type packBits struct {
	r       io.Reader
	one     [1]byte
	literal int // bytes to come as they are
	repeat  int // times that value comes
	value   byte
}

func (b *packBits) byte() (byte, error) {
	_, err := io.ReadFull(b.r, b.one[:])
	return b.one[0], err
}

func (b *packBits) Read(p []byte) (int, error) {
	for b.literal == 0 && b.repeat == 0 {
		n, err := b.byte()
		if err != nil {
			return 0, err
		}
		switch n := int(int8(n)); {
		case n >= 0:
			b.literal = n + 1
		case n > -128:
			b.repeat = 1 - n
			if b.value, err = b.byte(); err != nil {
				return 0, err
			}
		}
	}
	if b.literal > 0 {
		n, err := b.r.Read(p[:min(len(p), b.literal)])
		b.literal -= n
		return n, err
	}
	n := min(len(p), b.repeat)
	for i := range p[:n] {
		p[i] = b.value
	}
	b.repeat -= n
	return n, nil
}
