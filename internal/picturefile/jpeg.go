package picturefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/jpeg"
	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// jpeg reads a JPEG file.
func (d *decoder) jpeg() (*pix.Picture, error) {
	c, err := jpeg.DecodeConfig(d.data)
	if err != nil {
		return nil, jpegError(err)
	}
	mode := map[int]pix.Mode{1: pix.ModeGray, 3: pix.ModeRGB, 4: pix.ModeCMYK}[c.Channels]
	if mode.Channels() != c.Channels {
		return nil, unsupported("%d channels", c.Channels)
	}
	if err := d.check(mode, c.Width, c.Height); err != nil {
		return nil, err
	}
	p, err := jpeg.Decode(d.ctx, d.data, d.maxBytes)
	if err != nil {
		return nil, jpegError(err)
	}
	if p.Config != c {
		return nil, broken("%v came out of a frame of %v", p.Config, c)
	}
	d.orient(jpegMetadata(d.data))
	return &pix.Picture{Mode: mode, Rect: image.Rect(0, 0, c.Width, c.Height), Stride: c.Width * c.Channels, Pix: p.Pix}, nil
}

// jpegError makes the package's errors an ErrPicture; a context's stays.
func jpegError(err error) error {
	switch {
	case errors.Is(err, jpeg.ErrLimit):
		return broken("%w: %w", pix.ErrSize, err)
	case errors.Is(err, jpeg.ErrFormat), errors.Is(err, jpeg.ErrUnsupported):
		return broken("%w", err)
	}
	return err
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
