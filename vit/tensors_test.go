package vit

import (
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTensors: a configuration lists what its model loads, and one that no model
// has is an error.
func TestTensors(t *testing.T) {
	for _, c := range []*CLIP{toy.model(t), tinyRN.model(t)} {
		all, err := c.Config().Tensors()
		require.NoError(t, err)
		loaded, err := Load(procedural(t, all), Heads(c.Config().Vision.Heads, c.Config().Text.Heads))
		require.NoError(t, err)
		want := c.Config()
		want.Assumed = loaded.Config().Assumed
		require.Equal(t, want, loaded.Config())
	}
	for name, spoil := range map[string]func(*Config){
		"empty":      func(c *Config) { *c = Config{} },
		"negative":   func(c *Config) { c.Embed = -1 },
		"no blocks":  func(c *Config) { c.Text.Layers = 0 },
		"large grid": func(c *Config) { c.Vision.Grid = image.Pt(maxCells, 2) },
		"huge":       func(c *Config) { c.Text.Vocabulary = math.MaxInt },
		"one stage":  func(c *Config) { c.Vision.Stages = [4]int{1} },
	} {
		c := toy.config()
		spoil(&c)
		_, err := c.Tensors()
		require.ErrorIs(t, err, ErrConfig, name)
	}
}
