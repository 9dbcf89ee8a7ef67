package picturefile

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// jpeg reads a JPEG file.
func (d *decoder) jpeg() (*pix.Picture, error) {
	c, err := jpeg.DecodeConfig(bytes.NewReader(d.data))
	if err != nil {
		return nil, truncated("header", err)
	}
	if err := d.check(pix.ModeRGB, c.Width, c.Height); err != nil {
		return nil, err
	}
	img, err := jpeg.Decode(contextReader{d.ctx, bytes.NewReader(d.data)})
	if err != nil {
		return nil, truncated("pixel data", err)
	}
	d.orient(jpegMetadata(d.data))
	if m, ok := img.(*image.CMYK); ok {
		return &pix.Picture{Mode: pix.ModeCMYK, Rect: m.Rect, Stride: m.Stride, Pix: m.Pix}, nil
	}
	if m, ok := img.(*image.Gray); ok {
		return &pix.Picture{Mode: pix.ModeGray, Rect: m.Rect, Stride: m.Stride, Pix: m.Pix}, nil
	}
	rgb, err := pix.ToRGB(d.ctx, img)
	if err != nil {
		return nil, err
	}
	return &pix.Picture{Mode: pix.ModeRGB, Rect: image.Rect(0, 0, rgb.Width, rgb.Height), Stride: 3 * rgb.Width, Pix: rgb.Pix}, nil
}

// jpegMetadata finds the first EXIF and XMP before the pixels.
func jpegMetadata(data []byte) (exif, xmp []byte) {
	const app1, startOfScan, endOfImage = 0xe1, 0xda, 0xd9
	for i := 2; i+4 <= len(data); {
		if data[i] != 0xff {
			i++
			continue
		}
		marker := data[i+1]
		if marker == 0xff {
			i++
			continue
		}
		if marker == 0 || marker == 1 || marker >= 0xd0 && marker <= 0xd8 {
			i += 2
			continue
		}
		if marker == startOfScan || marker == endOfImage {
			break
		}
		n := int(binary.BigEndian.Uint16(data[i+2:]))
		if n < 2 || i+2+n > len(data) {
			break
		}
		body := data[i+4 : i+2+n]
		if rest, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00")); ok && marker == app1 && exif == nil {
			exif = rest
		}
		if rest, ok := bytes.CutPrefix(body, []byte("http://ns.adobe.com/xap/1.0/\x00")); ok && marker == app1 {
			xmp = rest
		}
		i += 2 + n
	}
	return exif, xmp
}
