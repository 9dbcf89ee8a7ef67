package draw

import (
	"cmp"
	"image"
	"image/color"
	"math"
	"slices"

	"github.com/clipsurgery/clipsurgery/sam"
)

// line is how wide a line is on a picture, in pixels.
func line(img image.Image) int {
	size := img.Bounds().Size()
	return max(1, max(size.X, size.Y)/400)
}

// Masks draws masks half transparent with an opaque edge, large ones first so
// that none hides a smaller one. Mask i has color i; a palette with fewer colors
// begins again, and an empty one stands for [BrightPalette]. A nil canvas stays
// nil.
func Masks(on *image.NRGBA, masks []sam.Mask, colors color.Palette) {
	if on == nil {
		return
	}
	if len(colors) == 0 {
		colors = BrightPalette(len(masks))
	}
	order := make([]int, len(masks))
	areas := make([]int, len(masks))
	for i := range order {
		order[i], areas[i] = i, masks[i].Area()
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(areas[j], areas[i]) })
	w := line(on)
	for _, i := range order {
		a, c := masks[i].Alpha(), color.NRGBAModel.Convert(colors[i%len(colors)]).(color.NRGBA)
		b := masks[i].Bounds().Intersect(on.Rect)
		out := func(x, y int) bool { return a.AlphaAt(x, y).A == 0 }
		for y := b.Min.Y; y < b.Max.Y; y++ {
			for x := b.Min.X; x < b.Max.X; x++ {
				if out(x, y) {
					continue
				}
				p := on.Pix[on.PixOffset(x, y):][:3:3]
				if out(x-w, y) || out(x+w, y) || out(x, y-w) || out(x, y+w) {
					p[0], p[1], p[2] = c.R, c.G, c.B
				} else {
					p[0], p[1], p[2] = p[0]/2+c.R/2, p[1]/2+c.G/2, p[2]/2+c.B/2
				}
			}
		}
	}
}

// CutOut darkens all pixels outside of a mask and draws a bright line around it.
func CutOut(img image.Image, mask sam.Mask) (*image.NRGBA, error) {
	on, err := Canvas(img)
	if err != nil {
		return nil, err
	}
	a, w := mask.Alpha(), line(on)
	in := func(x, y int) bool { return a.AlphaAt(x, y).A > 0 }
	for y := range on.Rect.Dy() {
		for x := range on.Rect.Dx() {
			p := on.Pix[on.PixOffset(x, y):][:3:3]
			switch {
			case in(x, y):
			case in(x-w, y) || in(x+w, y) || in(x, y-w) || in(x, y+w):
				p[0], p[1], p[2] = 255, 200, 0
			default:
				p[0], p[1], p[2] = p[0]/3, p[1]/3, p[2]/3
			}
		}
	}
	return on, nil
}

// Dots draws points as discs with a white rim. A nil canvas stays nil.
func Dots(on *image.NRGBA, points []image.Point, c color.NRGBA) {
	if on == nil {
		return
	}
	size := on.Rect.Size()
	r := max(2, float64(max(size.X, size.Y))/100)
	rim := float64(line(on))
	n := int(math.Ceil(r + rim))
	for _, p := range points {
		for dy := -n; dy <= n; dy++ {
			for dx := -n; dx <= n; dx++ {
				at := p.Add(image.Pt(dx, dy))
				if d := math.Hypot(float64(dx), float64(dy)); at.In(on.Rect) && d <= r+rim {
					if d <= r {
						on.SetNRGBA(at.X, at.Y, c)
					} else {
						on.SetNRGBA(at.X, at.Y, color.NRGBA{255, 255, 255, 255})
					}
				}
			}
		}
	}
}

// Frame draws the edges of a rectangle, inside it. A nil canvas stays nil.
func Frame(on *image.NRGBA, r image.Rectangle, c color.NRGBA) {
	if on == nil {
		return
	}
	inner := r.Inset(line(on))
	r = r.Intersect(on.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if !image.Pt(x, y).In(inner) {
				on.SetNRGBA(x, y, c)
			}
		}
	}
}
