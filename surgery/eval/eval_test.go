package eval

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

func TestMeanDoesNotDependOnOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 1000)
	exact := 0.0
	for i := range values {
		values[i] = 2*r.Float64() - 1
		exact += values[i] / 1000
	}
	var whole Mean
	for _, v := range values {
		require.NoError(t, whole.Add(v))
	}
	parts := make([]Mean, 7)
	for _, i := range r.Perm(1000) {
		require.NoError(t, parts[i%7].Add(values[i]))
	}
	var merged Mean
	for _, p := range parts {
		merged.Merge(p)
	}
	require.Equal(t, whole, merged)
	require.InDelta(t, exact, whole.Value(), 1e-10)
	require.True(t, math.IsNaN(Mean{}.Value()))
	require.ErrorIs(t, whole.Add(1.5), ErrValue)
	require.ErrorIs(t, whole.Add(math.NaN()), ErrValue)
}

func labels(w, h int, values ...uint16) *surgery.LabelMap {
	return &surgery.LabelMap{Width: w, Height: h, Labels: values}
}

func TestConfusion(t *testing.T) {
	c := must(NewConfusion(4))
	no := uint16(surgery.Ignore)
	require.NoError(t, c.Add(labels(3, 2, 0, 0, 1, 1, 2, no), labels(3, 2, 0, 1, 1, no, 0, 0)))
	require.Equal(t, 1./4, c.IoU(0)) // both 1; truth 3, labeled 2
	require.Equal(t, 1./2, c.IoU(1))
	require.Equal(t, 0., c.IoU(2))
	require.True(t, math.IsNaN(c.IoU(3)))
	require.Equal(t, 0.25, c.MeanIoU())
	require.Equal(t, 0.375, c.MeanIoU(0, 1))
	require.Equal(t, 2./5, c.PixelAccuracy())
	require.ErrorIs(t, c.Add(labels(1, 1, 0), labels(2, 1, 0, 0)), ErrMismatch)
	require.ErrorIs(t, c.Merge(must(NewConfusion(3))), ErrMismatch)
	_, err := NewConfusion(0)
	require.ErrorIs(t, err, ErrMismatch)
	_, err = NewScore(maxClasses + 1)
	require.ErrorIs(t, err, ErrMismatch)
	_, err = NewRanking(-1)
	require.ErrorIs(t, err, ErrMismatch)
}

func TestMaps(t *testing.T) {
	heat := &surgery.HeatMap{Width: 2, Height: 2, Values: []float32{1, 0.5, 0.3, 0}}
	mask := image.NewAlpha(image.Rect(5, 5, 7, 7))
	mask.Pix = []uint8{255, 0, 200, 127}
	var m Maps
	ok, err := m.Add(heat, mask)
	require.NoError(t, err)
	require.True(t, ok)
	require.InDelta(t, 0.65-0.25, m.Contrast.Value(), 1e-7) // (1+0.3)/2 - (0.5+0)/2
	require.Equal(t, 1., m.Pointing.Value())
	require.InDelta(t, 2./3, m.MeanIoU(0.1), 1e-10)
	require.InDelta(t, 1./3, m.MeanIoU(0.5), 1e-10) // 0.5 reaches 0.5
	require.InDelta(t, 1./2, m.MeanIoU(0.9), 1e-10)
	iou, at := m.BestIoU()
	require.InDelta(t, 2./3, iou, 1e-10)
	require.Equal(t, 0.1, at)

	for _, p := range [][]uint8{{0, 0, 0, 0}, {255, 255, 255, 255}} {
		mask.Pix = p
		ok, err = m.Add(heat, mask)
		require.NoError(t, err)
		require.False(t, ok)
	}
	require.EqualValues(t, 1, m.Contrast.Count)
	_, err = m.Add(&surgery.HeatMap{Width: 2, Height: 2, Values: []float32{2, 0, 0, 0}}, mask)
	require.ErrorIs(t, err, ErrValue)
	_, err = m.Add(heat, image.NewAlpha(image.Rect(0, 0, 3, 2)))
	require.ErrorIs(t, err, ErrMismatch)
}

func TestMasks(t *testing.T) {
	a, b := image.NewAlpha(image.Rect(0, 0, 4, 1)), image.NewAlpha(image.Rect(1, 1, 5, 2))
	copy(a.Pix, []uint8{255, 255, 0, 0})
	copy(b.Pix, []uint8{0, 255, 0, 0})
	var m Masks
	require.NoError(t, m.Add(a, b))
	require.NoError(t, m.Add(b, image.NewAlpha(a.Rect)))
	require.Equal(t, 0.25, m.Overlap.Value())
	require.Equal(t, 0.5, m.Half.Value())
	require.ErrorIs(t, m.Add(a, image.NewAlpha(image.Rect(0, 0, 1, 4))), ErrMismatch)
}

