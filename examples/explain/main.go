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
	"errors"
	"flag"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"gonum.org/v1/gonum/blas/blas32"
)

var (
	clipPath  = flag.String("clip", "", "CLIP checkpoint (file or directory); default: the embedded demo model")
	imagePath = flag.String("image", "", "picture; default: embedded scenes")
	labelList = flag.String("labels", "", "labels, separated by commas; default: the nouns of the scenes")
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
	start := time.Now()
	clip, err := cli.CLIP(*clipPath)
	if err != nil {
		return err
	}
	jobs, labels, err := work()
	if err != nil {
		return err
	}
	prompts := surgery.Templates()
	if *templates != "" {
		data, err := os.ReadFile(*templates)
		if err != nil {
			return err
		}
		prompts = strings.Split(strings.TrimSpace(string(data)), "\n")
	}
	palette, err := surgery.ColorMapNamed(*colors)
	if err != nil {
		return err
	}
	loaded := time.Now()

	e := explainer{clip: clip, labels: labels, palette: surgery.Colors(palette), size: *size}
	if e.size == 0 {
		e.size = 2 * clip.Config().Vision.Size()
	}
	progress := vit.WithProgress(cli.Progress("labels"))
	if e.text, err = clip.EncodeLabels(ctx, labels, prompts, progress); err != nil {
		return err
	}
	if e.empty, err = clip.EncodeLabels(ctx, []string{""}, prompts); err != nil {
		return err
	}
	e.singles = labels
	e.singleText = e.text
	if *single != "" {
		e.singles = cli.List(*single)
		if e.singleText, err = clip.EncodeLabels(ctx, e.singles, prompts, progress); err != nil {
			return err
		}
	}
	encoded := time.Now()

	e.table = tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(e.table, "picture\tlabel\tCLIP's score\tsurgery sees it at\tfile")
	for _, j := range jobs {
		if err := e.explain(ctx, j); err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
	}
	if err := e.table.Flush(); err != nil {
		return err
	}
	fmt.Printf("\nload %v, texts %v, %d pictures %v; kernel %s\n", loaded.Sub(start).Round(time.Millisecond),
		encoded.Sub(loaded).Round(time.Millisecond), len(jobs), time.Since(encoded).Round(time.Millisecond), simd.Best())
	return nil
}

// work lists the pictures, and all labels that they are asked about.
func work() ([]job, []string, error) {
	labels := cli.List(*labelList)
	if *imagePath != "" {
		if len(labels) == 0 && *single == "" {
			return nil, nil, errors.New("-image needs -labels or -text")
		}
		if len(labels) == 0 {
			labels = cli.List(*single)
		}
		img, err := cli.Picture(*imagePath)
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

type explainer struct {
	clip        *vit.CLIP
	labels      []string
	singles     []string
	text, empty blas32.General
	singleText  blas32.General
	size        int
	palette     surgery.RenderOption
	table       *tabwriter.Writer
}

// explain draws one picture's maps: a row of the sheet for each label.
func (e *explainer) explain(ctx context.Context, j job) error {
	both, err := e.clip.EncodePlans(ctx, j.picture, []vit.Plan{{}, surgery.CLIPSurgery()})
	if err != nil {
		return err
	}
	large, err := e.clip.EncodeImage(ctx, j.picture, vit.Resize(e.size), vit.Operate(surgery.CLIPSurgery()))
	if err != nil {
		return err
	}
	plain, err := surgery.Similarity(both[0], e.text)
	if err != nil {
		return err
	}
	columns := []column{
		{"raw CLIP", plain, e.labels, *raw},
		{"surgery", nil, e.labels, len(e.labels) > 1},
		{fmt.Sprintf("surgery, %d px", e.size), nil, e.labels, len(e.labels) > 1},
		{"single text", nil, e.singles, true},
	}
	if columns[1].scores, err = surgery.FeatureSurgery(both[1], e.text); err != nil {
		return err
	}
	if columns[2].scores, err = surgery.FeatureSurgery(large, e.text); err != nil {
		return err
	}
	if columns[3].scores, err = surgery.RemoveRedundant(both[1], e.singleText, e.empty); err != nil {
		return err
	}

	draw := j.draw
	if *single != "" {
		draw = append(append([]string(nil), draw...), e.singles...)
	}
	var tiles []surgery.Tile
	width := 1
	for _, label := range draw {
		row := []surgery.Tile{{Picture: j.picture, Caption: label}}
		for _, c := range columns {
			i := index(c.labels, label)
			if !c.draw || i < 0 {
				continue
			}
			heat, err := c.scores.Map(i)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", label, c.name, err)
			}
			overlay, err := surgery.Overlay(j.picture, heat, e.palette)
			if err != nil {
				return err
			}
			row = append(row, surgery.Tile{Picture: overlay, Caption: c.name})
			file := filepath.Join(*out, fmt.Sprintf("%s-%s-%s.png", j.name, cli.FileName(label), cli.FileName(c.name)))
			if err := cli.SavePNG(file, overlay); err != nil {
				return err
			}
			if c.name == "surgery" || len(e.labels) == 1 && c.name == "single text" {
				x, y := heat.Peak()
				fmt.Fprintf(e.table, "%s\t%s\t%.3f\t(%d, %d)\t%s\n", j.name, label, plain.Class()[index(e.labels, label)], x, y, file)
			}
		}
		width = max(width, len(row))
		tiles = append(tiles, row...)
	}
	sheet, err := surgery.Sheet(tiles, surgery.Columns(width))
	if err != nil {
		return err
	}
	return cli.SavePNG(filepath.Join(*out, j.name+".png"), sheet)
}

// column is one way of making maps.
type column struct {
	name   string
	scores *surgery.Scores
	labels []string
	draw   bool
}

func index(list []string, s string) int {
	for i, v := range list {
		if v == s {
			return i
		}
	}
	return -1
}
