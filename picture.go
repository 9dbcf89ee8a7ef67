package clipsurgery

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"

	"github.com/clipsurgery/clipsurgery/internal/option"
	"github.com/clipsurgery/clipsurgery/internal/picturefile"
	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// ErrPicture reports a picture file that cannot be decoded: of an unknown format,
// of a kind of its format that is not supported, broken, or too large. The
// message names what is the matter, and of an unknown format those that are
// known.
var ErrPicture = picturefile.ErrPicture

// ErrPictureSize reports a picture without pixels, or larger than the limit, see
// [MaxPictureBytes]. It always comes with [ErrPicture].
var ErrPictureSize = pix.ErrSize

// DecodePicture reads a PNG, JPEG, GIF, WebP, BMP or TIFF picture as Pillow does:
// the container's whole picture (a GIF's logical screen with its first frame,
// the first picture of an animation or of several pages), upright as EXIF or XMP
// tells, in Pillow's colors. It remembers the mode that Pillow gives the file
// (bilevel, palette, gray, CMYK, with alpha …), which decides how the models'
// preprocessing resizes it. At returns colors converted to RGB, with alpha not
// premultiplied where the file has it.
//
// What is exact for which format, and what is refused, is in docs/formats.md.
// Errors are [ErrPicture], [ErrPictureSize], those of r, and of the context. The
// file is read whole before it is decoded.
func DecodePicture(r io.Reader, opts ...PictureOption) (image.Image, error) {
	if r == nil {
		return nil, fmt.Errorf("clipsurgery: %w: the reader is nil", ErrPicture)
	}
	o := pictureOptions{context.Background(), picturefile.MaxBytes}
	if err := option.Apply(&o, opts, PictureOption.picture); err != nil {
		return nil, fmt.Errorf("clipsurgery: %w", err)
	}
	p, err := picturefile.Decode(o.ctx, r, o.maxBytes)
	if err != nil {
		return nil, fmt.Errorf("clipsurgery: %w", err)
	}
	return p, nil
}

// OpenPicture is [DecodePicture] of a file. Its errors name the file.
func OpenPicture(path string, opts ...PictureOption) (image.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("clipsurgery: %w", err)
	}
	defer f.Close()
	img, err := DecodePicture(f, opts...)
	if err != nil {
		return nil, fmt.Errorf("clipsurgery: %s: %w", path, errors.Unwrap(err))
	}
	return img, nil
}
