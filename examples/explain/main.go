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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"gonum.org/v1/gonum/blas/blas32"
)

var (
	clipPath  = flag.String("clip", "", "CLIP checkpoint: file, directory or published name; default: the embedded demo model")
	imagePath = flag.String("image", "", "picture; default: embedded scenes")
	labelList = flag.String("labels", "", "labels, separated by commas; default: the nouns of the scenes, or of all of them for -image")
	single    = flag.String("text", "", "texts explained one by one, separated by commas; default: the labels")
	size      = flag.Int("size", 0, "side of the larger input, in pixels; default: twice the model's own")
	raw       = flag.Bool("raw", true, "draw raw CLIP's maps too")
	colors    = flag.String("colors", "jet", "colour map: jet, viridis, inferno or turbo")
	templates = flag.String("templates", "", "file of prompt templates, one a line, {} for the label; default: the reference's 85")
	out       = flag.String("out", "out", "folder for the pictures")
)

func main() { cli.Main(run) }

// job is a picture and the labels whose maps are drawn.
type job struct {
	name    string
	picture image.Image
	draw    []string
}

func run(ctx context.Context) error {
	clock := cli.NewClock()
	clip, err := cli.CLIP(*clipPath)
	if err != nil {
		return err
	}
	clock.Lap("load")
	jobs, labels, err := work()
	if err != nil {
		return err
	}
	e := explainer{clip: clip, labels: labels, singles: labels, size: *size, clock: clock}
	if *single != "" {
		e.singles = cli.List(*single)
	}
	if e.size == 0 {
		e.size = 2 * clip.Config().Vision.Size()
	}
	colors, err := draw.ColorMapNamed(*colors)
	if err != nil {
		return err
	}
	e.colors = draw.Colors(colors)
	prompts, err := promptTemplates()
	if err != nil {
		return err
	}
	progress := vit.WithProgress(cli.Progress("labels"))
	if e.text, err = clip.EncodeLabels(ctx, e.labels, prompts, progress); err != nil {
		return err
	}
	if e.singleText, err = clip.EncodeLabels(ctx, e.singles, prompts, progress); err != nil {
		return err
	}
	if e.empty, err = clip.EncodeLabels(ctx, []string{""}, prompts); err != nil {
		return err
	}
	clock.Lap("texts")

	e.table = tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(e.table, "picture\tlabel\tCLIP's score\tmap\thottest at\tfile")
	for _, j := range jobs {
		if err := e.explain(ctx, j); err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
	}
	if err := e.table.Flush(); err != nil {
		return err
	}
	sheet, err := draw.Sheet(e.tiles, draw.Columns(e.columns))
	if err != nil {
		return err
	}
	file := filepath.Join(*out, "sheet.png")
	if err := cli.SavePNG(file, sheet); err != nil {
		return err
	}
	fmt.Printf("\nall maps: %s\n%s; kernel %s\n", file, clock, simd.Best())
	return nil
}

// work lists the pictures, and all labels that they are asked about.
func work() ([]job, []string, error) {
	labels := cli.List(*labelList)
	if *imagePath != "" {
		if len(labels) == 0 {
			labels = cli.List(*single)
		}
		if len(labels) == 0 {
			labels = shapes.Classes()
		}
		img, err := clipsurgery.OpenPicture(*imagePath)
		name := strings.TrimSuffix(filepath.Base(*imagePath), filepath.Ext(*imagePath))
		return []job{{name, img, labels}}, labels, err
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		return nil, nil, err
	}
	var jobs []job
	for _, s := range scenes[:4] {
		draw := labels
		if len(draw) == 0 {
			draw = s.Nouns()
		}
		jobs = append(jobs, job{fmt.Sprintf("scene-%d", s.Seed), s.Picture, draw})
	}
	if len(labels) == 0 {
		labels = shapes.Classes()
	}
	return jobs, labels, nil
}

