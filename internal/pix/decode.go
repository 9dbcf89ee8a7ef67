package pix

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	_ "image/gif" // formats that Decode knows
	_ "image/jpeg"
	_ "image/png"
	"io"

	"github.com/bep/imagemeta"
	_ "golang.org/x/image/bmp"
	"golang.org/x/image/riff"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"
)

// Decode reads a PNG, JPEG, GIF (first frame), WebP, BMP or TIFF picture and
// turns it upright as its EXIF orientation says, read by bep/imagemeta. Colours
// are those that Pillow shows: of JPEG and WebP converted as libjpeg and libwebp
// do; what Go's decoder and libjpeg do differently before that (the inverse
// DCT) stays. A picture of more than MaxPixels is ErrSize, before it is decoded.
func Decode(r io.Reader) (image.Image, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	config, format, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if err := checkSize(config.Width, config.Height); err != nil {
		return nil, err
	}
	img, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", format, err)
	}
	switch m := img.(type) {
	case *image.YCbCr:
		if format == "webp" {
			img = fromVP8(m).Image()
		} else {
			img = fromYCbCr(nil, m).Image()
		}
	case *image.NYCbCrA:
		out := fromVP8(&m.YCbCr).Image()
		for i := range len(out.Pix) / 4 {
			out.Pix[4*i+3] = m.A[i/config.Width*m.AStride+i%config.Width]
		}
		img = out
	default:
		if format == "png" && isPlain(data) {
			img = withoutKey(img)
		}
	}
	return upright(img, orientation(data, format)), nil
}

// isPlain says whether the pixels of a PNG file are samples of grey or RGB, of
// more than a bit, without an alpha channel.
func isPlain(data []byte) bool {
	const depth, colour = 24, 25 // where the header has them
	const grey, rgb = 0, 2
	return len(data) > colour && data[depth] > 1 && (data[colour] == grey || data[colour] == rgb)
}

// withoutKey returns a plain picture without what Go makes of the one colour
// that its file may call transparent, which Pillow ignores, and in a type that
// tells a grey picture that happens to be black and white from one of single
// bits.
func withoutKey(img image.Image) image.Image {
	r, _, err := channels(nil, img)
	if err != nil {
		return img
	}
	return r.rgb().Image()
}

// orientation returns the EXIF orientation, 1 to 8; 1 where none is told or
// the metadata is broken, which is no reason to refuse a picture.
func orientation(data []byte, format string) int {
	formats := map[string]imagemeta.ImageFormat{
		"jpeg": imagemeta.JPEG, "png": imagemeta.PNG, "webp": imagemeta.TIFF, "tiff": imagemeta.TIFF,
	}
	f, ok := formats[format]
	if !ok {
		return 1
	}
	if format == "webp" {
		data = exifOfWebP(data)
	}
	found := 1
	_, err := imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(data), ImageFormat: f, Sources: imagemeta.EXIF,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool { return t.Tag == "Orientation" && t.Namespace == "IFD0" },
		HandleTag: func(t imagemeta.TagInfo) error {
			switch v := t.Value.(type) {
			case uint16:
				found = int(v)
			case uint32:
				found = int(v)
			}
			return nil
		},
	})
	if err != nil || found < 1 || found > 8 {
		return 1
	}
	return found
}

// exifOfWebP returns the EXIF chunk, which is a TIFF file without pictures, of
// a WebP file. The library would miss it behind a chunk of odd length.
func exifOfWebP(data []byte) []byte {
	_, chunks, err := riff.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	for {
		id, _, chunk, err := chunks.Next()
		if err != nil {
			return nil
		}
		if id == (riff.FourCC{'E', 'X', 'I', 'F'}) {
			exif, _ := io.ReadAll(chunk) // what is there of a broken file
			return bytes.TrimPrefix(exif, []byte("Exif\x00\x00"))
		}
	}
}

// upright undoes an EXIF orientation.
func upright(img image.Image, orientation int) image.Image {
	if orientation == 1 {
		return img
	}
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	if orientation >= 5 {
		w, h = h, w
	}
	src, ok := img.(*image.NRGBA)
	if !ok {
		src = image.NewNRGBA(b)
		draw.Draw(src, b, img, b.Min, draw.Src)
	}
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			sx, sy := x, y
			switch orientation {
			case 2:
				sx = w - 1 - x
			case 3:
				sx, sy = w-1-x, h-1-y
			case 4:
				sy = h - 1 - y
			case 5:
				sx, sy = y, x
			case 6:
				sx, sy = y, w-1-x
			case 7:
				sx, sy = h-1-y, w-1-x
			case 8:
				sx, sy = h-1-y, x
			}
			copy(out.Pix[out.PixOffset(x, y):][:4], src.Pix[src.PixOffset(b.Min.X+sx, b.Min.Y+sy):])
		}
	}
	return out
}
