package sam

import (
	"bytes"
	"encoding/json"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/runs"
	"github.com/stretchr/testify/require"
)

// randomAlpha is a picture of random rectangles, or of noise, whose corner is
// somewhere.
func randomAlpha(r *rand.Rand, size image.Point) *image.Alpha {
	a := image.NewAlpha(image.Rectangle{Max: size}.Add(image.Pt(r.IntN(9)-4, r.IntN(9)-4)))
	if r.IntN(3) == 0 {
		for i := range a.Pix {
			a.Pix[i] = uint8(r.UintN(256))
		}
		return a
	}
	for range r.IntN(5) {
		box := image.Rect(r.IntN(size.X+1), r.IntN(size.Y+1), r.IntN(size.X+1), r.IntN(size.Y+1)).Add(a.Rect.Min)
		v := uint8(r.UintN(256))
		for y := box.Min.Y; y < box.Max.Y; y++ {
			for x := box.Min.X; x < box.Max.X; x++ {
				a.Pix[a.PixOffset(x, y)] = v
			}
		}
	}
	return a
}

// manyMasks calls f with masks of many sizes and the pixels that they have,
// row by row.
func manyMasks(f func(m Mask, pixels []bool, r *rand.Rand)) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range []image.Point{{1, 1}, {1, 7}, {9, 1}, {63, 5}, {64, 6}, {65, 31}, {130, 40}, {40, 130}} {
		for range 20 {
			a := randomAlpha(r, size)
			pixels := make([]bool, len(a.Pix))
			for i, v := range a.Pix {
				pixels[i] = v >= 128
			}
			f(MaskOf(a), pixels, r)
		}
	}
}

func pixelsOf(m Mask) []bool {
	a := m.Alpha()
	pixels := make([]bool, len(a.Pix))
	for i, v := range a.Pix {
		pixels[i] = v == 255
	}
	return pixels
}

func TestMask(t *testing.T) {
	manyMasks(func(m Mask, pixels []bool, _ *rand.Rand) {
		require.Equal(t, pixels, pixelsOf(m))
		require.Equal(t, m, MaskOf(m.Alpha()))
		area, bounds := 0, image.Rectangle{}
		for i, in := range pixels {
			if in {
				area++
				x, y := i%m.Size.X, i/m.Size.X
				bounds = bounds.Union(image.Rect(x, y, x+1, y+1))
			}
		}
		require.Equal(t, area, m.Area())
		require.Equal(t, bounds, m.Bounds())

		rest := m.complement()
		require.Equal(t, m, rest.complement())
		require.Equal(t, len(pixels)-area, rest.Area())
		require.Equal(t, m.runs, runs.FromSegments(m.Size, m.segments()))

		parsed, err := ParseCOCO(m.Size, m.COCO())
		require.NoError(t, err)
		require.Equal(t, m, parsed)
		parsed, err = FromRuns(m.Size, m.Runs())
		require.NoError(t, err)
		require.Equal(t, m, parsed)
	})
}

func TestMaskSets(t *testing.T) {
	var last Mask
	manyMasks(func(m Mask, pixels []bool, r *rand.Rand) {
		if last.Size != m.Size {
			last = MaskOf(randomAlpha(r, m.Size))
		}
		other := pixelsOf(last)
		both, either := make([]bool, len(pixels)), make([]bool, len(pixels))
		nBoth, nEither := 0, 0
		for i := range pixels {
			both[i], either[i] = pixels[i] && other[i], pixels[i] || other[i]
			nBoth += int(bit(both[i]))
			nEither += int(bit(either[i]))
		}
		u, err := m.Union(last)
		require.NoError(t, err)
		require.Equal(t, either, pixelsOf(u))
		require.Equal(t, nEither, u.Area())
		n, err := m.Intersect(last)
		require.NoError(t, err)
		require.Equal(t, both, pixelsOf(n))
		iou, err := IoU(m, last)
		require.NoError(t, err)
		if nEither == 0 {
			nEither = 1
		}
		require.InDelta(t, float64(nBoth)/float64(nEither), iou, 1e-12)
		last = m
	})
	_, err := IoU(Mask{Size: image.Pt(2, 3)}, Mask{Size: image.Pt(3, 2)})
	require.ErrorIs(t, err, ErrSize)
	_, err = Mask{}.Union(Mask{Size: image.Pt(3, 2)})
	require.ErrorIs(t, err, ErrSize)
	_, err = Mask{}.Intersect(Mask{Size: image.Pt(3, 2)})
	require.ErrorIs(t, err, ErrSize)
}

