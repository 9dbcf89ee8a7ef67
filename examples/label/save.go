package main

import (
	"fmt"
	"image/color"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
)

// truthOf is the true labels of a scene; nil where they are not known.
func truthOf(p cli.Picture) *surgery.LabelMap {
	if p.Scene == nil || *classFile != "" || len(*labels) > 0 {
		return nil
	}
	truth := surgery.NewLabelMap(p.Scene.Semantic.Rect.Size())
	for i, c := range p.Scene.Semantic.Pix {
		truth.Labels[i] = uint16(c)
	}
	return truth
}

// right is the share of pixels that are labeled as they should be.
func right(m, truth *surgery.LabelMap) string {
	if truth == nil {
		return ""
	}
	n := 0
	for i, c := range m.Labels {
		if c == truth.Labels[i] {
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

// save writes the label map, and the colored picture beside the truth with a
// legend below, whose file it returns.
func save(p cli.Picture, m, truth *surgery.LabelMap, classes []string) (string, error) {
	raw, err := m.Paletted(nil)
	if err != nil {
		return "", err
	}
	if _, err := out.PNG(raw, p.Name, "labels"); err != nil {
		return "", err
	}
	caption := *planName
	if *features {
		caption += " + features"
	}
	colors := draw.BrightPalette(len(classes))
	tiles := []draw.Tile{{Picture: p, Caption: p.Name}}
	listed := shares(m, len(classes))
	for _, shown := range []struct {
		*surgery.LabelMap
		caption string
	}{{m, caption}, {truth, "truth"}} {
		if shown.LabelMap == nil {
			continue
		}
		picture, err := draw.OverlayLabels(p, shown.LabelMap, colors)
		if err != nil {
			return "", err
		}
		tiles = append(tiles, draw.Tile{Picture: picture, Caption: shown.caption})
		for _, r := range shares(shown.LabelMap, len(classes)) {
			if !slices.ContainsFunc(listed, func(l surgery.Ranked) bool { return l.Label == r.Label }) {
				listed = append(listed, r)
			}
		}
	}
	sheet, err := draw.Sheet(tiles, draw.Columns(len(tiles)))
	if err != nil {
		return "", err
	}
	var names []string
	var swatches []color.Color
	for _, r := range listed {
		names, swatches = append(names, classes[r.Label]), append(swatches, colors[r.Label])
	}
	if len(names) > 0 {
		legend, err := draw.Legend(names, swatches, sheet.Rect.Dx())
		if err != nil {
			return "", err
		}
		sheet = draw.Stack(sheet, legend)
	}
	return out.PNG(sheet, p.Name, "label")
}
