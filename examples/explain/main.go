// Explain shows where CLIP sees words in a picture: raw maps, CLIP Surgery's,
// the same at a higher resolution, and single texts. It is the first four parts
// of the reference's demo.
//
//	go run ./examples/explain
//	go run ./examples/explain -clip FILE -image PICTURE -labels "person,bench" [-size 512] [-text shoes]
//
// Without flags it runs the embedded demo model on embedded scenes.
package main

import (
	"context"
	"flag"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
)

var (
	checkpoint = cli.CLIPFlag()
	images     = cli.ImageFlag()
	labels     = cli.TextsFlag("labels", "labels; default: the nouns of the scenes, or of all of them for -image")
	singles    = cli.TextsFlag("text", "texts explained one by one; default: the labels")
	size       = cli.SizeFlag("side of the larger input", "twice the model's own")
	raw        = flag.Bool("raw", true, "draw raw CLIP's maps too")
	colors     = cli.ColorsFlag("jet")
	templates  = cli.TemplatesFlag()
	out        = cli.OutFlag()
)

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	clock := cli.NewClock()
	clip, err := checkpoint.Open(ctx)
	if err != nil {
		return err
	}
	pictures, err := images.Open(0, 1, 2, 3)
	if err != nil {
		return err
	}
	clock.Lap("load")
	t := question()
	if err := t.encode(ctx, clip); err != nil {
		return err
	}
	clock.Lap("texts")
	if *size == 0 {
		*size = 2 * clip.Config().Vision.Size().X
	}
	s := newSheet()
	for _, p := range pictures {
		maps, err := explain(ctx, clip, p, t)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		clock.Lap("maps")
		if err := s.draw(p, t, maps); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		clock.Lap("drawing")
	}
	file, err := s.save()
	if err != nil {
		return err
	}
	fmt.Printf("\nall maps: %s\n%s; kernel %s\n", file, clock, simd.Best())
	return nil
}

// explained is a column of the sheet: scores of labels by one method.
type explained struct {
	method string
	labels []string
	scores *surgery.Scores
}

// explain runs the image tower and compares the cells with the texts. The first
// result is raw CLIP's, whose class row scores the labels for the whole picture.
// A label that is alone has no set to be told apart from: it is explained as a
// single text only.
func explain(ctx context.Context, clip *vit.CLIP, img image.Image, t *texts) ([]explained, error) {
	native, err := clip.EncodePlans(ctx, img, []vit.Plan{surgery.Raw(), surgery.CLIPSurgery()})
	if err != nil {
		return nil, err
	}
	plain, err := surgery.Similarity(native[0], t.set)
	if err != nil {
		return nil, err
	}
	all := []explained{{"raw CLIP", t.labels, plain}}
	if len(t.labels) > 1 {
		large, err := clip.EncodeImage(ctx, img, vit.Resize(*size), vit.Operate(surgery.CLIPSurgery()))
		if err != nil {
			return nil, err
		}
		for i, features := range []*vit.Features{native[1], large} {
			scores, err := surgery.FeatureSurgery(features, t.set)
			if err != nil {
				return nil, err
			}
			method := []string{"surgery", fmt.Sprintf("surgery %d px", *size)}[i]
			all = append(all, explained{method, t.labels, scores})
		}
	}
	alone, err := surgery.RemoveRedundant(native[1], t.each, t.empty)
	if err != nil {
		return nil, err
	}
	return append(all, explained{"single text", t.singles, alone}), nil
}
