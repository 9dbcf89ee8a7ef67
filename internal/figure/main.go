// Command figure draws the README's picture: words, where raw CLIP and CLIP
// Surgery see them, and what Segment Anything cuts out there.
//
//	go run ./internal/figure -out docs/figure.png
package main

import (
	"context"
	"flag"
	"image"
	"image/color"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

var out = flag.String("out", "docs/figure.png", "file to write")

// shown are embedded scenes and what is asked of each.
var shown = []struct {
	scene int
	label string
}{
	{0, "red star"}, {1, "white ring"}, {2, "green diamond"}, {3, "blue heart"}, {4, "blue diamond"}, {5, "white arrow"},
}

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	clip, err := new(cli.CLIP).Open(ctx)
	if err != nil {
		return err
	}
	model, err := new(cli.SAM).Open(ctx)
	if err != nil {
		return err
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		return err
	}
	var tiles []draw.Tile
	for _, s := range shown {
		row, err := tilesOf(ctx, clip, model, scenes[s.scene].Picture, s.label)
		if err != nil {
			return err
		}
		tiles = append(tiles, row...)
	}
	sheet, err := draw.Sheet(tiles, draw.Columns(8))
	if err != nil {
		return err
	}
	return cli.SavePNG(*out, sheet)
}

// tilesOf is the tiles of one picture.
func tilesOf(ctx context.Context, clip *vit.CLIP, model *sam.Model, img image.Image, label string) ([]draw.Tile, error) {
	text, err := clip.EncodeLabels(ctx, []string{label}, surgery.Templates())
	if err != nil {
		return nil, err
	}
	features, err := clip.EncodeImage(ctx, img)
	if err != nil {
		return nil, err
	}
	scores, err := surgery.Similarity(features, text)
	if err != nil {
		return nil, err
	}
	raw, err := scores.Map(0)
	if err != nil {
		return nil, err
	}
	cutouts, err := clipsurgery.Segment(ctx, clip, model, img, []string{label},
		clipsurgery.Among(append(shapes.Classes()[:8], shapes.ColoredShapes()...)...), clipsurgery.ImageOptions(vit.Resize(192)))
	if err != nil {
		return nil, err
	}
	tiles := []draw.Tile{{Picture: img, Caption: label}}
	for _, m := range []struct {
		heat *surgery.HeatMap
		name string
	}{{raw, "raw CLIP"}, {cutouts[0].Heat, "CLIP Surgery"}} {
		overlay, err := draw.Overlay(img, m.heat)
		if err != nil {
			return nil, err
		}
		tiles = append(tiles, draw.Tile{Picture: overlay, Caption: m.name})
	}
	return append(tiles, draw.Tile{Picture: cut(img, cutouts[0].Mask), Caption: "cut out"}), nil
}

// cut is the pixels of a mask, on the chequered ground of the transparent.
func cut(img image.Image, m sam.Mask) image.Image {
	dst := image.NewNRGBA(img.Bounds())
	alpha := m.Alpha()
	for y := range m.Size.Y {
		for x := range m.Size.X {
			ground := color.NRGBA{90, 90, 90, 255}
			if (x/8+y/8)%2 == 0 {
				ground = color.NRGBA{110, 110, 110, 255}
			}
			dst.Set(x, y, ground)
			if alpha.AlphaAt(x, y).A > 0 {
				dst.Set(x, y, img.At(img.Bounds().Min.X+x, img.Bounds().Min.Y+y))
			}
		}
	}
	return dst
}
