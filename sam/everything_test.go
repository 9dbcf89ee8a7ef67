package sam

import (
	"context"
	"encoding/json"
	"image"
	"image/draw"
	"math"
	"os"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
)

// amgRun is what the reference's generator made of the scene.
type amgRun struct {
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
		Multi     *bool   `json:"multimask_output"` // SAM 2's
		Refine    bool    `json:"use_m2m"`
	}
	Records []struct {
		Area      int
		Box       [4]float32    `json:"bbox"` // x, y, and how far the last pixel is
		IoU       float32       `json:"predicted_iou"`
		Points    [1][2]float32 `json:"point_coords"`
		Stability float32       `json:"stability_score"`
		Crop      [4]float32    `json:"crop_box"`
		COCO      string        `json:"coco_rle"`

		Segmentation struct { // SAM 2's
			Size   [2]int
			Counts []uint32
		}
	}
}

func (r *amgRun) options() []EverythingOption {
	o := r.Options
	opts := []EverythingOption{
		PointsPerSide(o.PerSide), PointsPerBatch(o.PerBatch), CropLayers(o.Layers), MinRegionArea(o.Area),
		MinIoU(o.IoU), MinStability(o.Stability), StabilityOffset(o.Offset), BoxNMS(o.BoxNMS), CropNMS(o.CropNMS),
	}
	if o.Overlap != 0 && o.Layers > 0 {
		opts = append(opts, CropOverlap(o.Overlap))
	}
	if o.Downscale != 0 && o.Layers > 0 {
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

// amgModel is the model of a run, overrides and all, and the scene.
func amgModel(t testing.TB, f *golden.Fixture, opts ...Option) (*Model, image.Image) {
	var a architecture
	f.Arch(t, &a)
	file := checkpoint(t, a.config(), func(dst []float32, name string, shape []int) { copy(dst, f.Weight(name, shape)) })
	m, err := Load(file, append([]Option{DecoderHeads(a.DecoderHeads)}, opts...)...)
	require.NoError(t, err)
	return m, scene(t, f.Path("amg/scene.png"))
}

func loadRun(t testing.TB, name string) (*golden.Fixture, *amgRun) {
	f := golden.Load(t, "amg/"+name+".json")
	data, err := os.ReadFile(f.Path(f.File))
	require.NoError(t, err)
	var r amgRun
	require.NoError(t, json.Unmarshal(data, &r))
	return f, &r
}

// TestEverything compares whole runs with the reference's: the same masks in
// the same order.
func TestEverything(t *testing.T) {
	for _, name := range []string{"run_grid", "run_grid_regions", "run_crops"} {
		t.Run(name, func(t *testing.T) {
			f, run := loadRun(t, name)
			m, img := amgModel(t, f)
			masks, err := m.Everything(t.Context(), img, run.options()...)
			require.NoError(t, err)
			require.Len(t, masks, len(run.Records))
			exact := 0
			for i, got := range masks {
				want := run.Records[i]
				require.Equal(t, img.Bounds().Size(), got.Size)
				require.InDelta(t, want.Points[0][0], got.Point.X, 1e-4)
				require.InDelta(t, want.Points[0][1], got.Point.Y, 1e-4)
				require.Equal(t, Foreground, got.Point.Label)
				require.Equal(t, want.Crop, floats(corner(got.Crop)))
				// A tenth of the tolerances that the fixture suggests.
				require.InDelta(t, want.IoU, got.IoU, 1e-4)
				require.InDelta(t, want.Stability, got.Stability, 1e-3)
				b := got.Bounds()
				require.Equal(t, want.Box, floats([4]int{b.Min.X, b.Min.Y, b.Dx() - 1, b.Dy() - 1}))
				mask, err := ParseCOCO(got.Size, want.COCO)
				require.NoError(t, err)
				require.Equal(t, want.Area, mask.Area())
				iou, err := IoU(mask, got)
				require.NoError(t, err)
				require.GreaterOrEqual(t, iou, 0.999)
				if want.COCO == got.COCO() {
					exact++
				}
			}
			t.Logf("%d of %d masks equal to the last pixel", exact, len(masks))

			i := 0
			for mask, err := range m.EverythingSeq(t.Context(), img, run.options()...) {
				require.NoError(t, err)
				require.Equal(t, masks[i], mask)
				i++
			}
			require.Equal(t, len(masks), i)
		})
	}
}

func floats(a [4]int) (out [4]float32) {
	for i, v := range a {
		out[i] = float32(v)
	}
	return out
}

// TestEverythingFrom: an embedding, own points, other batches and workers
// give the same masks.
func TestEverythingFrom(t *testing.T) {
	f, run := loadRun(t, "run_grid")
	m, img := amgModel(t, f, WithWorkers(1))
	want, err := m.Everything(t.Context(), img, run.options()...)
	require.NoError(t, err)
	e, err := m.Encode(t.Context(), img)
	require.NoError(t, err)

	got, err := m.EverythingFrom(t.Context(), e, run.options()...)
	require.NoError(t, err)
	require.Equal(t, want, got)

	four, _ := amgModel(t, f, WithWorkers(4))
	got, err = four.EverythingFrom(t.Context(), e, append(run.options(), PointsPerSide(0), PointGrids(pointGrid(6)), PointsPerBatch(5))...)
	require.NoError(t, err)
	require.Equal(t, want, got)

	for name, opts := range map[string][]EverythingOption{
		"best three":    {PointGrids([][2]float64{{0.5, 0.5}}), MinIoU(0), MinStability(0), BoxNMS(1)},
		"none is good":  {PointsPerSide(4), MinIoU(1e9)},
		"none is loved": {PointsPerSide(4), MinIoU(-1), MinStability(2)},
	} {
		got, err = m.EverythingFrom(t.Context(), e, opts...)
		require.NoError(t, err, name)
		if name == "best three" {
			require.Len(t, got, 3)
			require.GreaterOrEqual(t, got[0].IoU, got[1].IoU)
			require.GreaterOrEqual(t, got[1].IoU, got[2].IoU)
		} else {
			require.Empty(t, got, name)
		}
	}
}

// TestEverythingCorner: a picture is the same wherever its corner is.
func TestEverythingCorner(t *testing.T) {
	f, run := loadRun(t, "run_crops")
	m, img := amgModel(t, f)
	want, err := m.Everything(t.Context(), img, run.options()...)
	require.NoError(t, err)
	moved := image.NewNRGBA(img.Bounds().Add(image.Pt(-100, 7)))
	draw.Draw(moved, moved.Rect, img, img.Bounds().Min, draw.Src)
	got, err := m.Everything(t.Context(), moved, run.options()...)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestEverythingErrors(t *testing.T) {
	m, e := tiny(t)
	nan := math.NaN()
	for name, o := range map[string]EverythingOption{
		"no points":     PointsPerSide(0),
		"few points":    PointsPerSide(-1),
		"many points":   PointsPerSide(1 << 30),
		"no batch":      PointsPerBatch(0),
		"layers":        CropLayers(-1),
		"many layers":   CropLayers(30),
		"downscale":     CropPointsDownscale(0),
		"overlap":       CropOverlap(1),
		"NaN overlap":   CropOverlap(nan),
		"NaN IoU":       MinIoU(nan),
		"NaN stability": MinStability(nan),
		"NaN offset":    StabilityOffset(nan),
		"NaN NMS":       BoxNMS(nan),
		"NaN crop NMS":  CropNMS(nan),
		"NaN point":     PointGrids([][2]float64{{0.5, math.NaN()}}),
		"infinite":      PointGrids([][2]float64{{math.Inf(1), 0}}),
		"no grids":      PointGrids(),
		"nil grid":      PointGrids(nil),
		"empty grid":    PointGrids([][2]float64{{0.5, 0.5}}, [][2]float64{}),
		"negative area": MinRegionArea(-1),
		"offset":        StabilityOffset(-1),
	} {
		_, err := m.EverythingFrom(t.Context(), e, o)
		require.ErrorIs(t, err, ErrOption, name)
		_, err = m.Everything(t.Context(), image.NewGray(image.Rect(0, 0, 9, 9)), o)
		require.ErrorIs(t, err, ErrOption, name)
	}
	_, err := m.EverythingFrom(t.Context(), e, PointsPerSide(-1), PointsPerSide(1))
	require.ErrorIs(t, err, ErrOption, "checked where it is given")
	_, err = m.EverythingFrom(t.Context(), e, nil, PointsPerSide(1))
	require.NoError(t, err, "a nil option is none")
	_, err = m.EverythingFrom(t.Context(), e, CropLayers(1))
	require.ErrorIs(t, err, ErrOption)
	_, err = m.Everything(t.Context(), image.NewGray(image.Rect(0, 0, 9, 9)), CropLayers(1), PointGrids(pointGrid(2)))
	require.ErrorIs(t, err, ErrOption, "a grid for each layer")

	for _, img := range []image.Image{image.NewGray(image.Rectangle{}), hugeImage{}, image.NewGray(image.Rect(0, 0, 1, 3000))} {
		_, err := m.Everything(t.Context(), img, PointsPerSide(1))
		require.ErrorIs(t, err, ErrSize)
		_, err = m.Everything(t.Context(), img, PointsPerSide(1), CropLayers(1))
		require.ErrorIs(t, err, ErrSize)
	}
	_, err = m.Everything(t.Context(), image.NewGray(image.Rect(0, 0, 1, 1)), PointsPerSide(1), CropLayers(2))
	require.NoError(t, err)
	for _, err := range m.EverythingSeq(t.Context(), image.NewGray(image.Rectangle{})) {
		require.ErrorIs(t, err, ErrSize)
	}
}

// TestEverythingProgress: every step is counted once, the last is the total,
// and a context that ends on the way ends the call.
func TestEverythingProgress(t *testing.T) {
	f, run := loadRun(t, "run_crops")
	m, img := amgModel(t, f)
	last, sum := 0, 0
	progress := WithProgress(func(done, total int) {
		require.Greater(t, done, last)
		last, sum = done, total
	})
	_, err := m.Everything(t.Context(), img, append(run.options(), progress)...)
	require.NoError(t, err)
	require.Equal(t, 5*(6+16), sum) // crops × (encoder steps + points)
	require.Equal(t, sum, last)

	for _, stop := range []int{2, 30, 50} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := m.Everything(ctx, img, append(run.options(), WithProgress(func(done, _ int) {
			if done >= stop {
				cancel()
			}
		}))...)
		require.ErrorIs(t, err, context.Canceled)
	}
}

// BenchmarkEverything asks the demo model with the reference's grid of 32×32.
func BenchmarkEverything(b *testing.B) {
	m := demo(b)
	scenes, err := shapes.Scenes()
	require.NoError(b, err)
	for b.Loop() {
		_, err := m.Everything(context.Background(), scenes[0].Picture, MinIoU(0.8), MinStability(0.8))
		require.NoError(b, err)
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N*32*32), "ms/point")
}

// BenchmarkThreshold makes the mask of one object in a picture of 1024×768,
// and counts its stability.
func BenchmarkThreshold(b *testing.B) {
	up := newUpsampler(256, 1024, image.Pt(1024, 768), image.Pt(1024, 768))
	low := make([]float32, 256*256)
	for i := range low {
		low[i] = 60 - float32(math.Hypot(float64(i%256)-120, float64(i/256)-90))
	}
	m := &Model{}
	t := newThresholder(up, m.kernel, make([]float32, up.scratch()))
	for b.Loop() {
		t.scan(low, 0, 1)
		t.mask()
	}
}
