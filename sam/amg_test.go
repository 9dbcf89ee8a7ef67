package sam

import (
	"encoding/json"
	"image"
	"math"
	"os"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/stretchr/testify/require"
)

// amgFunctions decodes the cases of one pure function of the reference.
func amgFunctions(t testing.TB, name string, cases any) {
	data, err := os.ReadFile(golden.Load(t, "amg/functions.json").Path("amg/functions.json"))
	require.NoError(t, err)
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(data, &all))
	require.NoError(t, json.Unmarshal(all[name], cases))
}

// amgMask is a mask and what the reference makes of it.
type amgMask struct {
	Tensor string   `json:"mask"`
	Size   [2]int   // height, width
	Counts []uint32 // column by column, background first
	Area   int
	COCO   string
	Box    [4]int `json:"box_xyxy"` // the last pixel included
	Clean  []struct {
		Area    int `json:"area_thresh"`
		Mode    string
		Changed bool
		Counts  []uint32
	} `json:"remove_small_regions"`
	Uncrop struct {
		Crop   [4]int `json:"crop_box"`
		Size   [2]int `json:"orig_hw"`
		Counts []uint32
	}
}

// amgMasks calls f with every mask of the fixtures.
func amgMasks(t *testing.T, f func(t *testing.T, want amgMask, m Mask)) {
	tensors := golden.Load(t, "amg/masks.safetensors")
	var cases []amgMask
	amgFunctions(t, "masks", &cases)
	for _, want := range cases {
		t.Run(want.Tensor, func(t *testing.T) {
			stored, ok := tensors.Stored(want.Tensor)
			require.True(t, ok)
			a := image.NewAlpha(image.Rect(0, 0, want.Size[1], want.Size[0]))
			for i, v := range stored.U8 {
				a.Pix[i] = 255 * v
			}
			f(t, want, MaskOf(a))
		})
	}
}

func TestReferenceRuns(t *testing.T) {
	amgMasks(t, func(t *testing.T, want amgMask, m Mask) {
		require.Equal(t, want.Counts, m.runs)
		require.Equal(t, want.COCO, m.COCO())
		require.Equal(t, want.Area, m.Area())
		box := boxOf(m)
		require.Equal(t, want.Box, [4]int{int(box.X0), int(box.Y0), int(box.X1), int(box.Y1)})
		parsed, err := ParseCOCO(m.Size, want.COCO)
		require.NoError(t, err)
		require.Equal(t, m, parsed)
	})
}

func TestReferenceUncrop(t *testing.T) {
	amgMasks(t, func(t *testing.T, want amgMask, m Mask) {
		c := want.Uncrop.Crop
		got := m.uncrop(image.Rect(c[0], c[1], c[2], c[3]), image.Pt(want.Uncrop.Size[1], want.Uncrop.Size[0]))
		require.Equal(t, want.Uncrop.Counts, got.runs)
	})
}

func TestReferenceSmallRegions(t *testing.T) {
	amgMasks(t, func(t *testing.T, want amgMask, m Mask) {
		for _, c := range want.Clean {
			clean := Mask.dropIslands
			if c.Mode == "holes" {
				clean = Mask.fillHoles
			}
			got, changed := clean(m, c.Area)
			require.Equal(t, c.Changed, changed, "%s under %d", c.Mode, c.Area)
			require.Equal(t, c.Counts, got.runs, "%s under %d", c.Mode, c.Area)
		}
	})
}

func TestReferencePointGrids(t *testing.T) {
	check := func(want, got [][2]float64) {
		require.Len(t, got, len(want))
		for i := range want {
			require.InDelta(t, want[i][0], got[i][0], 1e-12)
			require.InDelta(t, want[i][1], got[i][1], 1e-12)
		}
	}
	var single []struct {
		N      int
		Points [][2]float64
	}
	amgFunctions(t, "build_point_grid", &single)
	for _, c := range single {
		check(c.Points, pointGrid(c.N))
	}
	var layers []struct {
		N      int `json:"n_per_side"`
		Layers int `json:"n_layers"`
		Scale  int `json:"scale_per_layer"`
		Sizes  []int
		Last   [][2]float64
	}
	amgFunctions(t, "build_all_layer_point_grids", &layers)
	for _, c := range layers {
		grids := pointGrids(c.N, c.Layers, c.Scale)
		require.Len(t, grids, len(c.Sizes))
		for i, n := range c.Sizes {
			require.Len(t, grids[i], n)
		}
		check(c.Last, grids[c.Layers])
	}
}

func TestReferenceCrops(t *testing.T) {
	var cases []struct {
		Size    [2]int `json:"im_hw"`
		Layers  int    `json:"n_layers"`
		Overlap float64
		Ratio   float64  `json:"overlap_ratio"`
		Boxes   [][4]int `json:"crop_boxes"`
		Layer   []int    `json:"layer_idxs"`
	}
	amgFunctions(t, "generate_crop_boxes", &cases)
	for _, c := range cases {
		var want []crop
		for i, b := range c.Boxes {
			want = append(want, crop{image.Rect(b[0], b[1], b[2], b[3]), c.Layer[i]})
		}
		require.Equal(t, want, cropsOf(image.Pt(c.Size[1], c.Size[0]), c.Layers, c.Ratio))
	}
	for _, c := range cropsOf(image.Pt(1, 1), maxCropLayers, 0.34) {
		require.False(t, c.box.Empty())
	}
}

