// Evalplot draws what examples/evaluate has measured: for each way of scoring,
// the IoU of every class as bars, and the precision-recall curves of the
// classes that are ranked.
//
//	go run ./evalplot -in ../../../out/evaluation.json -out ../../../out
//	go run ./evalplot -in evaluation.json -ways "CLIPSurgery,CLIPSurgery + feature surgery" -format svg
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clipsurgery/clipsurgery/surgery/eval"
	"github.com/clipsurgery/clipsurgery/surgery/eval/plot"
)

var (
	in     = flag.String("in", "out/evaluation.json", "results of examples/evaluate")
	out    = flag.String("out", "out", "folder for the pictures")
	ways   = flag.String("ways", "", "rows of the table, separated by commas; default: all")
	format = flag.String("format", "png", "png, svg or pdf")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "evalplot:", err)
		os.Exit(1)
	}
}

func run() error {
	data, err := os.ReadFile(*in)
	if err != nil {
		return err
	}
	var results struct {
		Classes []string
		State   struct{ Scores map[string]*eval.Score }
	}
	if err := json.Unmarshal(data, &results); err != nil {
		return fmt.Errorf("%s: %w", *in, err)
	}
	names := slices.Sorted(maps.Keys(results.State.Scores))
	if *ways != "" {
		names = strings.Split(*ways, ",")
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		name = strings.TrimSpace(name)
		s := results.State.Scores[name]
		if s == nil {
			return fmt.Errorf("%s has no scores of %q", *in, name)
		}
		if err := draw(name, s, results.Classes); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// maxCurves is how many the legend has room for.
const maxCurves = 20

// draw writes the pictures of one way of scoring.
func draw(name string, s *eval.Score, classes []string) error {
	if len(classes) != s.All.Classes {
		return fmt.Errorf("%d names for %d classes", len(classes), s.All.Classes)
	}
	iou := make([]float64, len(classes))
	var ranked []int
	for c := range classes {
		iou[c] = s.All.IoU(c)
		if ap := s.Ranking.AveragePrecision(c); ap == ap { // not NaN
			ranked = append(ranked, c)
		}
	}
	err := save(name, "iou", func(w io.Writer) error {
		return plot.Bars(w, *format, fmt.Sprintf("IoU, %s", name), classes, iou)
	})
	if err != nil || len(ranked) == 0 {
		return err
	}
	// Where there are many, the worst: the others are all alike.
	slices.SortStableFunc(ranked, func(a, b int) int {
		return cmp.Compare(s.Ranking.AveragePrecision(a), s.Ranking.AveragePrecision(b))
	})
	ranked = ranked[:min(len(ranked), maxCurves)]
	return save(name, "pr", func(w io.Writer) error {
		return plot.PrecisionRecall(w, *format, s.Ranking, classes, ranked...)
	})
}

// save writes one picture and says where.
func save(name, what string, write func(io.Writer) error) error {
	words := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(" -+/\\", r) })
	path := filepath.Join(*out, strings.Join(append(words, what), "-")+"."+*format)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}
