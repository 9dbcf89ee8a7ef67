// Package clitest is what the tests of the example programs share.
package clitest

import (
	"flag"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
)

// Set gives a flag of the program a value for one test.
func Set(t testing.TB, name, value string) {
	t.Helper()
	f := flag.Lookup(name)
	require.NotNil(t, f, name)
	before := f.Value.String()
	require.NoError(t, f.Value.Set(value))
	t.Cleanup(func() { require.NoError(t, f.Value.Set(before)) })
}

// OwnPicture writes an embedded scene to a file of its own, as a user's picture,
// and has the program read it and write beside it.
func OwnPicture(t testing.TB) (scene shapes.Scene, dir, file string) {
	t.Helper()
	scenes, err := shapes.Scenes()
	require.NoError(t, err)
	dir = t.TempDir()
	file = filepath.Join(dir, "own picture.png")
	require.NoError(t, cli.SavePNG(file, scenes[0].Picture))
	Set(t, "out", dir)
	Set(t, "image", file)
	return scenes[0], dir, file
}

// PNG reads a picture that the program has written to -out under joined names.
func PNG(t testing.TB, names ...string) image.Image {
	t.Helper()
	folder := cli.Folder(flag.Lookup("out").Value.String())
	path, err := folder.Path(".png", names...)
	require.NoError(t, err)
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err, path)
	return img
}
