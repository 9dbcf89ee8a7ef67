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

// ErrPicture reports a picture file that cannot be decoded, because its format
// is unknown, because it uses a part of its format that is not supported,
// because it is damaged, or because it is too large. The message says which;
// for an unknown format it lists the known ones.
var ErrPicture = picturefile.ErrPicture

// ErrPictureSize reports a picture without pixels or above the limit of
// [MaxPictureBytes]. Such an error is [ErrPicture] too.
var ErrPictureSize = pix.ErrSize

// DecodePicture reads a PNG, JPEG, GIF, WebP, BMP or TIFF picture as Pillow
// does: the container's whole picture (a GIF's logical screen with its first
// frame, the first picture of an animation or of several pages), upright
// according to EXIF or XMP, in Pillow's colors. It remembers the mode that
// Pillow gives the file (bilevel, palette, gray, CMYK, with alpha …), which
// decides how the models' preprocessing resizes it. The result's At method
// returns RGB colors, with non-premultiplied alpha where the file has alpha.
//
// See docs/formats.md for what is exact and what is refused in each format.
// Errors are [ErrPicture], [ErrPictureSize], those of r and that of the
// context. The whole file is read before it is decoded.
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

// OpenPicture is [DecodePicture] for a file. Its errors name the file.
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
