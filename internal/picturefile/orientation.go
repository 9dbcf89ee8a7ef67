package picturefile

import (
	"bytes"
	"context"
	"regexp"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// orient settles the orientation as Pillow's getexif does: what EXIF says
// counts, also where it makes no sense; XMP where EXIF says nothing. Broken
// metadata is no reason to refuse a picture.
func (d *decoder) orient(exif, xmp []byte) {
	d.orientation = 1
	if o, ok := exifOrientation(exif); ok {
		d.orientation = o
	} else if o, ok := xmpOrientation(xmp); ok {
		d.orientation = o
	}
}

// exifOrientation reads the orientation of a block of EXIF, which is a TIFF file
// without pictures.
func exifOrientation(exif []byte) (int, bool) {
	for range 2 {
		exif = bytes.TrimPrefix(exif, []byte("Exif\x00\x00"))
	}
	t, err := openTIFF(exif)
	if err != nil {
		return 0, false
	}
	return t.orientation()
}

var xmpPattern = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

func xmpOrientation(xmp []byte) (int, bool) {
	m := xmpPattern.FindSubmatch(xmp)
	if m == nil {
		return 0, false
	}
	return int(m[1][0] - '0'), true
}

// upright undoes an orientation; the mode stays.
func upright(ctx context.Context, p *pix.Picture, orientation int) (*pix.Picture, error) {
	if orientation < 2 || orientation > 8 {
		return p, nil
	}
	w, h := p.Rect.Dx(), p.Rect.Dy()
	n := p.Mode.Channels()
	if orientation <= 4 {
		if orientation != 2 {
			flipRows(p)
		}
		if orientation != 4 {
			for y := range h {
				flipColumns(p.Row(y), n)
			}
		}
		return p, ctx.Err()
	}
	out := pix.NewPicture(p.Mode, h, w)
	out.Palette = p.Palette
	// 5 transposes, 6 turns clockwise, 7 transposes along the other diagonal, 8
	// turns counter-clockwise.
	left := orientation == 6 || orientation == 7  // columns come from the bottom up
	upper := orientation == 7 || orientation == 8 // rows come from the right
	const band = 64                               // columns that are read together
	for y0 := 0; y0 < w; y0 += band {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for x := range h {
			sy := x
			if left {
				sy = h - 1 - x
			}
			src := p.Row(sy)
			for y := y0; y < min(y0+band, w); y++ {
				sx := y
				if upper {
					sx = w - 1 - y
				}
				copy(out.Pix[y*out.Stride+x*n:][:n], src[sx*n:])
			}
		}
	}
	return out, nil
}

func flipRows(p *pix.Picture) {
	h := p.Rect.Dy()
	line := make([]uint8, p.Stride)
	for y := range h / 2 {
		a, b := p.Row(y), p.Row(h-1-y)
		copy(line, a)
		copy(a, b)
		copy(b, line)
	}
}

func flipColumns(row []uint8, n int) {
	for i, j := 0, len(row)-n; i < j; i, j = i+n, j-n {
		for c := range n {
			row[i+c], row[j+c] = row[j+c], row[i+c]
		}
	}
}

// orientation is that of the first directory.
func (t *tiffFile) orientation() (int, bool) {
	const tagOrientation = 274
	e, ok := t.entries[tagOrientation]
	if !ok {
		return 0, false
	}
	if e.count != 1 {
		return 1, true
	}
	v, err := t.ints(tagOrientation, 1)
	if err != nil || len(v) != 1 || v[0] > 8 {
		return 1, true
	}
	return int(v[0]), true
}
