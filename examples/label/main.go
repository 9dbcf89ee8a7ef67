// Label gives every pixel of a picture a class, and writes the coloured picture
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
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

var (
	clipPath  = flag.String("clip", "", "CLIP checkpoint: file, directory or published name; default: the embedded demo model")
	imagePath = flag.String("image", "", "picture; default: embedded scenes")
	labelList = flag.String("labels", "", "classes, separated by commas; default: the nouns of the scenes")
	classFile = flag.String("classes", "", "file of classes, one a line with its synonyms; a line that begins with - has no text")
	planName  = flag.String("plan", "CLIPSurgery", "plan of the image tower")
	features  = flag.Bool("features", false, "take feature surgery's scores instead of plain cosines")
	size      = flag.Int("size", 0, "side of the input, in pixels; default: the model's own")
	windows   = cli.WindowsFlag()
	threshold = flag.Float64("threshold", 0, "probability under which a pixel becomes the first class")
	scale     = flag.Float64("scale", 40, "logit scale of the softmax that -threshold looks at")
	refine    = flag.Bool("refine", false, "smooth scores along the picture's edges (PAMR)")
	out       = flag.String("out", "out", "folder for the pictures")
)

func main() { cli.Main(run) }

// job is a picture, and what its pixels are if that is known.
type job struct {
	name    string
	picture image.Image
	truth   *surgery.LabelMap
}

func run(ctx context.Context) error {
	clip, err := cli.CLIP(*clipPath)
	if err != nil {
		return err
	}
	jobs, classes, err := work()
	if err != nil {
		return err
	}
	v, err := surgery.EncodeClasses(ctx, clip, classes, surgery.Templates(), vit.WithProgress(cli.Progress("texts")))
	if err != nil {
		return err
	}
	opts, err := options()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "picture\tfile\tright\tshares")
	for _, j := range jobs {
		m, err := surgery.Segment(ctx, clip, j.picture, v, opts...)
		if err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
		file, err := j.save(m, v.Classes)
		if err != nil {
			return err
		}
		var list []string
		for _, r := range shares(m, len(v.Classes)) {
			list = append(list, fmt.Sprintf("%s %.0f%%", v.Classes[r.Label], r.Score))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", j.name, file, j.right(m), strings.Join(list, ", "))
	}
	return table.Flush()
}

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

// work lists the pictures and the classes.
func work() ([]job, []surgery.Class, error) {
	classes := surgery.Nouns(cli.List(*labelList)...)
	if *classFile != "" {
		text, err := os.ReadFile(*classFile)
		if err != nil {
			return nil, nil, err
		}
		classes = surgery.ParseClasses(string(text))
	}
	if *imagePath != "" {
		if len(classes) == 0 {
			return nil, nil, errors.New("-image needs -labels or -classes")
		}
		img, err := clipsurgery.OpenPicture(*imagePath)
		name := strings.TrimSuffix(filepath.Base(*imagePath), filepath.Ext(*imagePath))
		return []job{{name, img, nil}}, classes, err
	}
	known := len(classes) == 0
	if known {
		classes = surgery.Nouns(shapes.Classes()...)
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		return nil, nil, err
	}
	var jobs []job
	for _, s := range scenes[:6] {
		j := job{fmt.Sprintf("scene-%d", s.Seed), s.Picture, nil}
		if known {
			j.truth = surgery.NewLabelMap(s.Semantic.Rect.Dx(), s.Semantic.Rect.Dy())
			for i, c := range s.Semantic.Pix {
				j.truth.Labels[i] = uint16(c)
			}
		}
		jobs = append(jobs, j)
	}
	return jobs, classes, nil
}

// right is the share of pixels that are labelled as they should be.
func (j job) right(m *surgery.LabelMap) string {
	if j.truth == nil {
		return "–"
	}
	n := 0
	for i, c := range m.Labels {
		if c == j.truth.Labels[i] {
			n++
		}
	}
	return fmt.Sprintf("%.0f%%", 100*float64(n)/float64(len(m.Labels)))
}

// shares lists the classes that have at least one pixel in a hundred, in per
// cent, the largest first.
func shares(m *surgery.LabelMap, classes int) []surgery.Ranked {
	counts := make([]float32, classes)
	for _, c := range m.Labels {
		if int(c) < classes {
			counts[c] += 100 / float32(len(m.Labels))
		}
	}
	list := surgery.Top(counts, classes)
	return slices.DeleteFunc(list, func(r surgery.Ranked) bool { return r.Score < 1 })
}

// save writes the label map and a sheet with a legend, and returns the sheet's
// file.
func (j job) save(m *surgery.LabelMap, classes []string) (string, error) {
	raw, err := m.Paletted(nil)
	if err != nil {
		return "", err
	}
	if err := cli.SavePNG(filepath.Join(*out, j.name+"-labels.png"), raw); err != nil {
		return "", err
	}
	colours := draw.BrightPalette(len(classes))
	tiles := []draw.Tile{{Picture: j.picture, Caption: j.name}}
	overlay := func(m *surgery.LabelMap, caption string) error {
		picture, err := draw.OverlayLabels(j.picture, m, colours)
		tiles = append(tiles, draw.Tile{Picture: picture, Caption: caption})
		return err
	}
	caption := *planName
	if *features {
		caption += " + features"
	}
	if err := overlay(m, caption); err != nil {
		return "", err
	}
	listed := shares(m, len(classes))
	if j.truth != nil {
		if err := overlay(j.truth, "truth"); err != nil {
			return "", err
		}
		for _, r := range shares(j.truth, len(classes)) {
			if !slices.ContainsFunc(listed, func(l surgery.Ranked) bool { return l.Label == r.Label }) {
				listed = append(listed, r)
			}
		}
	}
	var names []string
	var swatches []color.Color
	for _, r := range listed {
		names, swatches = append(names, classes[r.Label]), append(swatches, colours[r.Label])
	}
	sheet, err := draw.Sheet(tiles, draw.Columns(len(tiles)))
	if err != nil {
		return "", err
	}
	if len(names) > 0 {
		legend, err := draw.Legend(names, swatches, sheet.Rect.Dx())
		if err != nil {
			return "", err
		}
		sheet = draw.Stack(sheet, legend)
	}
	file := filepath.Join(*out, j.name+"-label.png")
	return file, cli.SavePNG(file, sheet)
}
