package sam

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTensors: a configuration lists what its model loads, and one that no model
// has is an error.
func TestTensors(t *testing.T) {
	c := micro()
	all, err := c.Tensors()
	require.NoError(t, err)
	f := procedural(t, c)
	require.Len(t, all, len(f.Names()))
	for _, info := range all {
		shape, ok := f.Shape(info.Name)
		require.True(t, ok, info.Name)
		require.Equal(t, shape, info.Shape, info.Name)
	}
	for name, spoil := range map[string]func(*Config){
		"no encoder":    func(c *Config) { c.ViT = nil },
		"two encoders":  func(c *Config) { c.Tiny = &TinyViTConfig{} },
		"few windows":   func(c *Config) { c.ViT.Windows = nil },
		"many tables":   func(c *Config) { c.ViT.Tables = append(c.ViT.Tables, 1) },
		"no heads":      func(c *Config) { c.ViT.Heads = 0 },
		"no cells":      func(c *Config) { c.PatchSize = 0 },
		"endless":       func(c *Config) { c.DecoderDepth = math.MaxInt },
		"empty tinyViT": func(c *Config) { c.ViT, c.Tiny = nil, &TinyViTConfig{} },
	} {
		c := micro()
		spoil(&c)
		_, err := c.Tensors()
		require.ErrorIs(t, err, ErrConfig, name)
	}
	_, err = Config{}.Tensors()
	require.ErrorIs(t, err, ErrConfig)
}
