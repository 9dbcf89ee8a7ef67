package main

import (
	"fmt"
	"image"
	"image/color"
	"strings"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
)

// sheets draws answers: for each picture, what the prompts are made of beside
// each mask.
type sheets struct {
	table *cli.Table
	tiles []draw.Tile // of the picture at hand
	files []string
}

func newSheets() *sheets {
	return &sheets{table: cli.NewTable("picture", "by", "what", "presence", "clicks", "pixels", "predicted IoU", "IoU", "file")}
}

var (
	onObject = color.NRGBA{60, 220, 60, 255}
	beside   = color.NRGBA{230, 40, 40, 255}
)

// cutout adds what a text names: its heat map with the clicks, and its mask.
func (s *sheets) cutout(p cli.Picture, by string, c clipsurgery.Cutout) error {
	presence := fmt.Sprintf("%.3f", c.Presence)
	if c.Err != nil {
		s.table.Row(p.Name, by, c.Label, presence, "", "", "", "", c.Err)
		return nil
	}
	heat, err := draw.Overlay(p, c.Heat)
	if err != nil {
		return err
	}
	var clicks []string
	for _, k := range c.Clicks {
		draw.Dots(heat, k.Background, beside)
		clicks = append(clicks, fmt.Sprintf("%d+ %d-", len(k.Foreground), len(k.Background)))
	}
	for _, k := range c.Clicks {
		draw.Dots(heat, k.Foreground, onObject)
	}
	cut, file, err := saveMask(p, c.Mask, by, c.Label)
	if err != nil {
		return err
	}
	s.tiles = append(s.tiles, draw.Tile{Picture: heat, Caption: c.Label}, draw.Tile{Picture: cut, Caption: by})
	s.table.Row(p.Name, by, c.Label, presence, strings.Join(clicks, ", "), c.Mask.Area(),
		fmt.Sprintf("%.3f", c.Mask.IoU), iou(p, c.Mask, strings.Split(c.Label, "+")), file)
	return nil
}

// clicked adds what -points and -box show.
func (s *sheets) clicked(p cli.Picture, prompt sam.Prompt, mask sam.Mask) error {
	shown, err := draw.Canvas(p)
	if err != nil {
		return err
	}
	clicks := fmt.Sprint(len(prompt.Points))
	if b := prompt.Box; b != nil {
		draw.Frame(shown, image.Rect(int(b.X0), int(b.Y0), int(b.X1)+1, int(b.Y1)+1), onObject)
		clicks += ", box"
	}
	for _, click := range prompt.Points {
		c := beside
		if click.Label == sam.Foreground {
			c = onObject
		}
		draw.Dots(shown, []image.Point{{X: int(click.X), Y: int(click.Y)}}, c)
	}
	cut, file, err := saveMask(p, mask, "clicks")
	if err != nil {
		return err
	}
	s.tiles = append(s.tiles, draw.Tile{Picture: shown, Caption: "clicks"},
		draw.Tile{Picture: cut, Caption: fmt.Sprintf("IoU %.2f", mask.IoU)})
	s.table.Row(p.Name, "clicks", "", "", clicks, mask.Area(), fmt.Sprintf("%.3f", mask.IoU), "", file)
	return nil
}

// save writes the picture's sheet.
func (s *sheets) save(p cli.Picture) error {
	if len(s.tiles) == 0 {
		s.tiles = []draw.Tile{{Picture: p, Caption: "nothing found"}}
	}
	file, err := out.Sheet(s.tiles, 6, p.Name, "segment")
	s.files, s.tiles = append(s.files, file), nil
	return err
}

// saveMask writes a mask as white on black, and returns what it cuts out.
func saveMask(p cli.Picture, mask sam.Mask, names ...string) (cut *image.NRGBA, file string, err error) {
	if cut, err = draw.CutOut(p, mask); err != nil {
		return nil, "", err
	}
	a := mask.Alpha()
	file, err = out.PNG(&image.Gray{Pix: a.Pix, Stride: a.Stride, Rect: a.Rect}, append(append([]string{p.Name}, names...), "mask")...)
	return cut, file, err
}

// iou compares a mask with all that the labels name, where that is known.
func iou(p cli.Picture, mask sam.Mask, labels []string) string {
	if p.Scene == nil {
		return ""
	}
	truth := sam.Mask{Size: mask.Size}
	for _, label := range labels {
		more, err := truth.Union(sam.MaskOf(p.Scene.NounMask(label)))
		if err != nil {
			return ""
		}
		truth = more
	}
	iou, err := sam.IoU(mask, truth)
	if err != nil || truth.Area() == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", iou)
}
