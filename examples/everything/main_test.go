package main

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/internal/cli/clitest"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/stretchr/testify/require"
)

func TestEverythingInOwnPicture(t *testing.T) {
	scene, dir, _ := clitest.OwnPicture(t)
	clitest.Set(t, "side", "8")
	clitest.Set(t, "min-area", "4")
	require.NoError(t, run(context.Background()))

	clitest.PNG(t, "everything")
	overlay := clitest.PNG(t, "own picture", "everything")
	require.Equal(t, scene.Picture.Bounds().Size(), overlay.Bounds().Size())
	data, err := os.ReadFile(filepath.Join(dir, "own-picture-everything.json"))
	require.NoError(t, err)
	var coco struct {
		Images []struct {
			FileName string `json:"file_name"`
		}
		Annotations []struct {
			Area         int
			Segmentation struct{ Size [2]int }
		}
	}
	require.NoError(t, json.Unmarshal(data, &coco))
	require.Equal(t, "own picture.png", coco.Images[0].FileName)
	require.GreaterOrEqual(t, len(coco.Annotations), len(scene.Things), string(data))
	for _, a := range coco.Annotations {
		require.Positive(t, a.Area)
		require.Equal(t, [2]int{128, 128}, a.Segmentation.Size)
	}
}

func TestMeasure(t *testing.T) {
	mask := func(r image.Rectangle) sam.Mask {
		g := image.NewAlpha(image.Rect(0, 0, 10, 10))
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				g.Pix[g.PixOffset(x, y)] = 255
			}
		}
		return sam.MaskOf(g)
	}
	left, right := mask(image.Rect(0, 0, 5, 10)), mask(image.Rect(5, 0, 10, 5))
	share, found, err := measure(cli.Picture{Image: image.NewGray(image.Rect(0, 0, 10, 10))}, []sam.Mask{left, left, right})
	require.NoError(t, err)
	require.Equal(t, 0.75, share)
	require.Empty(t, found, "what is there is not known")

	scenes, err := images.Open(0)
	require.NoError(t, err)
	s := scenes[0].Scene
	_, found, err = measure(scenes[0], []sam.Mask{sam.MaskOf(s.Mask(0))})
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("1 of %d", len(s.Things)), found)
	_, _, err = measure(scenes[0], []sam.Mask{left})
	require.ErrorIs(t, err, sam.ErrSize)
}