// averagePrecisionPlainly is the mean over what is present of the precision
// down to it, ties counted whole.
func averagePrecisionPlainly(scores []float32, present []bool) float64 {
	sum, n := 0.0, 0.0
	for i, s := range scores {
		if !present[i] {
			continue
		}
		hits, all := 0.0, 0.0
		for j, other := range scores {
			if other >= s {
				all++
				if present[j] {
					hits++
				}
			}
		}
		sum += hits / all
		n++
	}
	if n == 0 || int(n) == len(scores) {
		return math.NaN()
	}
	return sum / n
}

func TestRanking(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const pictures, classes = 60, 5
	ranking := must(NewRanking(classes))
	columns, truths := make([][]float32, classes), make([][]bool, classes)
	perPicture := []float64{}
	for range pictures {
		scores, present := make([]float32, classes), make([]bool, classes)
		for c := range scores {
			scores[c] = float32(r.IntN(20)) // with ties
			present[c] = c < 4 && r.IntN(3) == 0
			columns[c], truths[c] = append(columns[c], scores[c]), append(truths[c], present[c])
		}
		require.NoError(t, ranking.Add(scores, present))
		perPicture = append(perPicture, averagePrecisionPlainly(scores, present))
	}
	for c := range classes {
		want := averagePrecisionPlainly(columns[c], truths[c])
		if math.IsNaN(want) {
			require.True(t, math.IsNaN(ranking.AveragePrecision(c)))
			continue
		}
		require.InDelta(t, want, ranking.AveragePrecision(c), 1e-12)
		recall, precision := ranking.Curve(c)
		area, before := 0.0, 0.0
		for i := range recall {
			area += (recall[i] - before) * precision[i]
			before = recall[i]
		}
		require.InDelta(t, want, area, 1e-12)
		require.Equal(t, 1., recall[len(recall)-1])
	}
	require.InDelta(t, meanOf(perPicture), ranking.PictureAveragePrecision(), 1e-9)
	require.True(t, math.IsNaN(ranking.AveragePrecision(4)), "no picture shows it")
	require.InDelta(t, ranking.MeanAveragePrecision(0, 1, 2, 3), ranking.MeanAveragePrecision(), 1e-12)

	require.ErrorIs(t, ranking.Add(make([]float32, 3), make([]bool, 5)), ErrMismatch)
	require.ErrorIs(t, ranking.Add([]float32{0, 0, float32(math.NaN()), 0, 0}, make([]bool, 5)), ErrValue)
	require.ErrorIs(t, ranking.Merge(must(NewRanking(4))), ErrMismatch)
}

// random is the score of a made-up picture.
func random(t *testing.T, r *rand.Rand) ([]*surgery.Scores, *surgery.Vocabulary, Truth) {
	grid, size, classes := image.Pt(4, 3), image.Pt(17, 12), 6
	s := &surgery.Scores{Grid: grid, Size: size, General: blas32.General{Rows: 13, Cols: classes, Stride: classes, Data: make([]float32, 13*classes)}}
	for i := range s.Data {
		s.Data[i] = r.Float32()
	}
	v := &surgery.Vocabulary{Classes: make([]string, classes), Text: blas32.General{Rows: classes, Cols: 1, Stride: 1}, Of: choose(classes, nil)}
	truth := surgery.NewLabelMap(size)
	first, some := r.IntN(classes), 2+r.IntN(classes-2)
	for i := range truth.Labels {
		if truth.Labels[i] = uint16((first + r.IntN(some)) % classes); r.IntN(9) == 0 {
			truth.Labels[i] = surgery.Ignore
		}
	}
	return []*surgery.Scores{s}, v, Truth{Labels: truth}
}

// Shards that are saved, restored and merged in any order are one run, to the
// last bit.
func TestMergingShardsEqualsOneRun(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	whole := must(NewScore(6))
	shards := []*Score{must(NewScore(6)), must(NewScore(6)), must(NewScore(6))}
	for i := range 40 {
		scores, v, truth := random(t, r)
		require.NoError(t, whole.Add(context.Background(), nil, scores, v, truth))
		require.NoError(t, shards[i%3].Add(context.Background(), nil, scores, v, truth))
	}
	merged := must(NewScore(6))
	for _, i := range []int{2, 0, 1} {
		saved, err := json.Marshal(shards[i])
		require.NoError(t, err)
		var restored Score
		require.NoError(t, json.Unmarshal(saved, &restored))
		require.NoError(t, merged.Merge(&restored))
	}
	want, err := json.Marshal(whole)
	require.NoError(t, err)
	got, err := json.Marshal(merged)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
	require.Equal(t, 40, merged.Pictures)
	require.Equal(t, whole.Ranking.MeanAveragePrecision(), merged.Ranking.MeanAveragePrecision())
	require.Equal(t, whole.All.MeanIoU(), merged.All.MeanIoU())
	require.ErrorIs(t, merged.Merge(must(NewScore(5))), ErrMismatch)
}

