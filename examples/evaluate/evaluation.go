package main

import (
	"context"
	"fmt"
	"image"
	"time"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/eval"
	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

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
