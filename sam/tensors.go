package sam

import (
	"fmt"

	"github.com/clipsurgery/clipsurgery/weights"
)

// Tensors lists the tensors of a checkpoint of the architecture, under Meta's
// names, as [Load] wants them. Impossible sizes are [ErrConfig].
func (c Config) Tensors() ([]weights.TensorInfo, error) {
	if (c.ViT == nil) == (c.Tiny == nil) {
		return nil, fmt.Errorf("sam: %w: want one image encoder, ViT or Tiny", ErrConfig)
	}
	if v := c.ViT; v != nil && (len(v.Windows) != v.Depth || len(v.Tables) != v.Depth) {
		return nil, fmt.Errorf("sam: %w: %d windows and %d tables for %d blocks", ErrConfig, len(v.Windows), len(v.Tables), v.Depth)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	return c.listing().Listed, nil
}

// listing is a loader that has noted what it would read, which is the one list
// of the tensors.
func (c Config) listing() *loader {
	list := new(loader)
	(&Model{config: c}).build(list)
	return list
}
