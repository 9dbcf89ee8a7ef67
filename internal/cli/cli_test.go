package cli

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCheckpoint: no path is taken for a name, which would go to the network.
func TestCheckpoint(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll("ViT-B", 0o700))
	require.NoError(t, os.WriteFile(filepath.Join("ViT-B", "16"), nil, 0o600))
	for _, path := range []string{"model.pt", "ViT-B/16", "ViT-B/17", "no/model.pth", "a/b/c", "../x", "/tmp/x", "."} {
		got, err := Checkpoint(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, path, got)
	}
}

func TestWindows(t *testing.T) {
	for args, want := range map[string]string{
		"": "false", "-w": "336,224,112", "-w=false": "false", "-w=560,224,112": "560,224,112",
		"-w=1,2": "", "-w=1,2,3,4": "", "-w=x": "",
	} {
		var w Windows
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		flags.Var(&w, "w", "")
		err := flags.Parse(strings.Fields(args))
		if want == "" {
			require.ErrorContains(t, err, "336,224,112", args)
			continue
		}
		require.NoError(t, err, args)
		require.Equal(t, want, w.String())
		require.Equal(t, want == "false", w.Windows == nil)
	}
}
