// Words shows which words of a sentence a picture supports: the sentence
// coloured token by token, and where in the picture the best supported tokens
// are seen.
//
//	go run ./examples/words
//	go run ./examples/words -clip FILE -image PICTURE -text "a person on a bench in front of a lake"
//
// Without flags it runs the embedded demo model on embedded scenes, with a
// caption of the scene and one of another.
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
	text      = flag.String("text", "", "sentence; default: captions of the scenes")
	size      = flag.Int("size", 0, "side of the input, in pixels; default: the model's own")
	maps      = flag.Int("maps", 5, "how many tokens' maps to draw, the best supported first")
	colors    = flag.String("colors", "viridis", "colour map: jet, viridis, inferno or turbo")
	out       = flag.String("out", "out", "folder for the pictures")
)

func main() { cli.Main(run) }

type job struct {
	name    string
	picture image.Image
	text    string
}

func run(ctx context.Context) error {
	clip, err := cli.CLIP(*clipPath)
	if err != nil {
		return err
	}
	palette, err := draw.ColorMapNamed(*colors)
	if err != nil {
		return err
	}
	jobs, err := work()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "picture\tfile\tbest supported\tsentence")
	for _, j := range jobs {
		if err := explain(ctx, clip, j, draw.Colors(palette), table); err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
	}
	return table.Flush()
}

func work() ([]job, error) {
	if *imagePath != "" {
		if *text == "" {
			return nil, errors.New("-image needs -text")
		}
		img, err := clipsurgery.OpenPicture(*imagePath)
		return []job{{strings.TrimSuffix(filepath.Base(*imagePath), filepath.Ext(*imagePath)), img, *text}}, err
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		return nil, err
	}
	var jobs []job
	for i, s := range scenes[:4] {
		name := fmt.Sprintf("scene-%d", s.Seed)
		if *text != "" {
			jobs = append(jobs, job{name, s.Picture, *text})
			continue
		}
		jobs = append(jobs, job{name, s.Picture, s.Captions[0]}, job{name + "-other", s.Picture, scenes[i+4].Captions[0]})
	}
	return jobs, nil
}

// explain writes the coloured sentence and the maps of one picture.
func explain(ctx context.Context, clip *vit.CLIP, j job, palette draw.Option, table *tabwriter.Writer) error {
	tokens, err := clip.TextTokens(ctx, j.text)
	if err != nil {
		return err
	}
	opts := []vit.ImageOption{vit.Operate(surgery.CLIPSurgery())}
	if *size > 0 {
		opts = append(opts, vit.Resize(*size))
	}
	features, err := clip.EncodeImage(ctx, j.picture, opts...)
	if err != nil {
		return err
	}
	scores, err := surgery.Words(features, tokens)
	if err != nil {
		return err
	}
	support := scores.Support()
	var names []string
	tiles := []draw.Tile{{Picture: j.picture, Caption: "picture"}}
	for _, r := range surgery.Top(support[1:], *maps) { // the start token says nothing
		token := 1 + r.Label
		heat, err := scores.Map(token)
		if err != nil {
			return err
		}
		overlay, err := draw.Overlay(j.picture, heat, palette)
		if err != nil {
			return err
		}
		name := tokens.Pieces[token]
		if token == len(tokens.Pieces)-1 {
			name = "[end]"
		}
		names = append(names, fmt.Sprintf("%s %.2f", name, r.Score))
		tiles = append(tiles, draw.Tile{Picture: overlay, Caption: name})
	}
	sheet, err := draw.Sheet(tiles, draw.Columns(len(tiles)))
	if err != nil {
		return err
	}
	sentence, err := draw.Sentence(tokens, support, sheet.Rect.Dx(), palette)
	if err != nil {
		return err
	}
	file := filepath.Join(*out, j.name+"-words.png")
	fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", j.name, file, strings.Join(names, ", "), j.text)
	return cli.SavePNG(file, draw.Stack(sentence, sheet))
}
