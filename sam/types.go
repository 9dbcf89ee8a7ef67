package sam

import (
	"context"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
)

// Prompt says what to cut out: points, a box, both, or nothing at all, and
// optionally a mask to start from. The zero Prompt is valid.
type Prompt struct {
	Points []Point
	Box    *Box
	Mask   *LowRes // logits of an earlier result, or those of [Embedding.MaskPrompt]
	Single bool    // one mask instead of three guesses, for prompts that are not ambiguous
}

// Point is a click, in pixels of the original picture. It may lie outside the
// picture, as in the reference; coordinates that are not finite are
// [ErrPrompt].
type Point struct {
	X, Y  float32
	Label Label
}

// Label says whether a point lies on the object; its values are those of the
// checkpoints.
type Label int8

const (
	Background Label = 0 // beside the object
	Foreground Label = 1 // on the object
)

// Box is two corners in pixels of the original picture, X0 <= X1 and
// Y0 <= Y1.
type Box struct{ X0, Y0, X1, Y1 float32 }

// LowRes is a mask as the decoder predicts it: Height × Width logits,
// row-major, that cover the padded square of the model's input; 256 × 256 for
// the published models.
type LowRes struct {
	Width, Height int
	Data          []float32
}

// Clicks makes a prompt from points on an object and beside it, such as those
// that package surgery finds for a text.
func Clicks(foreground, background []image.Point) Prompt {
	p := Prompt{Points: make([]Point, 0, len(foreground)+len(background))}
	for _, q := range foreground {
		p.Points = append(p.Points, Point{float32(q.X), float32(q.Y), Foreground})
	}
	for _, q := range background {
		p.Points = append(p.Points, Point{float32(q.X), float32(q.Y), Background})
	}
	return p
}

// Result is what the model predicts for one prompt: one mask or three, in the
// model's order, which is not the order of their quality.
type Result struct {
	Masks  []Mask   // at the size of the picture, each with its predicted IoU
	LowRes []LowRes // the same as logits; one may be the Mask of another prompt

	// ObjectLogit says whether the prompt names an object at all: above 0 if so.
	// SAM 1 does not predict it; there it is +Inf.
	ObjectLogit float32

	up    *upsampler
	model *Model    // whose kernel and workers Logits uses
	raw   []float32 // all of LowRes, not clamped
}

// Best returns the mask with the highest predicted IoU, the first of equals.
func (r Result) Best() Mask {
	var best Mask
	for i, m := range r.Masks {
		if i == 0 || m.IoU > best.IoU {
			best = m
		}
	}
	return best
}

// Logits returns mask i before the threshold of 0: a logit for each pixel of
// the picture, row by row. It is nil for a result that no model predicted and
// for a mask that is not there.
func (r Result) Logits(i int) []float32 {
	if r.model == nil || i < 0 || i >= len(r.LowRes) {
		return nil
	}
	x, err := nn.Take(context.Background(), r.model.kernel, r.model.workers)
	if err != nil {
		return nil // which needs a context that ends
	}
	defer x.Team.Close()
	n := r.up.side * r.up.side
	return r.up.logits(x, r.raw[i*n:(i+1)*n])
}
