package main

import (
	"context"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/cli/clitest"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/stretchr/testify/require"
)

func TestLabel(t *testing.T) {
	clitest.Set(t, "out", t.TempDir())
	require.NoError(t, run(context.Background()))
	pictures, err := images.Open(0, 1, 2, 3, 4, 5)
	require.NoError(t, err)
	for _, p := range pictures {
		clitest.PNG(t, p.Name, "label")
		require.Equal(t, p.Bounds().Size(), clitest.PNG(t, p.Name, "labels").Bounds().Size())
	}
}

func TestOwnClasses(t *testing.T) {
	clitest.Set(t, "labels", "circle, sky")
	classes, err := classesAsked()
	require.NoError(t, err)
	require.Equal(t, surgery.Nouns("circle", "sky"), classes)
	pictures, err := images.Open(0)
	require.NoError(t, err)
	require.Nil(t, truthOf(pictures[0]), "what is right is not known")

	clitest.Set(t, "classes", filepath.Join(t.TempDir(), "classes.txt"))
	require.NoError(t, os.WriteFile(*classFile, []byte("- background\ncar, automobile\n"), 0o644))
	classes, err = classesAsked()
	require.NoError(t, err)
	require.Equal(t, surgery.ParseClasses("- background\ncar, automobile\n"), classes)
	require.Len(t, classes, 2)

	clitest.Set(t, "labels", "")
	clitest.Set(t, "classes", "")
	clitest.Set(t, "image", "picture.png")
	_, err = classesAsked()
	require.ErrorContains(t, err, "-labels")
}

func TestOptionsExclude(t *testing.T) {
	clitest.Set(t, "size", "96")
	opts, err := options()
	require.NoError(t, err)
	require.NotEmpty(t, opts)
	clitest.Set(t, "windows", "true")
	_, err = options()
	require.ErrorContains(t, err, "exclude")
	clitest.Set(t, "plan", "none")
	_, err = options()
	require.Error(t, err)
}

func TestRightAndShares(t *testing.T) {
	truth, found := surgery.NewLabelMap(image.Pt(20, 10)), surgery.NewLabelMap(image.Pt(20, 10))
	for i := range truth.Labels {
		truth.Labels[i] = uint16(i % 4)
		found.Labels[i] = uint16(i % 2)
	}
	require.Equal(t, "50%", right(found, truth))
	found.Labels[0] = 2 // half a per cent of the pixels
	found.Labels[1] = 9 // no class
	require.Equal(t, []surgery.Ranked{{Label: 0, Score: 49.5}, {Label: 1, Score: 49.5}}, shares(found, 3))
}
