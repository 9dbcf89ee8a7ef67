package main

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/cli/clitest"
	"github.com/stretchr/testify/require"
)

func TestWords(t *testing.T) {
	clitest.Set(t, "out", t.TempDir())
	require.NoError(t, run(context.Background()))
	jobs, err := work()
	require.NoError(t, err)
	require.Len(t, jobs, 8, "a caption of the scene and one of another")
	for _, j := range jobs {
		clitest.PNG(t, filepath.Join(*out, j.name+"-words.png"))
	}
}

func TestOwnText(t *testing.T) {
	clitest.Set(t, "text", "a red circle")
	jobs, err := work()
	require.NoError(t, err)
	require.Len(t, jobs, 4)
	for _, j := range jobs {
		require.Equal(t, "a red circle", j.text)
	}
	clitest.Set(t, "image", "picture.png")
	clitest.Set(t, "text", "")
	_, err = work()
	require.ErrorContains(t, err, "-text")
}
