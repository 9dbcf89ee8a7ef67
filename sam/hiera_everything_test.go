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

// hieraRun is what SAM 2's generator made of the scene.
type hieraRun struct {
	Options struct {
		PerSide   int     `json:"points_per_side"`
		PerBatch  int     `json:"points_per_batch"`
		Layers    int     `json:"crop_n_layers"`
		Overlap   float64 `json:"crop_overlap_ratio"`
		Downscale int     `json:"crop_n_points_downscale_factor"`
		Area      int     `json:"min_mask_region_area"`
		IoU       float64 `json:"pred_iou_thresh"`
		Stability float64 `json:"stability_score_thresh"`
		Offset    float64 `json:"stability_score_offset"`
		BoxNMS    float64 `json:"box_nms_thresh"`
		CropNMS   float64 `json:"crop_nms_thresh"`
		Multi     *bool   `json:"multimask_output"`
		Refine    bool    `json:"use_m2m"`
	}
	Records []struct {
		Segmentation struct {
			Size   [2]int
			Counts []uint32
		}
		Area      int
		IoU       float32       `json:"predicted_iou"`
		Points    [1][2]float32 `json:"point_coords"`
		Stability float32       `json:"stability_score"`
		Crop      [4]float32    `json:"crop_box"`
	}
}

func (r *hieraRun) options() []EverythingOption {
	o := r.Options
	opts := []EverythingOption{
		PointsPerSide(o.PerSide), PointsPerBatch(o.PerBatch), CropLayers(o.Layers), MinRegionArea(o.Area),
		MinIoU(o.IoU), MinStability(o.Stability), StabilityOffset(o.Offset), BoxNMS(o.BoxNMS), CropNMS(o.CropNMS),
	}
	if o.Overlap != 0 {
		opts = append(opts, CropOverlap(o.Overlap))
	}
	if o.Downscale != 0 {
		opts = append(opts, CropPointsDownscale(o.Downscale))
	}
	if o.Multi != nil && !*o.Multi {
		opts = append(opts, SingleMasks())
	}
	if o.Refine {
		opts = append(opts, RefineMasks())
	}
	return opts
}

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
			var run hieraRun
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
