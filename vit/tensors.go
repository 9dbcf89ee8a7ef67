package vit

import (
	"fmt"

	"github.com/clipsurgery/clipsurgery/weights"
)

// Tensors lists the tensors of a checkpoint of the architecture, under OpenAI's
// names, as [Load] wants them. Only the sizes of the configuration matter;
// impossible ones are [ErrConfig].
func (c Config) Tensors() ([]weights.TensorInfo, error) {
	if err := c.checkSizes(); err != nil {
		return nil, fmt.Errorf("vit: %w", err)
	}
	return c.tensors(), nil
}

// tensors is what the loader would read, which is the one list of them.
func (c Config) tensors() []weights.TensorInfo {
	c.Vision.Heads, c.Text.Heads = 1, 1 // no tensor depends on them
	l := new(loader)
	l.tower(&c)
	l.Tensor("logit_scale")
	l.text(&c)
	return l.Listed
}

// Limits of the sizes that can be listed, far above those of published models.
// They keep products of sizes within the integers of all machines.
const (
	maxWidth  = 1 << 18
	maxLayers = 1 << 12
	maxPatch  = 1 << 12
	maxTokens = 1 << 30
)

// checkSizes reports sizes that no model has.
func (c *Config) checkSizes() error {
	type size struct {
		name        string
		value, most int
	}
	v, t := &c.Vision, &c.Text
	all := []size{
		{"Embed", c.Embed, maxWidth},
		{"Vision.Patch", v.Patch, maxPatch}, {"Vision.Width", v.Width, maxWidth},
		{"Vision.Grid.X", v.Grid.X, maxCells}, {"Vision.Grid.Y", v.Grid.Y, maxCells / max(v.Grid.X, 1)},
		{"Text.Context", t.Context, maxTokens}, {"Text.Vocabulary", t.Vocabulary, maxTokens},
		{"Text.Width", t.Width, maxWidth}, {"Text.Layers", t.Layers, maxLayers}, {"Text.Hidden", t.Hidden, maxWidth},
	}
	if v.resNet() {
		for i, n := range v.Stages {
			all = append(all, size{fmt.Sprintf("Vision.Stages[%d]", i), n, maxLayers})
		}
	} else {
		all = append(all, size{"Vision.Layers", v.Layers, maxLayers}, size{"Vision.Hidden", v.Hidden, maxWidth})
	}
	for _, s := range all {
		if s.value < 1 || s.value > s.most {
			return fmt.Errorf("%w: %s is %d, want 1 to %d", ErrConfig, s.name, s.value, s.most)
		}
	}
	return nil
}
