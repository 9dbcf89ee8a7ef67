package main

import (
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/cli/clitest"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/stretchr/testify/require"
)

func TestParsePrompt(t *testing.T) {
	p, err := parsePrompt("1, 2.5,+; -3,4,- ;", " 1,2, 3,4")
	require.NoError(t, err)
	require.Equal(t, &sam.Prompt{
		Points: []sam.Point{{X: 1, Y: 2.5, Label: sam.Foreground}, {X: -3, Y: 4, Label: sam.Background}},
		Box:    &sam.Box{X0: 1, Y0: 2, X1: 3, Y1: 4},
	}, p)
	p, err = parsePrompt("", "")
	require.NoError(t, err)
	require.Nil(t, p)
	for _, bad := range []string{";", "1,2", "1,2,*", "a,2,+", "1,2,+;1", "1,2,3,+"} {
		_, err := parsePrompt(bad, "")
		require.ErrorContains(t, err, "want", bad)
	}
	for _, bad := range []string{",", "1,2,3", "1,2,3,4,5", "1,2,3,x"} {
		_, err := parsePrompt("", bad)
		require.ErrorContains(t, err, "want", bad)
	}
}

func TestSegmentOwnPicture(t *testing.T) {
	scene, _, _ := clitest.OwnPicture(t)
	require.ErrorContains(t, run(t.Context()), "-labels")
	noun := scene.Things[0].Shape
	clitest.Set(t, "labels", noun)
	clitest.Set(t, "among", "sky, grass")
	clitest.Set(t, "points", "64,64,+")
	clitest.Set(t, "components", "true")
	require.NoError(t, run(t.Context()))
	clitest.PNG(t, "own picture", "segment")
	for _, names := range [][]string{{"own picture", "label set", noun, "mask"}, {"own picture", "clicks", "mask"}} {
		require.Equal(t, scene.Picture.Bounds().Size(), clitest.PNG(t, names...).Bounds().Size())
	}
}

func TestSegmentScenes(t *testing.T) {
	clitest.Set(t, "out", t.TempDir())
	require.NoError(t, run(t.Context()))
	pictures, err := images.Open(0, 1, 4, 13)
	require.NoError(t, err)
	for _, p := range pictures {
		q := questionOfScene(p.Scene)
		require.Len(t, q.parts, 3)
		clitest.PNG(t, p.Name, "segment")
		clitest.PNG(t, p.Name, "clicks", "mask")
	}
}
