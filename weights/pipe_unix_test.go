//go:build unix

package weights

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Named pipes, which block whoever opens them, are refused before that,
// wherever a checkpoint is looked for.
func TestNamedPipes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"model.safetensors", "a.pt", "config.json", "s.safetensors"} {
		require.NoError(t, syscall.Mkfifo(filepath.Join(dir, name), 0o600))
	}
	_, err := Open(filepath.Join(dir, "a.pt"))
	require.ErrorIs(t, err, ErrFormat)
	_, err = Open(dir)
	require.ErrorIs(t, err, ErrFormat)
	_, err = OpenModel(dir, toy())
	require.ErrorIs(t, err, ErrFormat)

	require.NoError(t, Save(t.Context(), filepath.Join(dir, "open_clip_model.safetensors"), prefixed(t, "", "embed"), F32))
	f, err := OpenModel(dir, toy())
	require.NoError(t, err)
	require.Nil(t, f.Config())
	require.NoError(t, f.Close())

	index := filepath.Join(dir, "index.json")
	writeFile(t, index, `{"weight_map":{"embed":"s.safetensors"}}`)
	_, err = Open(index)
	require.ErrorIs(t, err, ErrFormat)
}

func writeFile(t *testing.T, path, text string) {
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}
