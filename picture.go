package clipsurgery

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"

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

// PictureOption changes how [DecodePicture] and [OpenPicture] work.
type PictureOption func(*pictureOptions)

type pictureOptions struct {
	ctx      context.Context
	maxBytes int64
}

// MaxPictureBytes limits pictures to n bytes of pixels in 8 bits a channel, and
// their files to as many. The default is 512 MiB: 178 million pixels of RGB, 134
// million of RGBA or CMYK. Decoding takes up to about twice as much. Pictures
// of more than 2^28 pixels are refused whatever the limit.
func MaxPictureBytes(n int64) PictureOption { return func(o *pictureOptions) { o.maxBytes = n } }

// PictureContext ends decoding when ctx does, with its error.
func PictureContext(ctx context.Context) PictureOption {
	return func(o *pictureOptions) { o.ctx = ctx }
}

// DecodePicture reads a PNG, JPEG, GIF, WebP, BMP or TIFF picture as Pillow does:
// the container's whole picture (a GIF's logical screen with its first frame,
// the first picture of an animation or of several pages), upright as EXIF or XMP
// tells, in Pillow's colours. It remembers the mode that Pillow gives the file
// (bilevel, palette, grey, CMYK, with alpha …), which decides how the models'
// preprocessing resizes it. At returns colours converted to RGB, with alpha not
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
	for _, opt := range opts {
		opt(&o)
	}
	if o.ctx == nil || o.maxBytes < 1 {
		return nil, fmt.Errorf("clipsurgery: %w", errors.Join(ErrPicture, errors.New("a context and a limit of at least a byte are needed")))
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
