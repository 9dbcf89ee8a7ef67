package draw

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"slices"

	"github.com/clipsurgery/clipsurgery/vit"
	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
)

const (
	sentencePad   = 4
	sentenceLine  = 26
	sentenceSpace = 5
)

// Sentence draws the tokens of a text on colored ground, from the lowest color
// for the least supported token to the highest for the best supported one, in
// lines of at most width pixels. The start token is left out, and the end token
// is drawn as "[end]". support has a number for each token. Of the options it
// uses [Colors].
func Sentence(t *vit.TextTokens, support []float32, width int, opts ...Option) (*image.NRGBA, error) {
	if len(support) != len(t.Pieces) || len(support) < 2 {
		return nil, fmt.Errorf("draw: %w: %d numbers for %d tokens", ErrSize, len(support), len(t.Pieces))
	}
	face, err := captionFace()
	if err != nil {
		return nil, err
	}
	defer face.Close()
	r, err := newRenderer(opts)
	if err != nil {
		return nil, err
	}
	values := stretched(support[1:])

	type box struct {
		text string
		at   image.Rectangle
		v    float32
	}
	var boxes []box
	x, y, widest := sentencePad, sentencePad, 0
	for i, v := range values {
		piece, space := t.Pieces[1+i], sentenceSpace
		if i == len(values)-1 {
			piece = "[end]"
		} else if i > 0 && t.Word[1+i] == t.Word[i] {
			space = 0 // the same word goes on
		}
		piece = fit(face, piece, width-2*sentencePad)
		w := font.MeasureString(face, piece).Ceil() + 2
		if x += space; i == 0 {
			x = sentencePad
		}
		if x+w+sentencePad > width && x > sentencePad {
			x, y = sentencePad, y+sentenceLine
		}
		boxes = append(boxes, box{piece, image.Rect(x, y, x+w, y+sentenceLine-4), v})
		x += w
		widest = max(widest, x+sentencePad)
	}
	out := image.NewNRGBA(image.Rect(0, 0, max(widest, 1), y+sentenceLine+sentencePad))
	draw.Draw(out, out.Rect, image.White, image.Point{}, draw.Src)
	for _, b := range boxes {
		ground := r.colors.At(b.v)
		draw.Draw(out, b.at, image.NewUniform(ground), image.Point{}, draw.Src)
		d := font.Drawer{Dst: out, Src: image.NewUniform(ink(ground)), Face: face,
			Dot: fixed.P(b.at.Min.X+1, b.at.Max.Y-6)}
		d.DrawString(b.text)
	}
	return out, nil
}

// ink is black or white, whichever stands out from the ground.
func ink(ground color.NRGBA) color.Color {
	if 299*int(ground.R)+587*int(ground.G)+114*int(ground.B) > 128*1000 {
		return color.Black
	}
	return color.White
}

// stretched maps the smallest of values to 0 and the largest to 1; all to 0
// where they are alike and none stands out.
func stretched(values []float32) []float32 {
	out := make([]float32, len(values))
	lo, hi := slices.Min(values), slices.Max(values)
	if !(hi > lo) || math.IsInf(float64(hi-lo), 0) {
		return out
	}
	for i, v := range values {
		out[i] = (v - lo) / (hi - lo)
	}
	return out
}
