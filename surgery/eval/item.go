package eval

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"io/fs"

	"github.com/clipsurgery/clipsurgery/internal/picturefile"
	"github.com/clipsurgery/clipsurgery/surgery"
)

// Item is one picture of a data set. Nothing is read before it is asked for.
type Item struct {
	Name string
	// Picture decodes the picture.
	Picture func() (image.Image, error)
	// Truth decodes what it shows.
	Truth func() (Truth, error)
}

// picture reads a picture of fsys.
func picture(fsys fs.FS, name string) (image.Image, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	defer f.Close()
	img, err := picturefile.Decode(context.Background(), f, picturefile.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("eval: %s: %w", name, err)
	}
	return img, nil
}

// maxLabelFile bounds the file of a label map, which is read whole.
const maxLabelFile = 256 << 20

// ReadLabels reads a label map: a PNG file whose color indices, or whose gray
// values of 8 or 16 bits, are the classes. 255 of 8 bits and 65535 of 16 are
// [surgery.Ignore].
func ReadLabels(fsys fs.FS, name string) (*surgery.LabelMap, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	if info.Size() > maxLabelFile {
		return nil, fmt.Errorf("eval: %s: %w: label map of %d bytes, at most %d are read", name, ErrFormat, info.Size(), maxLabelFile)
	}
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	m, err := decodeLabels(data)
	if err != nil {
		return nil, fmt.Errorf("eval: %s: %w", name, err)
	}
	return m, nil
}

func decodeLabels(data []byte) (*surgery.LabelMap, error) {
	config, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := checkSize(config.Width, config.Height); err != nil {
		return nil, err
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	m := surgery.NewLabelMap(image.Pt(config.Width, config.Height))
	small := func(pix []uint8, stride int) {
		for i := range m.Labels {
			v := uint16(pix[i/m.Width*stride+i%m.Width])
			if v == 255 {
				v = surgery.Ignore
			}
			m.Labels[i] = v
		}
	}
	switch img := img.(type) {
	case *image.Paletted:
		small(img.Pix, img.Stride)
	case *image.Gray:
		small(img.Pix, img.Stride)
	case *image.Gray16:
		for i := range m.Labels {
			at := i/m.Width*img.Stride + i%m.Width*2
			m.Labels[i] = uint16(img.Pix[at])<<8 | uint16(img.Pix[at+1])
		}
	default:
		return nil, fmt.Errorf("%w: want a palette or gray picture as a label map, got %T", ErrFormat, img)
	}
	return m, nil
}

// maxPixels bounds label maps.
const maxPixels = 1 << 26

func checkSize(width, height int) error {
	if width < 1 || height < 1 || width > maxPixels/height {
		return fmt.Errorf("%w: a picture of %d×%d pixels", ErrFormat, width, height)
	}
	return nil
}
