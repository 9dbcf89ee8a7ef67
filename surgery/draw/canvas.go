package draw

import (
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// ErrSize reports a picture without pixels, or a map, mask or list whose size
// does not match.
var ErrSize = errors.New("sizes do not fit")

// ErrOption reports a meaningless option.
var ErrOption = errors.New("option")

// Canvas returns a copy of a picture to draw on: opaque, its corner at (0, 0),
// with the colors that the models see.
func Canvas(img image.Image) (*image.NRGBA, error) {
	if img == nil {
		return nil, fmt.Errorf("draw: %w: the picture is nil", ErrSize)
	}
	rgb, err := pix.ToRGB(context.Background(), img)
	if err != nil {
		return nil, fmt.Errorf("draw: %w: %w", ErrSize, err)
	}
	return rgb.Image(), nil
}
