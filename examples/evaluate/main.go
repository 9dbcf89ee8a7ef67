// Evaluate measures every plan of package surgery, with and without feature
// surgery: segmentation, heat maps, recognition, and CPU time per picture.
//
//	go run ./examples/evaluate
//	go run ./examples/evaluate -clip FILE -voc VOC2012 -classes voc21.txt -windows -state run.json
//	go run ./examples/evaluate -clip FILE -coco instances.json -pictures val2017 -plans CLIPSurgery,NACLIP
//
// Without flags it runs the embedded demo model on the embedded scenes; -scenes
// takes a folder that weights/shapes/train/scenes.py has drawn. Interrupted
// with -state, it goes on where it stopped; states of the parts of a data set
// (-from, -count) add up with -merge.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
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
	clipPath  = flag.String("clip", "", "CLIP checkpoint (file or directory); default: the embedded demo model")
	scenesDir = flag.String("scenes", "", "folder of drawn scenes; default: the embedded ones")
	vocDir    = flag.String("voc", "", "folder of a data set in the manner of PASCAL VOC")
	pictures  = flag.String("pictures", "", "with -voc, the folder of pictures in it; with -coco, the folder of pictures")
	labelsDir = flag.String("labels", "", "with -voc, the folder of label maps in it")
	list      = flag.String("list", "", "with -voc, the list of names in it")
	noZero    = flag.Bool("without-zero", false, "with -voc, label 0 is ignored and label n is class n-1")
	cocoFile  = flag.String("coco", "", "data set in COCO's JSON")
	classFile = flag.String("classes", "", "file of classes, one a line with its synonyms, in the order of the labels")
	plans     = flag.String("plans", "", "plans, separated by commas; default: all")
	size      = flag.Int("size", 0, "side of the input, in pixels; default: the model's own")
	windows   = flag.Bool("windows", false, "short side 336, windows of 224 every 112 pixels")
	scale     = flag.Float64("scale", 40, "logit scale of the softmax that -threshold looks at")
	threshold = flag.Float64("threshold", 0, "probability under which a pixel becomes class 0")
	templates = flag.String("templates", "", "file of prompt templates, one a line, {} for the label; default: the reference's 85")
	from      = flag.Int("from", 0, "first picture")
	count     = flag.Int("count", 0, "how many pictures; default: all")
	statePath = flag.String("state", "", "file that keeps what is done, to go on after an interruption")
	merge     = flag.String("merge", "", "state files of other parts to add up, separated by commas; nothing is encoded")
	out       = flag.String("out", "out", "folder for evaluation.json and evaluation.md")
)

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	ways, err := waysOf(cli.List(*plans))
	if err != nil {
		return err
	}
	data, err := open()
	if err != nil {
		return err
	}
	state := newState(data, ways)
	if *merge != "" {
		for _, path := range cli.List(*merge) {
			if err := state.merge(path); err != nil {
				return err
			}
		}
		return report(state, ways, data.classes)
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
	v, err := surgery.EncodeClasses(ctx, clip, data.classes, prompts, vit.WithProgress(cli.Progress("texts")))
	if err != nil {
		return err
	}
	err = state.evaluate(ctx, clip, v, data, ways)
	if *statePath != "" {
		err = errors.Join(err, state.save(*statePath))
	}
	if err != nil {
		return err
	}
	return report(state, ways, data.classes)
}

// way is a plan with a way of comparing features with texts.
type way struct {
	name    string
	plan    vit.Plan
	compare func(*vit.Features, blas32.General) (*surgery.Scores, error)
}

func waysOf(names []string) ([]way, error) {
	all := surgery.Plans()
	if len(names) > 0 {
		all = nil
		for _, name := range names {
			p, err := surgery.PlanNamed(name)
			if err != nil {
				return nil, err
			}
			all = append(all, surgery.NamedPlan{Name: name, Plan: p})
		}
	}
	var ways []way
	for _, p := range all {
		ways = append(ways, way{p.Name, p.Plan, surgery.Similarity}, way{p.Name + " + feature surgery", p.Plan, surgery.FeatureSurgery})
	}
	return ways, nil
}