// TestMaskEmpty: masks that nobody filled, and those of an empty picture.
func TestMaskEmpty(t *testing.T) {
	for _, size := range []image.Point{{}, {0, 5}, {5, 0}, {4, 3}} {
		made, bare := MaskOf(image.NewAlpha(image.Rectangle{Max: size})), Mask{Size: size}
		for _, m := range []Mask{made, bare} {
			require.Zero(t, m.Area())
			require.True(t, m.Bounds().Empty())
			require.Empty(t, m.Polygons())
			require.Equal(t, size, m.Alpha().Rect.Size())
			require.Equal(t, made.COCO(), m.COCO())
			require.Equal(t, size.X*size.Y, m.complement().Area())
			u, err := m.Union(made.complement())
			require.NoError(t, err)
			require.Equal(t, size.X*size.Y, u.Area())
			iou, err := IoU(m, made)
			require.NoError(t, err)
			require.Zero(t, iou)
		}
	}
}

func TestParseCOCOErrors(t *testing.T) {
	size := image.Pt(4, 3)
	whole := Mask{Size: size}.complement().COCO()
	for name, counts := range map[string]string{
		"nothing":     "",
		"too few":     "4",
		"too many":    "d0",
		"character":   "4~",
		"low":         "4 ",
		"negative":    "O",
		"unfinished":  "T",
		"endless run": "oooooooooooooooooooooooo",
		"and more":    whole + "1",
		"not ASCII":   "é",
	} {
		_, err := ParseCOCO(size, counts)
		require.ErrorIs(t, err, ErrRLE, name)
	}
	for _, size := range []image.Point{{}, {-1, -12}, {1 << 30, 1 << 30}} {
		_, err := ParseCOCO(size, whole)
		require.ErrorIs(t, err, ErrSize)
	}
	// Runs of nothing mean nothing.
	m, err := ParseCOCO(size, "03020O")
	require.NoError(t, err)
	require.Equal(t, []uint32{0, 12}, m.runs)
}

func TestFromRuns(t *testing.T) {
	size := image.Pt(4, 3)
	for name, runs := range map[string][]uint32{
		"nothing":   nil,
		"too few":   {4, 7},
		"too many":  {4, 9},
		"wrapped":   {12, 1 << 31, 1 << 31},
		"very many": {math.MaxUint32, math.MaxUint32, 14},
	} {
		_, err := FromRuns(size, runs)
		require.ErrorIs(t, err, ErrRLE, name)
	}
	_, err := FromRuns(image.Pt(1<<30, 1<<30), []uint32{1})
	require.ErrorIs(t, err, ErrSize)
	m, err := FromRuns(size, []uint32{2, 0, 3, 4, 0, 2, 1, 0})
	require.NoError(t, err)
	require.Equal(t, []uint32{5, 6, 1}, m.Runs())
	require.Equal(t, []uint32{12}, Mask{Size: size}.Runs())
}

// FuzzFromRuns takes every two bytes as a run.
func FuzzFromRuns(f *testing.F) {
	f.Add(4, 3, []byte{5, 0, 6, 0, 1, 0})
	f.Add(4, 3, []byte{0, 0, 12, 0})
	f.Add(1, 70000, []byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, width, height int, data []byte) {
		var runs []uint32
		for ; len(data) > 1; data = data[2:] {
			runs = append(runs, uint32(data[0])|uint32(data[1])<<8)
		}
		m, err := FromRuns(image.Pt(width, height), runs)
		if err != nil {
			return
		}
		again, err := ParseCOCO(m.Size, m.COCO())
		require.NoError(t, err)
		require.Equal(t, m, again)
		if width*height > 1<<16 {
			return
		}
		require.Equal(t, m, MaskOf(m.Alpha()))
		back, err := FromPolygons(m.Size, m.Polygons())
		require.NoError(t, err)
		require.Equal(t, m, back)
	})
}

