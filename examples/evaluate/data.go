package main

import (
	"errors"
	"fmt"
	"image"
	"os"
	"slices"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/eval"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

// dataset is the pictures to score, and the classes of their labels.
type dataset struct {
	name    string
	classes []surgery.Class
	items   []eval.Item
	kinds   []kind // of which maps are also reported by themselves
}

// kind is some of the classes.
type kind struct {
	name    string
	classes []int
}

// drawn are the classes of drawn scenes: grounds, then shapes.
var drawn = []kind{{"shapes", []int{8, 9, 10, 11, 12, 13, 14, 15, 16, 17}}, {"grounds", []int{0, 1, 2, 3, 4, 5, 6, 7}}}

// open finds the data set that the flags name.
func open() (*dataset, error) {
	d, err := openAll()
	if err != nil {
		return nil, err
	}
	if *classFile != "" {
		text, err := os.ReadFile(*classFile)
		if err != nil {
			return nil, err
		}
		d.classes, d.kinds = surgery.ParseClasses(string(text)), nil
	}
	if len(d.classes) == 0 {
		return nil, errors.New("-voc needs -classes: a file with a class a line")
	}
	if *from < 0 || *from > len(d.items) || *count < 0 {
		return nil, fmt.Errorf("-from %d -count %d of %d pictures", *from, *count, len(d.items))
	}
	d.items = d.items[*from:]
	if *count > 0 {
		d.items = d.items[:min(*count, len(d.items))]
	}
	if len(*merge) > 0 {
		d.items = nil
	}
	return d, nil
}

func openAll() (*dataset, error) {
	switch {
	case *vocDir != "":
		items, err := eval.OpenVOC(os.DirFS(*vocDir), eval.VOC{Pictures: *pictures, Labels: *labelMaps, List: *list, WithoutZero: *noZero})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", *vocDir, err)
		}
		return &dataset{name: *vocDir, items: items}, nil
	case *cocoFile != "":
		f, err := os.Open(*cocoFile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		set, err := eval.ReadCOCO(f, os.DirFS(*pictures))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", *cocoFile, err)
		}
		return &dataset{name: *cocoFile, classes: surgery.Nouns(set.Classes...), items: set.Items}, nil
	}
	read, name := shapes.Scenes, "embedded scenes"
	if *scenesDir != "" {
		read, name = func() ([]shapes.Scene, error) { return shapes.ReadScenes(os.DirFS(*scenesDir)) }, *scenesDir
	}
	scenes, err := read()
	return &dataset{name, surgery.Nouns(shapes.Classes()...), itemsOf(scenes), drawn}, err
}

func itemsOf(scenes []shapes.Scene) []eval.Item {
	var items []eval.Item
	for _, s := range scenes {
		names := s.Grounds
		for _, t := range s.Things {
			names = append(names, t.Shape)
		}
		labels := surgery.NewLabelMap(s.Semantic.Rect.Size())
		for i, c := range s.Semantic.Pix {
			labels.Labels[i] = uint16(c)
		}
		items = append(items, eval.Item{
			Name:    fmt.Sprint("scene ", s.Seed),
			Picture: func() (image.Image, error) { return s.Picture, nil },
			Truth:   func() (eval.Truth, error) { return eval.Truth{Labels: labels, Shown: shown(names)}, nil },
		})
	}
	return items
}

// shown says which classes of the drawn world a scene's nouns name: grounds of
// which only slivers show are not among them.
func shown(names []string) []bool {
	out := make([]bool, len(shapes.Classes()))
	for i, c := range shapes.Classes() {
		out[i] = slices.Contains(names, c)
	}
	return out
}
