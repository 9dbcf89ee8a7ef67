package main

import (
	"context"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"gonum.org/v1/gonum/blas/blas32"
)

// texts is what pictures are asked about.
type texts struct {
	labels, singles  []string
	set, each, empty blas32.General // features of labels, of singles, of the empty text
}

// question is what the flags ask.
func question() *texts {
	t := &texts{labels: *labels, singles: *singles}
	if len(t.labels) == 0 && images.Given() {
		t.labels = *singles
	}
	if len(t.labels) == 0 {
		t.labels = shapes.Classes()
	}
	if len(t.singles) == 0 {
		t.singles = t.labels
	}
	return t
}

func (t *texts) encode(ctx context.Context, clip *vit.CLIP) error {
	prompts, err := templates.Read()
	if err != nil {
		return err
	}
	progress := vit.WithProgress(cli.Progress("labels"))
	if t.set, err = clip.EncodeLabels(ctx, t.labels, prompts, progress); err != nil {
		return err
	}
	if t.each, err = clip.EncodeLabels(ctx, t.singles, prompts, progress); err != nil {
		return err
	}
	t.empty, err = clip.EncodeLabels(ctx, []string{""}, prompts)
	return err
}

// of is the texts whose maps are drawn for a picture: those of -labels and -text,
// or what a scene shows.
func (t *texts) of(p cli.Picture) []string {
	shown := t.labels
	if len(*labels) == 0 && p.Scene != nil {
		shown = p.Scene.Nouns()
	}
	for _, text := range *singles {
		if !slices.Contains(shown, text) {
			shown = append(slices.Clip(shown), text)
		}
	}
	return shown
}