func FuzzParseCOCO(f *testing.F) {
	manyMasks(func(m Mask, _ []bool, r *rand.Rand) {
		if r.IntN(8) == 0 {
			f.Add(m.Size.X, m.Size.Y, m.COCO())
		}
	})
	f.Add(1<<20, 1<<20, "0oooooo1")
	f.Fuzz(func(t *testing.T, width, height int, counts string) {
		m, err := ParseCOCO(image.Pt(width, height), counts)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(m.runs), len(counts))
		sum := 0
		for i, n := range m.runs {
			require.True(t, n > 0 || i == 0)
			sum += int(n)
		}
		require.Equal(t, width*height, sum)
		again, err := ParseCOCO(m.Size, m.COCO())
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}

func TestWriteCOCO(t *testing.T) {
	a := image.NewAlpha(image.Rect(0, 0, 6, 4))
	a.Pix[1*6+2], a.Pix[2*6+2], a.Pix[2*6+3] = 255, 255, 255
	m := MaskOf(a)
	m.IoU, m.Stability, m.Point, m.Crop = 0.5, float32(math.NaN()), Point{2, 1, Foreground}, a.Rect
	var b bytes.Buffer
	require.NoError(t, WriteCOCO(&b, "cat.png", []Mask{m}))
	require.JSONEq(t, `{
		"images": [{"id": 1, "file_name": "cat.png", "width": 6, "height": 4}],
		"annotations": [{
			"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0,
			"segmentation": {"size": [4, 6], "counts": "923O6"}, "area": 3, "bbox": [2, 1, 2, 2],
			"predicted_iou": 0.5, "stability_score": null, "point_coords": [[2, 1]], "crop_box": [0, 0, 6, 4]
		}],
		"categories": [{"id": 1, "name": "object"}]
	}`, b.String())
	require.ErrorIs(t, WriteCOCO(&b, "", []Mask{m, {}}), ErrSize)
}

// TestWriteCOCOLeavesOut: what is not known of a mask or of the picture is left
// out.
func TestWriteCOCOLeavesOut(t *testing.T) {
	written := func(masks []Mask, opts ...COCOOption) (image map[string]any, annotations []map[string]any) {
		var b bytes.Buffer
		require.NoError(t, WriteCOCO(&b, "cat.png", masks, opts...))
		var set struct {
			Images      []map[string]any `json:"images"`
			Annotations []map[string]any `json:"annotations"`
		}
		require.NoError(t, json.Unmarshal(b.Bytes(), &set))
		require.Len(t, set.Images, 1)
		require.NotNil(t, set.Annotations, "an empty list, not null")
		return set.Images[0], set.Annotations
	}
	picture, _ := written(nil)
	require.Equal(t, map[string]any{"id": 1., "file_name": "cat.png"}, picture)
	picture, _ = written(nil, PictureSize(image.Pt(6, 4)))
	require.Equal(t, map[string]any{"id": 1., "file_name": "cat.png", "width": 6., "height": 4.}, picture)
	require.ErrorIs(t, WriteCOCO(io.Discard, "", nil, PictureSize(image.Point{})), ErrSize)
	require.ErrorIs(t, WriteCOCO(io.Discard, "", []Mask{{Size: image.Pt(6, 4)}}, PictureSize(image.Pt(4, 6))), ErrSize)

	m, e := tiny(t)
	results, err := m.Predict(t.Context(), e, []Prompt{{}})
	require.NoError(t, err)
	predicted := results[0].Best()
	predicted.IoU = 0 // a model may say so
	everything, err := m.EverythingFrom(t.Context(), e, PointsPerSide(1), MinIoU(0), MinStability(0))
	require.NoError(t, err)
	require.NotEmpty(t, everything)
	parsed, err := ParseCOCO(e.Size(), predicted.COCO())
	require.NoError(t, err)
	drawn, err := FromPolygons(e.Size(), []Polygon{{Outer: Ring{{1, 1}, {9, 1}, {9, 9}}}})
	require.NoError(t, err)
	byHand := parsed
	byHand.IoU, byHand.Stability = 0.5, 0.75

	own := []string{"predicted_iou", "stability_score", "point_coords", "crop_box"}
	for name, c := range map[string]struct {
		mask Mask
		has  []string
	}{
		"everything":   {everything[0], own},
		"Predict":      {predicted, own[:1]},
		"ParseCOCO":    {parsed, nil},
		"FromPolygons": {drawn, nil},
		"MaskOf":       {MaskOf(predicted.Alpha()), nil},
		"by hand":      {byHand, own[:2]},
	} {
		_, annotations := written([]Mask{c.mask})
		for _, key := range own {
			_, has := annotations[0][key]
			require.Equal(t, slices.Contains(c.has, key), has, "%s: %s", name, key)
		}
	}
}
