package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCheckpoint: no path is taken for a name, which would go to the network.
func TestCheckpoint(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll("ViT-B", 0o700))
	require.NoError(t, os.WriteFile(filepath.Join("ViT-B", "16"), nil, 0o600))
	for _, path := range []string{"model.pt", "ViT-B/16", "ViT-B/17", "no/model.pth", "a/b/c", "../x", "/tmp/x", "."} {
		got, err := Checkpoint(path)
		require.NoError(t, err)
		require.Equal(t, path, got)
	}
}
