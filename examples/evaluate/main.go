// Evaluate measures every plan of package surgery, with and without feature
// surgery: segmentation, heat maps, recognition, and CPU time per picture.
// evaluation.json, which it writes, is what surgery/eval/plot/evalplot draws.
//
//	go run ./examples/evaluate
//	go run ./examples/evaluate -clip FILE -voc VOC2012 -classes voc21.txt -windows -state run.json
//	go run ./examples/evaluate -clip FILE -coco instances.json -pictures val2017 -plans CLIPSurgery,NACLIP
//
// Without flags it runs the embedded demo model on the embedded scenes; -scenes
// takes a folder that tools/shapes/scenes.py has drawn. Interrupted
// with -state, it goes on where it stopped; states of the parts of a data set
// (-from, -count) add up with -merge.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/eval"
	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

var (
	clipPath  = flag.String("clip", "", "CLIP checkpoint: file, directory or published name; default: the embedded demo model")
	scenesDir = flag.String("scenes", "", "folder of drawn scenes; default: the embedded ones")
	vocDir    = flag.String("voc", "", "folder of a data set in the manner of PASCAL VOC")
	pictures  = flag.String("pictures", "", "with -voc, the folder of pictures in it; with -coco, the folder of pictures")
	labelsDir = flag.String("labels", "", "with -voc, the folder of label maps in it")
	list      = flag.String("list", "", "with -voc, the list of names in it")
	noZero    = flag.Bool("without-zero", false, "with -voc, label 0 is ignored and label n is class n-1")
	cocoFile  = flag.String("coco", "", "data set in COCO's JSON")
	classFile = flag.String("classes", "", "file of classes, one a line with its synonyms, in the order of the labels")
	planNames = flag.String("plans", "", "plans, separated by commas; default: all")
	scoring   = flag.String("scores", "cosine,surgery", "how features are compared with texts: cosine, surgery (label set), single (less the empty text)")
	size      = flag.Int("size", 0, "side of the input, in pixels; default: the model's own")
	scale     = flag.Float64("scale", 40, "logit scale of the softmax that -threshold looks at")
	windows   = cli.WindowsFlag()
	threshold = flag.Float64("threshold", 0, "probability under which a pixel becomes class 0")
	refine    = flag.Bool("refine", false, "smooth scores along the pictures' edges (PAMR)")
	templates = flag.String("templates", "", "file of prompt templates, one a line, {} for the label; default: the reference's 85")
	from      = flag.Int("from", 0, "first picture")
	count     = flag.Int("count", 0, "how many pictures; default: all")
	statePath = flag.String("state", "", "file that keeps what is done, to go on after an interruption")
	merge     = flag.String("merge", "", "state files of other parts to add up, separated by commas; nothing is encoded")
	out       = flag.String("out", "out", "folder for evaluation.json and evaluation.md")
)

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	plans, err := plansNamed(cli.List(*planNames))
	if err != nil {
		return err
	}
	ways, err := waysOf(plans, cli.List(*scoring))
	if err != nil {
		return err
	}
	data, err := open()
	if err != nil {
		return err
	}
	state, err := newState(data, ways)
	if err != nil {
		return err
	}
	if *merge != "" {
		for _, path := range cli.List(*merge) {
			if err := state.merge(path); err != nil {
				return err
			}
		}
		return report(state, ways, data)
	}
	if *statePath != "" {
		if err := state.restore(*statePath); err != nil {
			return err
		}
	}
	clip, err := cli.CLIP(*clipPath)
	if err != nil {
		return err
	}
	prompts := surgery.Templates()
	if *templates != "" {
		text, err := os.ReadFile(*templates)
		if err != nil {
			return err
		}
		prompts = strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	e := &evaluation{state: state, clip: clip, plans: plans, ways: ways}
	if e.vocabulary, err = surgery.EncodeClasses(ctx, clip, data.classes, prompts, vit.WithProgress(cli.Progress("texts"))); err != nil {
		return err
	}
	if e.empty, err = clip.EncodeLabels(ctx, []string{""}, prompts); err != nil {
		return err
	}
	err = e.evaluate(ctx, data.items)
	if *statePath != "" {
		err = errors.Join(err, state.save(*statePath))
	}
	if err != nil {
		return err
	}
	return report(state, ways, data)
}

// way is a plan with a way of comparing features with texts.
type way struct {
	name    string
	plan    int // index: ways of one plan share its features
	compare compare
}

type compare func(f *vit.Features, text, empty blas32.General) (*surgery.Scores, error)

