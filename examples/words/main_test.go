package main

import (
	"context"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/cli/clitest"
	"github.com/stretchr/testify/require"
)

func TestWords(t *testing.T) {
	clitest.Set(t, "out", t.TempDir())
	require.NoError(t, run(context.Background()))
	pairs, err := pairsOf()
	require.NoError(t, err)
	require.Len(t, pairs, 8, "a caption of the scene and one of another")
	for _, p := range pairs {
		clitest.PNG(t, p.Name, "words")
	}
}

func TestOwnText(t *testing.T) {
	clitest.Set(t, "text", "a red circle")
	pairs, err := pairsOf()
	require.NoError(t, err)
	require.Len(t, pairs, 4)
	for _, p := range pairs {
		require.Equal(t, "a red circle", p.sentence)
	}
	clitest.Set(t, "image", "picture.png")
	clitest.Set(t, "text", "")
	_, err = pairsOf()
	require.ErrorContains(t, err, "-text")
}
