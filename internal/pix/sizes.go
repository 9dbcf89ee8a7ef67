package pix

import (
	"fmt"
	"image"
	"math"
)

// ShortSide returns the size of a picture whose shorter side becomes n, as
// torchvision's Resize(n) has it: the longer side is int(n·long/short), and no
// longer than 2³¹-1.
func ShortSide(size image.Point, n int) image.Point {
	long := func(a, b int) int { return int(min(int64(n)*int64(a)/int64(b), math.MaxInt32)) }
	if size.X <= size.Y {
		return image.Pt(n, long(size.Y, size.X))
	}
	return image.Pt(long(size.X, size.Y), n)
}

// CenterCrop is the target of CLIP's own classification transform: the shorter
// side resized to n, the n × n pixels in the middle kept.
// Source: torchvision Resize and CenterCrop, openai/CLIP clip/clip.py:_transform.
func CenterCrop(size image.Point, n int, f Filter) (Target, error) {
	if err := CheckSize(size.X, size.Y); err != nil {
		return Target{}, err
	}
	size = ShortSide(size, n)
	return Target{size, CropRect(size, n), f}, nil
}

// CropRect is the middle n × n of a picture, offsets rounded half to even.
func CropRect(size image.Point, n int) image.Rectangle {
	at := image.Pt(int(math.RoundToEven(float64(size.X-n)/2)), int(math.RoundToEven(float64(size.Y-n)/2)))
	return image.Rectangle{at, at.Add(image.Pt(n, n))}
}

// LongestSide returns the size of a picture whose longest side becomes n. A
// picture so thin that a side would vanish is an error.
// Source: facebookresearch/segment-anything utils/transforms.py:get_preprocess_shape.
func LongestSide(size image.Point, n int) (image.Point, error) {
	if err := CheckSize(size.X, size.Y); err != nil {
		return image.Point{}, err
	}
	scale := float64(n) / float64(max(size.X, size.Y))
	out := image.Pt(int(float64(size.X)*scale+0.5), int(float64(size.Y)*scale+0.5))
	if out.X < 1 || out.Y < 1 {
		return out, fmt.Errorf("%w: %d×%d is too thin for a longest side of %d", ErrSize, size.X, size.Y, n)
	}
	return out, CheckSize(out.X, out.Y)
}
