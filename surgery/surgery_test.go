package surgery

import (
	"fmt"
	"image"
	"math"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

func general(data []float32, rows, cols int) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: data}
}

func square(n int) image.Point {
	side := int(math.Sqrt(float64(n)))
	return image.Pt(side, side)
}

// features cuts item b of a batch [B, 1+cells, D].
func features(x golden.Tensor, b int, size image.Point) *vit.Features {
	n, d := x.Shape[1], x.Shape[2]
	return &vit.Features{
		Tokens: general(x.F32[b*n*d:(b+1)*n*d], n, d), Grid: square(n - 1), Size: size,
		Region: image.Rectangle{Max: size},
	}
}

func TestFeatureSurgeryFixtures(t *testing.T) {
	for _, f := range golden.All(t, "surgery_ops") {
		if _, ok := f.OutputsRaw["similarity"]; !ok {
			continue
		}
		x, text, redundant := f.Input(t, "image_features"), f.Input(t, "text_features"), f.Input(t, "redundant_features")
		labels := general(text.F32, text.Shape[0], text.Shape[1])
		empty := general(redundant.F32, redundant.Shape[0], redundant.Shape[1])
		for name, operate := range map[string]func(*vit.Features) (*Scores, error){
			"":           func(v *vit.Features) (*Scores, error) { return FeatureSurgery(v, labels) },
			"_redundant": func(v *vit.Features) (*Scores, error) { return RemoveRedundant(v, labels, empty) },
		} {
			var similarity []float32
			maps := make(map[string][]float32)
			for b := range x.Shape[0] {
				for _, output := range append(f.Outputs(), "similarity"+name) {
					var h, w int
					if n, _ := fmt.Sscanf(output, "map"+name+"_%dx%d", &h, &w); n != 2 && output != "similarity"+name {
						continue
					}
					s, err := operate(features(x, b, image.Pt(max(w, 1), max(h, 1))))
					require.NoError(t, err)
					if h == 0 {
						continue
					}
					out := make([]float32, h*w*s.Cols)
					for c := range s.Cols {
						m, err := s.Map(c)
						require.NoError(t, err)
						for i, v := range m.Values {
							out[i*s.Cols+c] = v
						}
					}
					maps[output] = append(maps[output], out...)
				}
				s, err := operate(features(x, b, image.Pt(1, 1)))
				require.NoError(t, err)
				similarity = append(similarity, s.Data...)
			}
			// Scores are near 1e-2: a tenth of the tolerance is one rounding of a cosine of 0.7.
			f.Check(t, "similarity"+name, similarity, golden.Fraction(0.2))
			for output, values := range maps {
				f.Check(t, output, values)
			}
		}
	}
}

func TestMapFixtures(t *testing.T) {
	for _, f := range golden.All(t, "surgery_ops") {
		o, ok := f.OutputsRaw["map"]
		if !ok {
			continue
		}
		x := f.Input(t, "sm")
		cells, labels := x.Shape[1], x.Shape[2]
		h, w := o.Shape[1], o.Shape[2]
		got := make([]float32, 0, x.Shape[0]*h*w*labels)
		for b := range x.Shape[0] {
			s := scores(x.F32[b*cells*labels:(b+1)*cells*labels], cells, labels, image.Pt(w, h))
			out := make([]float32, h*w*labels)
			for c := range labels {
				m, err := s.Map(c)
				require.NoError(t, err)
				for i, v := range m.Values {
					out[i*labels+c] = v
				}
			}
			got = append(got, out...)
		}
		f.Check(t, "map", got)
	}
}

// scores puts a class row above a grid of scores.
func scores(cells []float32, n, labels int, size image.Point) *Scores {
	data := append(make([]float32, labels), cells...)
	return &Scores{General: general(data, n+1, labels), Grid: square(n), Size: size}
}

func TestPointsFixtures(t *testing.T) {
	f := golden.Load(t, "surgery_ops/points.safetensors")
	var cases []struct {
		Case      int     `json:"case"`
		Shape     [2]int  `json:"shape_hw"`
		Threshold float32 `json:"t"`
		Shrink    int     `json:"down_sample"`
	}
	f.Value(t, "cases", &cases)
	require.NotEmpty(t, cases)
	for _, c := range cases {
		x := f.Input(t, fmt.Sprintf("sm%d", c.Case))
		s := scores(x.F32, len(x.F32), 1, image.Pt(c.Shape[1], c.Shape[0]))
		picked, err := s.pickCells(x.F32, c.Threshold, c.Shrink)
		require.NoError(t, err)
		got := picked.clicks()
		points, labels := storedPoints(t, f, fmt.Sprintf("points%d", c.Case), fmt.Sprintf("labels%d", c.Case))
		require.Equal(t, points, append(append([]image.Point(nil), got.Foreground...), got.Background...), "case %d", c.Case)
		require.Len(t, got.Foreground, labels, "case %d", c.Case)
	}
}

