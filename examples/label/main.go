// Label gives every pixel of a picture a class, and writes the colored picture
// with a legend, and the label map as a paletted PNG in the manner of PASCAL
// VOC.
//
//	go run ./examples/label
//	go run ./examples/label -clip FILE -image PICTURE -labels "sky, person, bench" [-windows] [-refine]
//	go run ./examples/label -clip FILE -image PICTURE -classes FILE -threshold 0.5
//
// Without flags it runs the embedded demo model on embedded scenes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

var (
	checkpoint = cli.CLIPFlag()
	images     = cli.ImageFlag()
	labels     = cli.TextsFlag("labels", "classes; default: the nouns of the scenes")
	classFile  = flag.String("classes", "", "file of classes, one a line with its synonyms; a line that begins with - has no text")
	planName   = flag.String("plan", "CLIPSurgery", "plan of the image tower")
	features   = flag.Bool("features", false, "take feature surgery's scores instead of plain cosines")
	size       = cli.SizeFlag("side of the input", "the model's own")
	windows    = cli.WindowsFlag()
	threshold  = flag.Float64("threshold", 0, "probability under which a pixel becomes the first class")
	scale      = flag.Float64("scale", 40, "logit scale of the softmax that -threshold looks at")
	refine     = flag.Bool("refine", false, "smooth scores along the picture's edges (PAMR)")
	templates  = cli.TemplatesFlag()
	out        = cli.OutFlag()
)

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	clip, err := checkpoint.Open(ctx)
	if err != nil {
		return err
	}
	classes, err := classesAsked()
	if err != nil {
		return err
	}
	pictures, err := images.Open(0, 1, 2, 3, 4, 5)
	if err != nil {
		return err
	}
	prompts, err := templates.Read()
	if err != nil {
		return err
	}
	v, err := surgery.EncodeClasses(ctx, clip, classes, prompts, vit.WithProgress(cli.Progress("texts")))
	if err != nil {
		return err
	}
	opts, err := options()
	if err != nil {
		return err
	}
	table := cli.NewTable("picture", "file", "right", "shares")
	for _, p := range pictures {
		m, err := surgery.Segment(ctx, clip, p, v, opts...)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		truth := truthOf(p)
		file, err := save(p, m, truth, v.Classes)
		if err != nil {
			return err
		}
		var list []string
		for _, r := range shares(m, len(v.Classes)) {
			list = append(list, fmt.Sprintf("%s %.0f%%", v.Classes[r.Label], r.Score))
		}
		table.Row(p.Name, file, right(m, truth), strings.Join(list, ", "))
	}
	return table.Flush()
}

// options are what the flags say.
func options() ([]surgery.SegmentOption, error) {
	plan, err := surgery.PlanNamed(*planName)
	if err != nil {
		return nil, err
	}
	opts := []surgery.SegmentOption{surgery.Operate(plan), surgery.LogitScale(*scale), surgery.Background(0, *threshold)}
	switch {
	case windows.Windows != nil && *size > 0:
		return nil, errors.New("-windows and -size exclude each other")
	case windows.Windows != nil:
		opts = append(opts, surgery.SlidingWindow(*windows.Windows))
	case *size > 0:
		opts = append(opts, surgery.ImageOptions(vit.Resize(*size)))
	}
	if *features {
		opts = append(opts, surgery.ScoreBy(surgery.FeatureSurgery))
	}
	if *refine {
		opts = append(opts, surgery.Refine(surgery.DefaultPAMR()))
	}
	return opts, nil
}

// classesAsked are the classes of -classes or -labels; without them, those of the
// scenes.
func classesAsked() ([]surgery.Class, error) {
	switch {
	case *classFile != "":
		text, err := os.ReadFile(*classFile)
		return surgery.ParseClasses(string(text)), err
	case len(*labels) > 0:
		return surgery.Nouns(*labels...), nil
	case images.Given():
		return nil, errors.New("-image needs -labels or -classes")
	}
	return surgery.Nouns(shapes.Classes()...), nil
}
