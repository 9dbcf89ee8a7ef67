package sam

import (
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/hostile"
)

// Every layout and container gives the same tensors under the model's own names.
func TestNames(t *testing.T) {
	hostile.CheckNames(t, names(), "sam_f16.safetensors", "sam_hf", "sam_f32.pth")
}
