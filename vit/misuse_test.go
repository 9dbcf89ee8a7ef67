package vit

import (
	"bytes"
	"context"
	"image"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// small has few enough values that every bit of its labels can be flipped.
var small = architecture{"small", 8, 16, 2, 16, 4, 2, 77, 49408, 8, 1, 1}

func TestEveryFlippedBitOfLabelsIsFound(t *testing.T) {
	c := small.model(t)
	l, err := c.Labels(t.Context(), []string{"cat", "<dog>"}, []string{"{}"})
	require.NoError(t, err)
	var buf bytes.Buffer
	_, err = l.WriteTo(&buf)
	require.NoError(t, err)
	for i := range 8 * buf.Len() {
		data := bytes.Clone(buf.Bytes())
		data[i/8] ^= 1 << (i % 8)
		f, err := weights.FromBytes(data)
		if err != nil {
			continue
		}
		_, err = c.LoadLabels(f)
		require.Error(t, err, "bit %d of byte %d, %q", i%8, i/8, data[max(0, i/8-10):min(i/8+10, len(data))])
	}
}

func TestSaveReplacesLabelsAtomically(t *testing.T) {
	c := small.model(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "labels.safetensors")
	l, err := c.Labels(t.Context(), []string{"cat"}, []string{"{}"})
	require.NoError(t, err)
	require.NoError(t, l.Save(path))
	require.Error(t, (&Labels{Names: []string{"dog"}}).Save(path))
	again, err := c.OpenLabels(path)
	require.NoError(t, err)
	require.Equal(t, l, again)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Error(t, l.Save(filepath.Join(dir, "none", "labels")))
	for _, l := range []*Labels{nil, {}, {Names: []string{"a"}, Features: blas32.General{Rows: 1, Cols: 4, Stride: 4}}} {
		_, err := l.WriteTo(new(bytes.Buffer))
		require.Error(t, err)
	}
}

func TestNilModels(t *testing.T) {
	_, err := Load(nil)
	require.ErrorIs(t, err, ErrConfig)
	ctx, img := context.Background(), image.NewGray(image.Rect(0, 0, 8, 8))
	for _, c := range []*CLIP{nil, {}} {
		for name, call := range map[string]func() error{
			"EncodeImage":   func() error { _, err := c.EncodeImage(ctx, img); return err },
			"EncodeImages":  func() error { _, err := c.EncodeImages(ctx, nil); return err },
			"EncodePlans":   func() error { _, err := c.EncodePlans(ctx, img, make([]Plan, 1)); return err },
			"EncodePixels":  func() error { _, err := c.EncodePixels(ctx, Pixels{}); return err },
			"EncodeWindows": func() error { _, err := c.EncodeWindows(ctx, img, Windows{8, 8, 8}); return err },
			"Preprocess":    func() error { _, err := c.Preprocess(img); return err },
			"EncodeText":    func() error { _, err := c.EncodeText(ctx, []string{"a"}); return err },
			"EncodeTokens":  func() error { _, err := c.EncodeTokens(ctx, [][]int32{{1}}); return err },
			"EncodeLabels":  func() error { _, err := c.EncodeLabels(ctx, []string{"a"}, []string{"{}"}); return err },
			"Labels":        func() error { _, err := c.Labels(ctx, []string{"a"}, []string{"{}"}); return err },
			"TextTokens":    func() error { _, err := c.TextTokens(ctx, "a"); return err },
			"OpenLabels":    func() error { _, err := c.OpenLabels("none"); return err },
			"LoadLabels":    func() error { _, err := c.LoadLabels(nil); return err },
		} {
			require.ErrorIs(t, call(), ErrConfig, name)
		}
		require.Equal(t, Config{}, c.Config())
		require.Zero(t, c.LogitScale())
	}
}

func TestNilPictures(t *testing.T) {
	c, ctx := small.model(t), context.Background()
	for _, img := range []image.Image{nil, (*image.RGBA)(nil), image.NewGray(image.Rectangle{})} {
		_, err := c.Preprocess(img)
		require.ErrorIs(t, err, ErrSize)
		_, err = c.EncodeImage(ctx, img)
		require.ErrorIs(t, err, ErrSize)
		_, err = c.EncodeImages(ctx, []image.Image{image.NewGray(image.Rect(0, 0, 1, 1)), img})
		require.ErrorIs(t, err, ErrSize)
		_, err = c.EncodePlans(ctx, img, make([]Plan, 1))
		require.ErrorIs(t, err, ErrSize)
		_, err = c.EncodeWindows(ctx, img, Windows{8, 8, 8})
		require.ErrorIs(t, err, ErrSize)
	}
}

func TestUnknownNumbers(t *testing.T) {
	_, err := Load(small.file(t), Activation(99))
	require.ErrorIs(t, err, ErrConfig)
	c := small.model(t)
	for _, p := range []Plan{
		{Class: 9}, {Positions: 9}, {Blocks: 1, Attention: []Term{{Query: 9, Key: V}}}, {Blocks: 1, Attention: []Term{{Query: V}}},
	} {
		_, err := c.EncodeImage(t.Context(), image.NewGray(image.Rect(0, 0, 8, 8)), Operate(p))
		require.ErrorIs(t, err, ErrPlan, "%+v", p)
	}
}

// Features beyond float32 are an error, not NaN.
func TestExtremeInputs(t *testing.T) {
	c := small.model(t)
	p := Pixels{16, 16, make([]float32, 3*16*16)}
	for i := range p.Data {
		p.Data[i] = math.MaxFloat32 * float32(1-2*(i%2))
	}
	if f, err := c.EncodePixels(t.Context(), p); err != nil {
		require.ErrorIs(t, err, weights.ErrNotFinite)
	} else {
		lo, hi := simd.Kernel{}.MinMax(f.Tokens.Data)
		require.True(t, nn.Finite(lo) && nn.Finite(hi))
	}
	large, err := weights.FromFunc(small.config().tensors(), func(name string, dst []float32) error {
		for i := range dst {
			dst[i] = 1e30 * float32(1-2*(i%2))
		}
		if name == "logit_scale" {
			dst[0] = 1
		}
		return nil
	})
	require.NoError(t, err)
	c, err = Load(large, Heads(2, 1))
	require.NoError(t, err)
	_, err = c.EncodeImage(t.Context(), image.NewGray(image.Rect(0, 0, 8, 8)))
	require.ErrorIs(t, err, weights.ErrNotFinite)
	_, err = c.EncodeText(t.Context(), []string{"a cat"})
	require.ErrorIs(t, err, weights.ErrNotFinite)
}

// A model may be called from its own progress callback, whatever its workers.
func TestModelCalledFromItsProgress(t *testing.T) {
	c := small.model(t, WithWorkers(1))
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	calls := 0
	inner := WithProgress(func(int, int) {
		calls++
		_, err := c.EncodeImage(t.Context(), img)
		require.NoError(t, err)
		_, err = c.EncodeText(t.Context(), []string{"a"})
		require.NoError(t, err)
	})
	want, err := c.EncodeImage(t.Context(), img)
	require.NoError(t, err)
	got, err := c.EncodeImage(t.Context(), img, inner)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = c.EncodeText(t.Context(), []string{"a", "b"}, inner)
	require.NoError(t, err)
	require.Greater(t, calls, 2)
}
