package surgery

import (
	"fmt"
	"image"
	"image/color"
)

// LabelMap assigns a class to each pixel of a picture, row by row.
type LabelMap struct {
	Width, Height int
	Labels        []uint16 // index of a class, or Ignore
}

// Ignore is the label of pixels that have no class.
const Ignore = 1<<16 - 1

const maxClasses = Ignore

// NewLabelMap returns a map of a picture of the given size in pixels, whose pixels
// all have class 0. A size without pixels gives an empty map.
func NewLabelMap(size image.Point) *LabelMap {
	if size.X < 1 || size.Y < 1 {
		size = image.Point{}
	}
	return &LabelMap{size.X, size.Y, make([]uint16, size.X*size.Y)}
}

// At returns the label of a pixel, Ignore outside the map.
func (m *LabelMap) At(x, y int) uint16 {
	if x < 0 || y < 0 || x >= m.Width || y >= m.Height {
		return Ignore
	}
	return m.Labels[y*m.Width+x]
}

// Present says for each of n classes whether any pixel has it.
func (m *LabelMap) Present(n int) []bool {
	present := make([]bool, n)
	for _, c := range m.Labels {
		if int(c) < n {
			present[c] = true
		}
	}
	return present
}

// Mask returns the pixels of a class, 255 inside and 0 outside.
func (m *LabelMap) Mask(class int) *image.Alpha {
	a := image.NewAlpha(image.Rect(0, 0, m.Width, m.Height))
	for i, c := range m.Labels {
		if int(c) == class {
			a.Pix[i] = 255
		}
	}
	return a
}

// Paletted returns the map as a picture whose color indices are the classes;
// 255 stands for Ignore, as in PASCAL VOC. A nil palette is [Palette]. A class
// beyond the palette is [ErrLabel].
func (m *LabelMap) Paletted(p color.Palette) (*image.Paletted, error) {
	if p == nil {
		p = Palette(256)
	}
	out := image.NewPaletted(image.Rect(0, 0, m.Width, m.Height), p)
	for i, c := range m.Labels {
		if c == Ignore {
			c = 255
		}
		if int(c) >= len(p) {
			return nil, fmt.Errorf("surgery: %w: class %d in a palette of %d colors", ErrLabel, c, len(p))
		}
		out.Pix[i] = uint8(c)
	}
	return out, nil
}

// Palette returns the first n colors, at most 256, of PASCAL VOC's table:
// black, dark red, dark green and so on, neighbors in the list being easy to
// tell apart. The bits of the index, three by three from the lowest, are the
// bits of red, green and blue from the highest.
func Palette(n int) color.Palette {
	p := make(color.Palette, min(max(n, 0), 256))
	for i := range p {
		c := color.NRGBA{A: 255}
		for bits, at := i, 7; bits > 0; bits, at = bits>>3, at-1 {
			c.R |= uint8(bits&1) << at
			c.G |= uint8(bits>>1&1) << at
			c.B |= uint8(bits>>2&1) << at
		}
		p[i] = c
	}
	return p
}
