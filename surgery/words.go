package surgery

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"github.com/clipsurgery/clipsurgery/vit"
	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
)

// Words says where a picture supports each token of a sentence: label-set
// surgery of the image features with the features of all tokens before pooling,
// a column for each token from the start token to the end token. A token's
// feature is what the sentence up to it means, and the end token's is the
// whole sentence's. As in the paper, it is the end token that pictures tend to
// support most, and words without a thing of their own ("in", a comma) often
// more than the nouns before them, whose meaning they carry on.
// Source: the multimodal visualisation of the paper, after xmed-lab/CLIP_Surgery
// issue 5.
func Words(f *vit.Features, t *vit.TextTokens) (*Scores, error) { return FeatureSurgery(f, t.Features) }

// Support is the largest score of a cell for each text: how much the picture
// supports it anywhere.
func (s *Scores) Support() []float32 {
	out := make([]float32, s.Cols)
	for i := 1; i < s.Rows; i++ {
		for c, v := range s.Data[i*s.Stride : i*s.Stride+s.Cols] {
			if i == 1 || v > out[c] {
				out[c] = v
			}
		}
	}
	return out
}

const (
	sentencePad   = 4
	sentenceLine  = 26
	sentenceSpace = 5
)

// Sentence draws the tokens of a text on coloured ground, the least supported
// of them with the lowest colour and the best with the highest, in lines of at
// most width pixels. The start token is left out, and the end token is drawn
// as "[end]". support has a number for each token. Of the options, [Colors]
// counts.
func Sentence(t *vit.TextTokens, support []float32, width int, opts ...RenderOption) (*image.NRGBA, error) {
	if len(support) != len(t.Pieces) || len(support) < 2 {
		return nil, fmt.Errorf("surgery: %w: %d numbers for %d tokens", ErrLabel, len(support), len(t.Pieces))
	}
	face, err := captionFace()
	if err != nil {
		return nil, err
	}
	defer face.Close()
	r := newRenderer(opts)
	values := append([]float32(nil), support[1:]...)
	if err := stretch(values); err != nil {
		clear(values) // all alike: none stands out
	}

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
