package sam

import (
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/hostile"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// open opens a checkpoint of the fixtures.
func open(t testing.TB, name string) *weights.File {
	f, err := weights.Open(filepath.Join(golden.Root(t), "formats", filepath.FromSlash(name)))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// Every layout and container gives the same tensors under the model's own names.
func TestNames(t *testing.T) {
	hostile.CheckNames(t, names(), open, "sam_f16.safetensors", "sam_hf", "sam_f32.pth")
}
