package pix

import (
	"context"
	"errors"
	"fmt"
	"image"
)

// ErrSize reports a picture without pixels, or too large to work on.
var ErrSize = errors.New("picture size")

// MaxPixels is the largest picture that is accepted, given or asked for. It
// keeps a hostile header or a thin picture from taking the machine's memory.
const MaxPixels = 1 << 28

// RGB is a picture of 8-bit red, green and blue, row by row. Its pixels may be
// those of the picture that it was made of, so they are only read.
type RGB struct {
	Width, Height int
	Pix           []uint8 // 3·Width·Height
}

// CheckSize rejects pictures without pixels and enormous ones.
func CheckSize(width, height int) error {
	if width < 1 || height < 1 || width > MaxPixels/height {
		return fmt.Errorf("%w: %d×%d", ErrSize, width, height)
	}
	return nil
}

// Size is the size of a picture that is there and is not too large.
func Size(img image.Image) (image.Point, error) {
	if isNil(img) {
		return image.Point{}, fmt.Errorf("%w: the picture is nil", ErrSize)
	}
	size := img.Bounds().Size()
	return size, CheckSize(size.X, size.Y)
}

// ToRGB converts a picture as Pillow's convert("RGB") does: alpha is
// dropped without compositing, palettes are looked up, 16 bits lose their lower
// byte. [image.YCbCr] is converted as libjpeg does, [image.NYCbCrA] as libwebp.
func ToRGB(ctx context.Context, img image.Image) (*RGB, error) {
	return (*Scratch)(nil).ToRGB(ctx, img)
}

// ToRGB is [ToRGB] in memory of s.
func (s *Scratch) ToRGB(ctx context.Context, img image.Image) (*RGB, error) {
	r, err := rasterOf(ctx, s, img)
	if err != nil {
		return nil, err
	}
	if r.mode == ModeRGB && r.stride == 3*r.width {
		return &RGB{r.width, r.height, r.pix[:3*r.width*r.height]}, nil
	}
	return r.rgb(ctx, image.Rect(0, 0, r.width, r.height))
}

// Image returns r as an image of the standard library, with pixels of its own.
func (r *RGB) Image() *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, r.Width, r.Height))
	for i := range r.Width * r.Height {
		copy(out.Pix[4*i:], r.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 255
	}
	return out
}

// Planes stores (v·scale - mean)/std of every channel in dst, 3 × height ×
// width; scale is 1/255 for CLIP (torchvision's ToTensor divides by 255, then
// normalizes) and 1 for SAM.
func (r *RGB) Planes(dst []float32, unit bool, mean, std [3]float32) {
	n := r.Width * r.Height
	for c := range 3 {
		var table [256]float32
		for v := range table {
			x := float32(v)
			if unit {
				x /= 255
			}
			table[v] = (x - mean[c]) / std[c]
		}
		plane := dst[c*n : (c+1)*n]
		for i := range plane {
			plane[i] = table[r.Pix[3*i+c]]
		}
	}
}