func waysOf(plans []surgery.NamedPlan, scores []string) ([]way, error) {
	comparisons := map[string]struct {
		suffix string
		compare
	}{
		"cosine": {"", func(f *vit.Features, text, _ blas32.General) (*surgery.Scores, error) {
			return surgery.Similarity(f, text)
		}},
		"surgery": {" + feature surgery", func(f *vit.Features, text, _ blas32.General) (*surgery.Scores, error) {
			return surgery.FeatureSurgery(f, text)
		}},
		"single": {" - empty text", surgery.RemoveRedundant},
	}
	var ways []way
	for i, p := range plans {
		for _, s := range scores {
			c, ok := comparisons[s]
			if !ok {
				return nil, fmt.Errorf("-scores %s: cosine, surgery or single", s)
			}
			ways = append(ways, way{p.Name + c.suffix, i, c.compare})
		}
	}
	if len(ways) == 0 {
		return nil, errors.New("-scores names no way of comparing")
	}
	return ways, nil
}

func plansNamed(names []string) ([]surgery.NamedPlan, error) {
	if len(names) == 0 {
		return surgery.Plans(), nil
	}
	var all []surgery.NamedPlan
	for _, name := range names {
		p, err := surgery.PlanNamed(name)
		if err != nil {
			return nil, err
		}
		all = append(all, surgery.NamedPlan{Name: name, Plan: p})
	}
	return all, nil
}

// evaluation is a run over pictures.
type evaluation struct {
	*state
	clip       *vit.CLIP
	vocabulary *surgery.Vocabulary
	empty      blas32.General // the empty text
	plans      []surgery.NamedPlan
	ways       []way
}

// evaluate scores the pictures that are not done.
func (e *evaluation) evaluate(ctx context.Context, items []eval.Item) error {
	progress := cli.Progress("pictures")
	saved := time.Now()
	for i, item := range items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !e.isDone(item.Name) {
			if err := e.add(ctx, item); err != nil {
				return fmt.Errorf("%s: %w", item.Name, err)
			}
		}
		progress(i+1, len(items))
		if *statePath != "" && time.Since(saved) > 10*time.Second {
			if err := e.save(*statePath); err != nil {
				return err
			}
			saved = time.Now()
		}
	}
	return nil
}

// add scores one picture in every way, or in none if it fails.
func (e *evaluation) add(ctx context.Context, item eval.Item) error {
	img, err := item.Picture()
	if err != nil {
		return err
	}
	truth, err := item.Truth()
	if err != nil {
		return err
	}
	opts := []surgery.SegmentOption{surgery.LogitScale(*scale), surgery.Background(0, *threshold)}
	if *refine {
		opts = append(opts, surgery.Refine(surgery.DefaultPAMR()))
	}
	one := make([]*eval.Score, len(e.ways))
	var features []*vit.Features
	var encoding time.Duration
	for i, w := range e.ways {
		if i == 0 || w.plan != e.ways[i-1].plan {
			start := cpuTime()
			if features, err = e.encode(ctx, img, e.plans[w.plan].Plan); err != nil {
				return err
			}
			encoding = cpuTime() - start
		}
		start := cpuTime()
		scores := make([]*surgery.Scores, len(features))
		for j, f := range features {
			if scores[j], err = w.compare(f, e.vocabulary.Text, e.empty); err != nil {
				return err
			}
		}
		if one[i], err = eval.NewScore(len(e.vocabulary.Classes)); err != nil {
			return err
		}
		one[i].Time = encoding + cpuTime() - start
		if err := one[i].Add(ctx, img, scores, e.vocabulary, truth, opts...); err != nil {
			return err
		}
	}
	e.Done = append(e.Done, item.Name)
	for i, w := range e.ways {
		if err := e.Scores[w.name].Merge(one[i]); err != nil {
			return err
		}
	}
	return nil
}

// encode is the features of a picture, or of windows over it.
func (e *evaluation) encode(ctx context.Context, img image.Image, plan vit.Plan) ([]*vit.Features, error) {
	opts := []vit.ImageOption{vit.Operate(plan)}
	if windows.Windows != nil {
		return e.clip.EncodeWindows(ctx, img, *windows.Windows, opts...)
	}
	if *size > 0 {
		opts = append(opts, vit.Resize(*size))
	}
	f, err := e.clip.EncodeImage(ctx, img, opts...)
	return []*vit.Features{f}, err
}

// report prints the tables and writes the results.
func report(s *state, ways []way, data *dataset) error {
	tables := tablesOf(s, ways, data.kinds)
	fmt.Printf("%d pictures, %d classes\n", len(s.Done), len(data.classes))
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	md, err := os.Create(filepath.Join(*out, "evaluation.md"))
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
	return os.WriteFile(filepath.Join(*out, "evaluation.json"), content, 0o644)
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
