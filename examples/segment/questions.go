package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

// question is what a picture is asked.
type question struct {
	parts  []part
	prompt *sam.Prompt // clicks and box, or nil
}

// part is texts that are cut out in one way.
type part struct {
	name   string
	labels []string
	opts   []clipsurgery.Option
}

func (q question) empty() bool { return len(q.parts) == 0 && q.prompt == nil }

// partsOf is the parts of the given texts.
func partsOf(labels, among, singles, combined []string) []part {
	all := []part{
		{"label set", labels, []clipsurgery.Option{clipsurgery.Among(among...)}},
		{"single text", singles, []clipsurgery.Option{clipsurgery.SingleText()}},
		{"combined", combined, []clipsurgery.Option{clipsurgery.Combine()}},
	}
	return slices.DeleteFunc(all, func(p part) bool { return len(p.labels) == 0 })
}

// questionOfFlags is what the flags ask, which may be nothing of a scene.
func questionOfFlags() (question, error) {
	prompt, err := parsePrompt(*points, *box)
	if err != nil {
		return question{}, err
	}
	q := question{partsOf(*labels, *among, *singles, cli.List(strings.ReplaceAll(*combine, "+", ","))), prompt}
	if q.empty() && images.Given() {
		return q, errors.New("-image needs -labels, -text, -combine, -points or -box")
	}
	return q, nil
}

// questionOfScene is what a scene is asked without flags: its shapes among all
// nouns, its first object alone, the first two as one, and a click and a box on
// the last.
func questionOfScene(s *shapes.Scene) question {
	var nouns, names []string
	for _, thing := range s.Things {
		if !slices.Contains(nouns, thing.Shape) {
			nouns = append(nouns, thing.Shape)
		}
		if !slices.Contains(names, thing.Name) {
			names = append(names, thing.Name)
		}
	}
	b := s.Things[len(s.Things)-1].Box
	return question{partsOf(nouns, shapes.Classes(), names[:1], names[:min(2, len(names))]), &sam.Prompt{
		Points: []sam.Point{{X: float32(b.Min.X+b.Max.X) / 2, Y: float32(b.Min.Y+b.Max.Y) / 2, Label: sam.Foreground}},
		Box:    &sam.Box{X0: float32(b.Min.X), Y0: float32(b.Min.Y), X1: float32(b.Max.X - 1), Y1: float32(b.Max.Y - 1)},
	}}
}

// parsePrompt reads -points and -box; nil, if both are empty.
func parsePrompt(points, box string) (*sam.Prompt, error) {
	if points == "" && box == "" {
		return nil, nil
	}
	var p sam.Prompt
	for _, click := range strings.Split(points, ";") {
		if strings.TrimSpace(click) == "" {
			continue
		}
		fields := cli.List(click)
		labels := map[string]sam.Label{"+": sam.Foreground, "-": sam.Background}
		if len(fields) == 3 {
			label, ok := labels[fields[2]]
			if xy, err := numbers(fields[:2]); ok && err == nil {
				p.Points = append(p.Points, sam.Point{X: xy[0], Y: xy[1], Label: label})
				continue
			}
		}
		return nil, fmt.Errorf("-points has %q, want x,y,+ or x,y,-", click)
	}
	if points != "" && len(p.Points) == 0 {
		return nil, fmt.Errorf("-points is %q, want clicks, x,y,+ or x,y,-", points)
	}
	if box != "" {
		b, err := numbers(cli.List(box))
		if err != nil || len(b) != 4 {
			return nil, fmt.Errorf("-box is %q, want x0,y0,x1,y1", box)
		}
		p.Box = &sam.Box{X0: b[0], Y0: b[1], X1: b[2], Y1: b[3]}
	}
	return &p, nil
}

func numbers(fields []string) ([]float32, error) {
	var all []float32
	for _, f := range fields {
		v, err := strconv.ParseFloat(f, 32)
		if err != nil {
			return nil, err
		}
		all = append(all, float32(v))
	}
	return all, nil
}
