package sam

import (
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
)

// TestHieraEverything compares whole runs with the reference's: the same masks in
// the same order.
func TestHieraEverything(t *testing.T) {
	for _, f := range golden.All(t, "sam2") {
		name, ok := strings.CutSuffix(path.Base(f.File), ".json")
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(f.Path(f.File))
			require.NoError(t, err)
			var run amgRun
			require.NoError(t, json.Unmarshal(data, &run))
			m := hieraModel(t, f)
			masks, err := m.Everything(t.Context(), scene(t, f.Path("sam2/scene.png")), run.options()...)
			require.NoError(t, err)
			require.Equal(t, len(run.Records), len(masks))
			for i, got := range masks {
				want := run.Records[i]
				require.Equal(t, image.Pt(want.Segmentation.Size[1], want.Segmentation.Size[0]), got.Size)
				require.Equal(t, want.Points[0], [2]float32{got.Point.X, got.Point.Y})
				require.Equal(t, want.Crop, floats(corner(got.Crop)))
				require.InDelta(t, want.IoU, got.IoU, 3e-5)
				// Large areas of the scene lie near the shifted thresholds.
				require.InDelta(t, want.Stability, got.Stability, 2e-3)
				mask, err := FromRuns(got.Size, want.Segmentation.Counts)
				require.NoError(t, err)
				require.Equal(t, want.Area, mask.Area())
				iou, err := IoU(mask, got)
				require.NoError(t, err)
				require.GreaterOrEqual(t, iou, 0.999, "mask %d", i)
			}
		})
	}
}

func scene(t testing.TB, path string) image.Image {
	r, err := os.Open(path)
	require.NoError(t, err)
	defer r.Close()
	img, err := png.Decode(r)
	require.NoError(t, err)
	return img
}
