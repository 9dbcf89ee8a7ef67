package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/clipsurgery/clipsurgery/surgery/eval"
)

// report prints the tables and writes the results.
func report(s *state, ways []way, data *dataset) error {
	tables := tablesOf(s, ways, data.kinds)
	fmt.Printf("%d pictures, %d classes\n", len(s.Done), len(data.classes))
	path, err := out.Path(".md", "evaluation")
	if err != nil {
		return err
	}
	md, err := os.Create(path)
	if err != nil {
		return err
	}
	defer md.Close()
	for _, t := range tables {
		fmt.Println()
		if err := errors.Join(t.WriteText(os.Stdout), t.WriteMarkdown(md)); err != nil {
			return err
		}
		fmt.Fprintln(md)
	}
	if err := md.Close(); err != nil {
		return err
	}
	var names []string
	for _, c := range data.classes {
		names = append(names, c.Name)
	}
	content, err := json.MarshalIndent(struct {
		Pictures int           `json:"pictures"`
		Classes  []string      `json:"classes"`
		Tables   []*eval.Table `json:"tables"`
		State    *state        `json:"state"`
	}{len(s.Done), names, tables, s}, "", " ")
	if err != nil {
		return err
	}
	if path, err = out.Path(".json", "evaluation"); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// tablesOf is the results, and those of the heat maps by kinds of classes.
func tablesOf(s *state, ways []way, kinds []kind) []*eval.Table {
	all := &eval.Table{Columns: []string{"mIoU", "of present", "pixels", "map IoU@0.5", "best", "mSC", "pointing", "mAP", "by picture", "CPU ms"}}
	byKind := &eval.Table{}
	for _, k := range kinds {
		byKind.Columns = append(byKind.Columns, k.name+": IoU@0.5", "best", "at", "mSC", "mIoU")
	}
	for _, w := range ways {
		x := s.Scores[w.name]
		maps := x.MapsOf()
		best, _ := maps.BestIoU()
		all.Add(w.name, x.All.MeanIoU(), x.Present.MeanIoU(), x.All.PixelAccuracy(), maps.MeanIoU(0.5), best,
			maps.Contrast.Value(), maps.Pointing.Value(), x.Ranking.MeanAveragePrecision(), x.Ranking.PictureAveragePrecision(),
			float64(x.Time.Microseconds())/1e3/float64(x.Pictures))
		var row []float64
		for _, k := range kinds {
			maps := x.MapsOf(k.classes...)
			best, at := maps.BestIoU()
			row = append(row, maps.MeanIoU(0.5), best, at, maps.Contrast.Value(), x.All.MeanIoU(k.classes...))
		}
		byKind.Add(w.name, row...)
	}
	if len(kinds) == 0 {
		return []*eval.Table{all}
	}
	return []*eval.Table{all, byKind}
}
