package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/cli/clitest"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
)

func TestExplainScenes(t *testing.T) {
	clitest.Set(t, "out", t.TempDir())
	require.NoError(t, run(context.Background()))
	q := question()
	require.Equal(t, shapes.Classes(), q.labels)
	pictures, err := images.Open(0, 1, 2, 3)
	require.NoError(t, err)
	for _, p := range pictures {
		require.Equal(t, p.Scene.Nouns(), q.of(p))
		for _, label := range q.of(p) {
			for _, method := range []string{"raw CLIP", "surgery", "surgery 192 px", "single text"} {
				overlay := clitest.PNG(t, p.Name, label, method)
				require.Equal(t, p.Bounds().Size(), overlay.Bounds().Size())
			}
		}
	}
	clitest.PNG(t, "sheet")
}

func TestExplainWithoutLabels(t *testing.T) {
	clitest.OwnPicture(t)
	clitest.Set(t, "size", "128")
	clitest.Set(t, "raw", "false")
	require.NoError(t, run(context.Background()))
	clitest.PNG(t, "sheet")
}

func TestExplainOwnPicture(t *testing.T) {
	scene, dir, file := clitest.OwnPicture(t)
	clitest.Set(t, "size", "128")
	clitest.Set(t, "raw", "false")

	prompts := filepath.Join(dir, "templates.txt")
	require.NoError(t, os.WriteFile(prompts, []byte("a picture of a {}.\n{}\n"), 0o644))
	clitest.Set(t, "templates", prompts)
	noun := scene.Nouns()[0]
	clitest.Set(t, "text", noun)
	require.NoError(t, run(context.Background()))
	written, err := filepath.Glob(filepath.Join(dir, "*.png"))
	require.NoError(t, err)
	// A label alone has no set to be told apart from.
	require.ElementsMatch(t, []string{file, filepath.Join(dir, "sheet.png"),
		filepath.Join(dir, "own-picture-"+noun+"-single-text.png")}, written)

	clitest.Set(t, "labels", noun+", sky")
	require.NoError(t, run(context.Background()))
	clitest.PNG(t, "own picture", "sky", "surgery 128 px")
}