func TestReferenceCropEdges(t *testing.T) {
	var cases []struct {
		Boxes   [][4]float32
		Crop    [4]int `json:"crop_box"`
		Picture [4]int `json:"orig_box"`
		Near    []bool
	}
	amgFunctions(t, "is_box_near_crop_edge", &cases)
	for _, c := range cases {
		part := crop{box: image.Rect(c.Crop[0], c.Crop[1], c.Crop[2], c.Crop[3])}
		for i, b := range c.Boxes {
			require.Equal(t, c.Near[i], part.cut(Box{b[0], b[1], b[2], b[3]}, image.Pt(c.Picture[2], c.Picture[3])), "%v in %v", b, c.Crop)
		}
	}
}

func TestReferenceNMS(t *testing.T) {
	f := golden.Load(t, "amg/nms.safetensors")
	for _, name := range []string{"a", "b"} {
		tensor, scores := f.Input(t, "boxes_"+name).F32, f.Input(t, "scores_"+name).F32
		boxes := make([]Box, len(scores))
		for i := range boxes {
			boxes[i] = Box{tensor[4*i], tensor[4*i+1], tensor[4*i+2], tensor[4*i+3]}
		}
		for at, threshold := range map[string]float64{"0.3": 0.3, "0.5": 0.5, "0.7": 0.7, "0.9": 0.9} {
			var got []float32
			for _, i := range suppress(boxes, scores, threshold) {
				got = append(got, float32(i))
			}
			f.Check(t, "keep_"+name+"_"+at, got)
		}
	}
	require.Empty(t, suppress(nil, nil, 0.5))
}

// TestReferenceStability reads the logits as those of a picture that needs no
// scaling.
func TestReferenceStability(t *testing.T) {
	f := golden.Load(t, "amg/stability.safetensors")
	logits := f.Input(t, "logits")
	n, h, w := logits.Shape[0], logits.Shape[1], logits.Shape[2]
	for i := range h * w {
		logits.F32[4*h*w+i], logits.F32[5*h*w+i] = -50, 50
	}
	const side = 64
	up := newUpsampler(side, side, image.Pt(w, h), image.Pt(w, h))
	for _, k := range simd.All() {
		scratch := newThresholder(up, k, make([]float32, up.scratch()))
		for name, c := range map[string][2]float32{"0.0_1.0": {0, 1}, "0.5_0.25": {0.5, 0.25}, "-1.0_2.0": {-1, 2}} {
			var scores []float32
			for i := range n {
				padded := make([]float32, side*side)
				for y := range h {
					copy(padded[y*side:], logits.F32[(i*h+y)*w:][:w])
				}
				scores = append(scores, scratch.scan(padded, c[0], c[1]).stability())
			}
			f.Check(t, "score_"+name, scores)
		}
	}
}

// TestThresholder compares masks and counts with those of all the logits, of
// a smooth mask, noise, and values that are nearly or exactly the threshold.
func TestThresholder(t *testing.T) {
	noise := golden.Procedural("low", []int{64, 64}, 0, 4)
	smooth, level := make([]float32, len(noise)), make([]float32, len(noise))
	for i := range smooth {
		smooth[i] = 20 - float32(math.Hypot(float64(i%64)-40, float64(i/64)-25))
		level[i] = float32(i / 640 % 2)
	}
	for _, c := range []struct{ input, original image.Point }{
		{image.Pt(256, 115), image.Pt(333, 150)},
		{image.Pt(82, 256), image.Pt(97, 301)},
		{image.Pt(256, 256), image.Pt(64, 64)},
		{image.Pt(256, 256), image.Pt(1, 1)},
		{image.Pt(256, 100), image.Pt(1000, 390)},
	} {
		up := newUpsampler(64, 256, c.input, c.original)
		for _, k := range simd.All() {
			scratch := newThresholder(up, k, make([]float32, up.scratch()))
			for name, low := range map[string][]float32{"noise": noise, "smooth": smooth, "level": level} {
				for _, threshold := range []float32{0, 1} {
					all := up.logits(nn.Exec{Kernel: k}, low)
					a := image.NewAlpha(image.Rectangle{Max: c.original})
					var want counts
					for i, v := range all {
						if v > threshold {
							a.Pix[i] = 255
						}
						want.above += int(bit(v > threshold+0.5))
						want.below += int(bit(v > threshold-0.5))
					}
					require.Equal(t, want, scratch.scan(low, threshold, 0.5), name)
					require.Equal(t, MaskOf(a), scratch.mask(), "%s at %v on %v with %v", name, threshold, c.original, k)
				}
			}
		}
	}
}
