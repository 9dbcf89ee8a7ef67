package sam

import (
	"fmt"
	"strings"

	"github.com/clipsurgery/clipsurgery/weights"
)

// Tensors lists the tensors of a checkpoint of the architecture, under Meta's
// names, as [Load] wants them. Impossible sizes are [ErrConfig].
func (c Config) Tensors() ([]weights.TensorInfo, error) {
	encoders := 0
	for _, there := range []bool{c.ViT != nil, c.Tiny != nil, c.Hiera != nil} {
		if there {
			encoders++
		}
	}
	if encoders != 1 {
		return nil, fmt.Errorf("sam: %w: want one image encoder, ViT, Tiny or Hiera", ErrConfig)
	}
	if v := c.ViT; v != nil && (len(v.Windows) != v.Depth || len(v.Tables) != v.Depth) {
		return nil, fmt.Errorf("sam: %w: %d windows and %d tables for %d blocks", ErrConfig, len(v.Windows), len(v.Tables), v.Depth)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	return c.published(), nil
}

// published is the listing under Meta's names.
func (c Config) published() []weights.TensorInfo {
	var all []weights.TensorInfo
	for _, t := range c.listing().Listed {
		if name, ok := strings.CutSuffix(t.Name, "point_embeddings.weight"); ok {
			// Meta has them one by one.
			for i := range t.Shape[0] {
				all = append(all, weights.TensorInfo{Name: fmt.Sprintf("%spoint_embeddings.%d.weight", name, i), Shape: []int{1, t.Shape[1]}})
			}
			continue
		}
		all = append(all, t)
	}
	return all
}

// listing is a loader that has noted what it would read, which is the one list
// of the tensors.
func (c Config) listing() *loader {
	list := new(loader)
	(&Model{config: c}).build(list)
	return list
}