// Synonyms that score less, or alike, change nothing; without a text for a class
// only its pixels are measured.
func TestScoreOfSynonyms(t *testing.T) {
	ctx := context.Background()
	scores, v, truth := random(t, rand.New(rand.NewPCG(9, 10)))
	want := must(NewScore(6))
	require.NoError(t, want.Add(ctx, nil, scores, v, truth))

	twice := *scores[0]
	twice.Cols, twice.Stride, twice.Data = 12, 12, nil
	synonyms := &surgery.Vocabulary{Classes: v.Classes, Text: blas32.General{Rows: 12, Cols: 1, Stride: 1}}
	for c := range 6 {
		synonyms.Of = append(synonyms.Of, c, c)
	}
	for i, x := range scores[0].Data {
		less := x - float32(i%2)
		if i%3 == 0 {
			x, less = less, x
		}
		twice.Data = append(twice.Data, less, x)
	}
	got := must(NewScore(6))
	require.NoError(t, got.Add(ctx, nil, []*surgery.Scores{&twice}, synonyms, truth))
	require.Equal(t, want, got)

	bare := *synonyms
	bare.Classes = append(bare.Classes, "nothing")
	got = must(NewScore(7))
	require.NoError(t, got.Add(ctx, nil, []*surgery.Scores{&twice}, &bare, truth))
	require.Zero(t, got.MapsOf().Contrast.Count)
	require.Equal(t, want.All.MeanIoU(), got.All.MeanIoU())
}

// What cannot be added leaves the score as it was.
func TestScoreErrors(t *testing.T) {
	s := must(NewScore(6))
	scores, v, truth := random(t, rand.New(rand.NewPCG(7, 8)))
	ctx := context.Background()
	require.ErrorIs(t, must(NewScore(5)).Add(ctx, nil, scores, v, truth), ErrMismatch)
	require.ErrorIs(t, s.Add(ctx, nil, scores, v, Truth{Labels: truth.Labels, Shown: make([]bool, 3)}), ErrMismatch)
	require.ErrorIs(t, s.Add(ctx, nil, scores, v, Truth{Labels: surgery.NewLabelMap(image.Pt(3, 3))}), ErrMismatch)
	require.ErrorIs(t, s.Add(ctx, nil, scores, v, Truth{}), ErrMismatch)
	require.Equal(t, must(NewScore(6)), s)
	clear(scores[0].Data)
	require.NoError(t, s.Add(ctx, nil, scores, v, truth)) // constant maps
	require.Zero(t, s.MapsOf().MeanIoU(0.5))
	require.Greater(t, s.MapsOf().Contrast.Count, int64(1))
}

func FuzzScoreState(f *testing.F) {
	saved, err := json.Marshal(must(NewScore(2)))
	require.NoError(f, err)
	f.Add(saved)
	f.Add([]byte(`{"all":{"classes":2,"counts":[1]},"present":null}`))
	f.Add([]byte(`{"ranking":{"classes":[{}]},"maps":[{}],"all":{"classes":1,"counts":[-1,0]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s Score
		if json.Unmarshal(data, &s) != nil {
			return
		}
		s.All.MeanIoU()
		s.MapsOf().BestIoU()
		s.Ranking.MeanAveragePrecision()
		_ = must(NewScore(2)).Merge(&s)
	})
}

func TestTable(t *testing.T) {
	table := Table{Columns: []string{"mIoU", "mAP"}}
	table.Add("Raw", 0.0396, math.NaN())
	table.Add("CLIP Surgery", 0.33312, 0.9)
	var b bytes.Buffer
	require.NoError(t, table.WriteText(&b))
	require.Equal(t, "              mIoU   mAP\nRaw           0.040  –\nCLIP Surgery  0.333  0.900\n", b.String())
	b.Reset()
	require.NoError(t, table.WriteMarkdown(&b))
	require.Equal(t, "| | mIoU | mAP |\n|---|---:|---:|\n| Raw | 0.040 | – |\n| CLIP Surgery | 0.333 | 0.900 |\n", b.String())
	saved, err := json.Marshal(table)
	require.NoError(t, err)
	require.Contains(t, string(saved), `"values":[0.0396,null]`)
	var restored Table
	require.NoError(t, json.Unmarshal(saved, &restored))
	require.True(t, math.IsNaN(float64(restored.Rows[0].Values[1])))
}

// must is the value of a call that does not fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
