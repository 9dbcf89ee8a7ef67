package draw

import (
	"image/color"
	"math"
)

// BrightPalette returns n colors for drawing over pictures. None is dark or
// gray, which would look like shade. Hues advance by the golden angle, so that
// neighbors in the list differ clearly; saturation and value alternate.
func BrightPalette(n int) color.Palette {
	const golden = 0.618033988749895 // of a turn
	tones := [...][2]float64{{0.85, 1}, {0.5, 1}, {1, 0.65}, {0.7, 0.8}, {1, 0.9}}
	p := make(color.Palette, max(n, 0))
	for i := range p {
		_, turn := math.Modf(float64(i) * golden)
		tone := tones[i%len(tones)]
		p[i] = hsv(6*turn, tone[0], tone[1])
	}
	return p
}

// hsv is the color of a hue in sixths of a turn from red, a saturation and a
// value.
func hsv(hue, saturation, value float64) color.NRGBA {
	channel := func(from float64) uint8 {
		at := math.Mod(from+hue, 6)
		return uint8(math.Round(255 * value * (1 - saturation*max(0, min(at, 4-at, 1)))))
	}
	return color.NRGBA{channel(5), channel(3), channel(1), 255}
}
