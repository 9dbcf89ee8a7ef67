package main

import (
	"fmt"
	"image"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
)

// sheet collects the maps of all pictures, a row for each label.
type sheet struct {
	table   *cli.Table
	tiles   []draw.Tile
	columns int
}

func newSheet() *sheet {
	return &sheet{table: cli.NewTable("picture", "label", "CLIP's score", "map", "hottest at", "file")}
}

// draw adds the rows of one picture.
func (s *sheet) draw(p cli.Picture, t *texts, maps []explained) error {
	class := maps[0].scores.Class()
	if !*raw {
		maps = maps[1:]
	}
	s.columns = 1 + len(maps)
	for _, label := range t.of(p) {
		row := []draw.Tile{{Picture: p, Caption: label}}
		score := ""
		if i := slices.Index(t.labels, label); i >= 0 {
			score = fmt.Sprintf("%.3f", class[i])
		}
		for _, m := range maps {
			i := slices.Index(m.labels, label)
			if i < 0 {
				continue
			}
			heat, err := m.scores.Map(i)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", label, m.method, err)
			}
			overlay, err := draw.Overlay(p, heat, draw.Colors(colors.ColorMap))
			if err != nil {
				return err
			}
			file, err := out.PNG(overlay, p.Name, label, m.method)
			if err != nil {
				return err
			}
			row = append(row, draw.Tile{Picture: overlay, Caption: m.method})
			s.table.Row(p.Name, label, score, m.method, heat.Peak(), file)
		}
		for len(row) < s.columns {
			row = append(row, draw.Tile{Picture: &image.Gray{Pix: []uint8{255}, Stride: 1, Rect: image.Rect(0, 0, 1, 1)}})
		}
		s.tiles = append(s.tiles, row...)
	}
	return nil
}

// save prints the table and writes the sheet.
func (s *sheet) save() (file string, err error) {
	if err := s.table.Flush(); err != nil {
		return "", err
	}
	return out.Sheet(s.tiles, s.columns, "sheet")
}
