package picturefile

import (
	"io"

	"golang.org/x/image/ccitt"
)

// fax returns the rows of a part in CCITT's codes for faxes, a bit a pixel, 1
// where it is black.
func (m *tiffImage) fax(r io.Reader, w, h int) (io.Reader, error) {
	if m.bits != 1 || m.samples != 1 {
		return nil, broken("CCITT compression of %d samples of %d bits", m.samples, m.bits)
	}
	options, err := m.number(tiffT4Options, 0)
	if err != nil {
		return nil, err
	}
	switch {
	case m.compression == tiffGroup4:
		return ccitt.NewReader(r, ccitt.MSB, ccitt.Group4, w, h, &ccitt.Options{Invert: true}), nil
	case m.compression == tiffGroup3 && options&^4 == 0:
		return ccitt.NewReader(r, ccitt.MSB, ccitt.Group3, w, h, &ccitt.Options{Invert: true, Align: options&4 != 0}), nil
	case m.compression == tiffRLE:
		return nil, unsupported("CCITT modified Huffman compression is")
	}
	return nil, unsupported("two-dimensional CCITT group 3 compression is")
}
