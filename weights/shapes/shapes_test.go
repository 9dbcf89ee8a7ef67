package shapes_test

import (
	"fmt"
	"testing"

	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
)

func TestScenesAgreeWithTheirLabels(t *testing.T) {
	scenes, err := shapes.Scenes()
	require.NoError(t, err)
	require.Len(t, scenes, 24)
	for _, s := range scenes {
		for i, thing := range s.Things {
			area := 0
			for _, v := range s.Mask(i).Pix {
				if v != 0 {
					area++
				}
			}
			require.Equal(t, thing.Area, area, "scene %d, %s", s.Seed, thing.Name)
			require.Contains(t, s.Nouns(), thing.Shape)
		}
	}
}

func ExampleCLIP() {
	f, err := shapes.CLIP()
	if err != nil {
		fmt.Println(err)
		return
	}
	shape, _ := f.Shape("visual.conv1.weight")
	fmt.Println(shape)
	// Output: [64 3 8 8]
}