// evaluate scores the pictures that are not done.
func (s *state) evaluate(ctx context.Context, clip *vit.CLIP, v *surgery.Vocabulary, data *dataset, ways []way) error {
	progress := cli.Progress("pictures")
	saved := time.Now()
	for i, item := range data.items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !s.isDone(item.Name) {
			if err := s.add(ctx, clip, v, item, ways); err != nil {
				return fmt.Errorf("%s: %w", item.Name, err)
			}
		}
		progress(i+1, len(data.items))
		if *statePath != "" && time.Since(saved) > 10*time.Second {
			if err := s.save(*statePath); err != nil {
				return err
			}
			saved = time.Now()
		}
	}
	return nil
}

// add scores one picture in every way, or in none if it fails. The two ways of
// a plan share its features.
func (s *state) add(ctx context.Context, clip *vit.CLIP, v *surgery.Vocabulary, item eval.Item, ways []way) error {
	img, err := item.Picture()
	if err != nil {
		return err
	}
	truth, err := item.Truth()
	if err != nil {
		return err
	}
	opts := []surgery.SegmentOption{surgery.LogitScale(float32(*scale)), surgery.Background(0, float32(*threshold))}
	one := make([]*eval.Score, len(ways))
	var features []*vit.Features
	var encoding time.Duration
	for i, w := range ways {
		if i%2 == 0 {
			start := cpuTime()
			operate := []vit.ImageOption{vit.Operate(w.plan)}
			if *windows {
				features, err = clip.EncodeWindows(ctx, img, surgery.DefaultWindows(), operate...)
			} else {
				if *size > 0 {
					operate = append(operate, vit.Resize(*size))
				}
				var f *vit.Features
				f, err = clip.EncodeImage(ctx, img, operate...)
				features = []*vit.Features{f}
			}
			if err != nil {
				return err
			}
			encoding = cpuTime() - start
		}
		start := cpuTime()
		scores := make([]*surgery.Scores, len(features))
		for j, f := range features {
			if scores[j], err = w.compare(f, v.Text); err != nil {
				return err
			}
		}
		one[i] = eval.NewScore(len(v.Classes))
		one[i].Time = encoding + cpuTime() - start
		if err := one[i].Add(ctx, scores, v, truth, opts...); err != nil {
			return err
		}
	}
	s.Done = append(s.Done, item.Name)
	for i, w := range ways {
		if err := s.Scores[w.name].Merge(one[i]); err != nil {
			return err
		}
	}
	return nil
}

// report prints the table and writes the results.
func report(s *state, ways []way, classes []surgery.Class) error {
	table := eval.Table{Columns: []string{"mIoU", "of present", "pixels", "map IoU@0.5", "best", "mSC", "pointing", "mAP", "CPU ms"}}
	for _, w := range ways {
		x := s.Scores[w.name]
		maps := x.MapsOf()
		best, _ := maps.BestIoU()
		table.Add(w.name, x.All.MeanIoU(), x.Present.MeanIoU(), x.All.PixelAccuracy(), maps.MeanIoU(0.5), best,
			maps.Contrast.Value(), maps.Pointing.Value(), x.Ranking.MeanAveragePrecision(),
			float64(x.Time.Microseconds())/1e3/float64(x.Pictures))
	}
	fmt.Printf("%d pictures, %d classes\n\n", len(s.Done), len(classes))
	if err := table.WriteText(os.Stdout); err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	md, err := os.Create(filepath.Join(*out, "evaluation.md"))
	if err != nil {
		return err
	}
	if err := errors.Join(table.WriteMarkdown(md), md.Close()); err != nil {
		return err
	}
	data, err := json.MarshalIndent(struct {
		Pictures int         `json:"pictures"`
		Table    *eval.Table `json:"table"`
		State    *state      `json:"state"`
	}{len(s.Done), &table, s}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*out, "evaluation.json"), data, 0o644)
}
