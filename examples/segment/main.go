// Segment cuts objects out of a picture: those that texts name, by the last
// three parts of the reference's demo (points from a label set, from single
// texts, from combined texts), and those that clicks and a box show.
//
//	go run ./examples/segment
//	go run ./examples/segment -clip FILE -sam FILE -image PICTURE -size 512 -labels "bench, person" -among "grass, sky" -combine "person+bench"
//	go run ./examples/segment -sam FILE -image PICTURE -points "450,300,+;600,100,-" -box 40,30,236,124
//
// Without flags it runs the embedded demo models on embedded scenes.
package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"strings"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/simd"
)

var (
	clipFlag = cli.CLIPFlag()
	samFlag  = cli.SAMFlag()
	images   = cli.ImageFlag()

	labels  = cli.TextsFlag("labels", "labels to cut out, told apart from each other")
	among   = cli.TextsFlag("among", "further labels that -labels are told apart from")
	singles = cli.TextsFlag("text", "single texts to cut out")
	combine = flag.String("combine", "", `texts to cut out as one object, "person+bench"`)
	points  = flag.String("points", "", `clicks on (+) and beside (-) an object, "x,y,+;x,y,-", in pixels of the picture`)
	box     = flag.String("box", "", "box around an object, x0,y0,x1,y1")

	size       = cli.SizeFlag("side of CLIP's input, 512 in the reference's demo", "the model's own")
	components = flag.Bool("components", false, "prompt for each part of a heat map by itself")
	rerank     = flag.Bool("rerank", false, "let the heat map choose among SAM's guesses")
	presence   = flag.Float64("min-presence", math.Inf(-1), "least presence of a label that is cut out")
	templates  = cli.TemplatesFlag()
	out        = cli.OutFlag()
)

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	clock := cli.NewClock()
	asked, err := questionOfFlags()
	if err != nil {
		return err
	}
	pictures, err := images.Open(0, 1, 4, 13)
	if err != nil {
		return err
	}
	m, err := load(ctx, asked)
	if err != nil {
		return err
	}
	clock.Lap("load")
	s := newSheets()
	for _, p := range pictures {
		q := asked
		if q.empty() {
			q = questionOfScene(p.Scene)
		}
		if err := m.segment(ctx, p, q, s); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		clock.Lap("pictures")
	}
	if err := s.table.Flush(); err != nil {
		return err
	}
	fmt.Printf("\nsheets: %s\n%s; kernel %s\n", strings.Join(s.files, ", "), clock, simd.Best())
	return nil
}

// segment answers all questions about one picture, which SAM encodes once.
func (m *models) segment(ctx context.Context, p cli.Picture, q question, s *sheets) error {
	e, err := m.sam.Encode(ctx, p, sam.WithProgress(cli.Progress("picture")))
	if err != nil {
		return err
	}
	for _, part := range q.parts {
		texts, err := clipsurgery.NewSegmenter(ctx, m.clip, m.sam, part.labels, append(part.opts, m.opts...)...)
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		// That nothing is found is no error here: each cutout tells why.
		cutouts, err := texts.SegmentEncoded(ctx, p, e)
		if err != nil && len(cutouts) == 0 {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		for _, c := range cutouts {
			if err := s.cutout(p, part.name, c); err != nil {
				return err
			}
		}
	}
	if q.prompt != nil {
		results, err := m.sam.Predict(ctx, e, []sam.Prompt{*q.prompt})
		if err != nil {
			return err
		}
		if err := s.clicked(p, *q.prompt, results[0].Best()); err != nil {
			return err
		}
	}
	return s.save(p)
}