func promptTemplates() ([]string, error) {
	if *templates == "" {
		return surgery.Templates(), nil
	}
	data, err := os.ReadFile(*templates)
	return strings.Split(strings.TrimSpace(string(data)), "\n"), err
}

type explainer struct {
	clip                    *vit.CLIP
	labels, singles         []string
	text, singleText, empty blas32.General
	size                    int
	colors                  draw.Option
	clock                   *cli.Clock

	table   *tabwriter.Writer
	tiles   []draw.Tile
	columns int
}

// variant is one way of making maps.
type variant struct {
	name   string
	labels []string
	scores *surgery.Scores
}

// explain draws one picture's maps: a row of the sheet for each label.
func (e *explainer) explain(ctx context.Context, j job) error {
	class, variants, err := e.scores(ctx, j.picture)
	if err != nil {
		return err
	}
	labels := j.draw
	for _, label := range e.singles {
		if *single != "" && !slices.Contains(labels, label) {
			labels = append(slices.Clone(labels), label)
		}
	}
	for _, label := range labels {
		row := []draw.Tile{{Picture: j.picture, Caption: label}}
		for _, v := range variants {
			i := slices.Index(v.labels, label)
			if i < 0 {
				continue
			}
			heat, err := v.scores.Map(i)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", label, v.name, err)
			}
			overlay, err := draw.Overlay(j.picture, heat, e.colors)
			if err != nil {
				return err
			}
			file := filepath.Join(*out, cli.FileName(j.name, label, v.name)+".png")
			if err := cli.SavePNG(file, overlay); err != nil {
				return err
			}
			row = append(row, draw.Tile{Picture: overlay, Caption: v.name})
			score := "-"
			if k := slices.Index(e.labels, label); k >= 0 {
				score = fmt.Sprintf("%.3f", class[k])
			}
			x, y := heat.Peak()
			fmt.Fprintf(e.table, "%s\t%s\t%s\t%s\t(%d, %d)\t%s\n", j.name, label, score, v.name, x, y, file)
		}
		for len(row) <= len(variants) {
			row = append(row, draw.Tile{Picture: &image.Gray{Pix: []uint8{255}, Stride: 1, Rect: image.Rect(0, 0, 1, 1)}})
		}
		e.columns = len(row)
		e.tiles = append(e.tiles, row...)
	}
	e.clock.Lap("drawing")
	return nil
}

// scores runs the towers and compares with the texts. Raw CLIP's class row is
// the labels' scores for the whole picture. Labels that are alone have no set
// to be told apart from: they are explained as single texts only.
func (e *explainer) scores(ctx context.Context, picture image.Image) (class []float32, variants []variant, err error) {
	native, err := e.clip.EncodePlans(ctx, picture, []vit.Plan{surgery.Raw(), surgery.CLIPSurgery()})
	if err != nil {
		return nil, nil, err
	}
	large, err := e.clip.EncodeImage(ctx, picture, vit.Resize(e.size), vit.Operate(surgery.CLIPSurgery()))
	if err != nil {
		return nil, nil, err
	}
	e.clock.Lap("pictures")
	plain, err := surgery.Similarity(native[0], e.text)
	if err != nil {
		return nil, nil, err
	}
	if *raw {
		variants = append(variants, variant{"raw CLIP", e.labels, plain})
	}
	if len(e.labels) > 1 {
		set, err := surgery.FeatureSurgery(native[1], e.text)
		if err != nil {
			return nil, nil, err
		}
		finer, err := surgery.FeatureSurgery(large, e.text)
		if err != nil {
			return nil, nil, err
		}
		variants = append(variants, variant{"surgery", e.labels, set},
			variant{fmt.Sprintf("surgery %d px", e.size), e.labels, finer})
	}
	alone, err := surgery.RemoveRedundant(native[1], e.singleText, e.empty)
	if err != nil {
		return nil, nil, err
	}
	variants = append(variants, variant{"single text", e.singles, alone})
	e.clock.Lap("maps")
	return plain.Class(), variants, nil
}