// storedPoints returns expected points, and how many of them are foreground.
func storedPoints(t *testing.T, f *golden.Fixture, points, labels string) (out []image.Point, foreground int) {
	t.Helper()
	p, ok := f.Stored("out." + points)
	require.True(t, ok)
	l, ok := f.Stored("out." + labels)
	require.True(t, ok)
	at := func(x golden.Tensor, i int) int {
		switch {
		case x.I32 != nil:
			return int(x.I32[i])
		case x.F64 != nil:
			return int(x.F64[i])
		case x.U8 != nil:
			return int(x.U8[i])
		}
		return int(x.F32[i])
	}
	for i := range p.Shape[0] {
		out = append(out, image.Pt(at(p, 2*i), at(p, 2*i+1)))
		foreground += at(l, i)
	}
	return out, foreground
}

func TestCombinedPointsFixtures(t *testing.T) {
	for _, file := range []string{"surgery_ops/demo_combined_s14_c512_t2.safetensors", "surgery_ops/demo_combined_s32_c512_t2.safetensors"} {
		f := golden.Load(t, file)
		x, text, redundant := f.Input(t, "image_features"), f.Input(t, "text_features"), f.Input(t, "redundant_features")
		var shape [2]int
		f.Value(t, "shape_hw", &shape)
		s, err := RemoveRedundant(features(x, 0, image.Pt(shape[1], shape[0])),
			general(text.F32, text.Shape[0], text.Shape[1]), general(redundant.F32, redundant.Shape[0], redundant.Shape[1]))
		require.NoError(t, err)
		got, err := s.CombinedPoints(0.8)
		require.NoError(t, err)
		want, foreground := storedPoints(t, f, "points", "labels")
		require.Equal(t, want, append(append([]image.Point(nil), got.Background...), got.Foreground...))
		require.Len(t, got.Foreground, foreground)

		single, err := s.Points(0, 0.8)
		require.NoError(t, err)
		want, _ = storedPoints(t, f, "single_points", "single_labels")
		require.Equal(t, want, append(append([]image.Point(nil), single.Foreground...), single.Background...))
	}
}

func TestOneLabelGivesZeros(t *testing.T) {
	f := golden.Load(t, "surgery_ops/feature_surgery_b1_n197_c512_t1.safetensors")
	x, text := f.Input(t, "image_features"), f.Input(t, "text_features")
	s, err := FeatureSurgery(features(x, 0, image.Pt(9, 9)), general(text.F32, 1, text.Shape[1]))
	require.NoError(t, err)
	require.Equal(t, make([]float32, 197), s.Data)
	_, err = s.Map(0)
	require.ErrorIs(t, err, ErrConstant)
	_, err = s.Points(0, 0.8)
	require.ErrorIs(t, err, ErrConstant)
}

func TestErrors(t *testing.T) {
	s := scores([]float32{1, 2, 3, 4}, 4, 1, image.Pt(8, 8))
	_, err := s.Map(1)
	require.ErrorIs(t, err, ErrLabel)
	_, err = s.Points(0, 0.5) // a halved grid of one cell is constant
	require.ErrorIs(t, err, ErrConstant)
	big := scores(golden.Procedural("x", []int{64}, 0, 1), 64, 1, image.Pt(8, 8))
	_, err = big.Points(0, 1.5)
	require.ErrorIs(t, err, ErrThreshold)
	_, err = big.Points(0, float32(math.NaN()))
	require.ErrorIs(t, err, ErrThreshold)
	_, err = scores([]float32{1}, 1, 1, image.Pt(8, 8)).Points(0, 0.5)
	require.ErrorIs(t, err, ErrGrid)
	big.Data[5] = float32(math.NaN())
	_, err = big.Map(0)
	require.ErrorIs(t, err, ErrConstant)

	f := &vit.Features{Tokens: general([]float32{1, 0, 0, 1, 1, 1, 1, 2, 3, 4}, 5, 2), Grid: image.Pt(2, 2), Size: image.Pt(4, 4)}
	for _, text := range []blas32.General{general(nil, 0, 2), general([]float32{1, 2, 3}, 1, 3), general([]float32{0, 0}, 1, 2)} {
		_, err = Similarity(f, text)
		require.ErrorIs(t, err, ErrText)
	}
}

// A map of part of a picture is zero outside it.
func TestRegion(t *testing.T) {
	s := scores([]float32{0, 1, 2, 3}, 4, 1, image.Pt(10, 6))
	s.Region = image.Rect(2, 0, 8, 6)
	m, err := s.Map(0)
	require.NoError(t, err)
	require.Zero(t, m.At(1, 5))
	require.Zero(t, m.At(8, 5))
	require.Equal(t, float32(1), m.At(7, 5))
}
