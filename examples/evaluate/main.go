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
	"errors"
	"flag"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
)

var (
	checkpoint = cli.CLIPFlag()
	scenesDir  = flag.String("scenes", "", "folder of drawn scenes; default: the embedded ones")
	vocDir     = flag.String("voc", "", "folder of a data set in the manner of PASCAL VOC")
	pictures   = flag.String("pictures", "", "with -voc, the folder of pictures in it; with -coco, the folder of pictures")
	labelMaps  = flag.String("label-maps", "", "with -voc, the folder of label maps in it")
	list       = flag.String("list", "", "with -voc, the list of names in it")
	noZero     = flag.Bool("without-zero", false, "with -voc, label 0 is ignored and label n is class n-1")
	cocoFile   = flag.String("coco", "", "data set in COCO's JSON")
	classFile  = flag.String("classes", "", "file of classes, one a line with its synonyms, in the order of the labels")
	planNames  = cli.TextsFlag("plans", "plans; default: all")
	scoring    = flag.String("scores", "cosine,surgery", "how features are compared with texts: cosine, surgery (label set), single (less the empty text), separated by commas")
	size       = cli.SizeFlag("side of the input", "the model's own")
	scale      = flag.Float64("scale", 40, "logit scale of the softmax that -threshold looks at")
	windows    = cli.WindowsFlag()
	threshold  = flag.Float64("threshold", 0, "probability under which a pixel becomes class 0")
	refine     = flag.Bool("refine", false, "smooth scores along the pictures' edges (PAMR)")
	templates  = cli.TemplatesFlag()
	from       = flag.Int("from", 0, "first picture")
	count      = flag.Int("count", 0, "how many pictures; default: all")
	statePath  = flag.String("state", "", "file that keeps what is done, to go on after an interruption")
	merge      = cli.TextsFlag("merge", "state files of other parts to add up; nothing is encoded")
	out        = cli.OutFlag()
)

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	plans, err := plansNamed(*planNames)
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
	for _, path := range *merge {
		if err := state.merge(path); err != nil {
			return err
		}
	}
	if len(*merge) > 0 {
		return report(state, ways, data)
	}
	if *statePath != "" {
		if err := state.restore(*statePath); err != nil {
			return err
		}
	}
	clip, err := checkpoint.Open(ctx)
	if err != nil {
		return err
	}
	prompts, err := templates.Read()
	if err != nil {
		return err
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
