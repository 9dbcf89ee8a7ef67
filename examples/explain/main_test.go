package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/internal/cli/clitest"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
)

func TestExplainScenes(t *testing.T) {
	clitest.Set(t, "out", t.TempDir())
	require.NoError(t, run(context.Background()))
	jobs, labels, err := work()
	require.NoError(t, err)
	require.Equal(t, shapes.Classes(), labels)
	require.Len(t, jobs, 4)
	for _, j := range jobs {
		require.NotEmpty(t, j.draw)
		for _, label := range j.draw {
			for _, way := range []string{"raw CLIP", "surgery", "surgery 192 px", "single text"} {
				overlay := clitest.PNG(t, filepath.Join(*out, cli.FileName(j.name, label, way)+".png"))
				require.Equal(t, j.picture.Bounds().Size(), overlay.Bounds().Size())
			}
		}
	}
	clitest.PNG(t, filepath.Join(*out, "sheet.png"))
}

func TestExplainWithoutLabels(t *testing.T) {
	clitest.OwnPicture(t)
	clitest.Set(t, "size", "128")
	clitest.Set(t, "raw", "false")
	require.NoError(t, run(context.Background()))
	clitest.PNG(t, filepath.Join(*out, "sheet.png"))
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
		filepath.Join(dir, cli.FileName("own picture", noun, "single text")+".png")}, written)

	clitest.Set(t, "labels", noun+", sky")
	require.NoError(t, run(context.Background()))
	clitest.PNG(t, filepath.Join(dir, cli.FileName("own picture", "sky", "surgery 128 px")+".png"))
}
