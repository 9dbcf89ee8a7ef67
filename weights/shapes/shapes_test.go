package shapes_test

import (
	"fmt"
	"os"
	"path/filepath"
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

// TestSize: programs that import the package carry less than 4 MB for it.
func TestSize(t *testing.T) {
	var total int64
	for _, pattern := range []string{"*.gz", "scenes/*"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			info, err := os.Stat(file)
			require.NoError(t, err)
			total += info.Size()
		}
	}
	t.Logf("%d bytes", total)
	require.Less(t, total, int64(4_000_000))
	require.Greater(t, total, int64(2_000_000))
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
