package main

import (
	"context"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/vit"
)

// models are what answers.
type models struct {
	clip *vit.CLIP // nil if only clicks are asked about
	sam  *sam.Model
	opts []clipsurgery.Option // of all questions
}

// load opens the models that the questions need.
func load(ctx context.Context, q question) (*models, error) {
	prompts, err := templates.Read()
	if err != nil {
		return nil, err
	}
	m := &models{opts: []clipsurgery.Option{
		clipsurgery.MinPresence(*presence),
		clipsurgery.Templates(prompts...),
		clipsurgery.TextOptions(vit.WithProgress(cli.Progress("labels"))),
	}}
	if *size > 0 {
		m.opts = append(m.opts, clipsurgery.ImageOptions(vit.Resize(*size)))
	}
	if *components {
		m.opts = append(m.opts, clipsurgery.Components())
	}
	if *rerank {
		m.opts = append(m.opts, clipsurgery.Rerank())
	}
	if m.sam, err = samFlag.Open(ctx); err != nil {
		return nil, err
	}
	if len(q.parts) > 0 || q.empty() {
		m.clip, err = clipFlag.Open(ctx)
	}
	return m, err
}
