package sam

import (
	"context"
	"image"
	"image/color"
	"io"
	"math"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// TestNil: what is missing is an error of every call.
func TestNil(t *testing.T) {
	m, e := tiny(t)
	ctx, gray := t.Context(), image.NewGray(image.Rect(0, 0, 9, 9))
	for _, img := range []image.Image{nil, (*image.RGBA)(nil)} {
		_, err := m.Encode(ctx, img)
		require.ErrorIs(t, err, ErrSize)
		_, err = m.Preprocess(img)
		require.ErrorIs(t, err, ErrSize)
		_, err = m.Everything(ctx, img)
		require.ErrorIs(t, err, ErrSize)
		_, err = m.Everything(ctx, img, CropLayers(1))
		require.ErrorIs(t, err, ErrSize)
		for _, err := range m.EverythingSeq(ctx, img) {
			require.ErrorIs(t, err, ErrSize)
		}
	}
	require.Zero(t, MaskOf(nil))

	for _, e := range []*Embedding{nil, new(Embedding)} {
		_, err := m.Predict(ctx, e, []Prompt{{}})
		require.ErrorIs(t, err, ErrEmbedding)
		_, err = m.EverythingFrom(ctx, e)
		require.ErrorIs(t, err, ErrEmbedding)
		_, err = e.MaskPrompt(Mask{})
		require.ErrorIs(t, err, ErrEmbedding)
		_, err = e.WriteTo(io.Discard)
		require.ErrorIs(t, err, ErrEmbedding)
		require.Zero(t, e.Features())
		require.Zero(t, e.Grid())
		require.Zero(t, e.Size())
	}

	for _, m := range []*Model{nil, new(Model)} {
		_, err := m.Encode(ctx, gray)
		require.ErrorIs(t, err, ErrConfig)
		_, err = m.EncodePixels(ctx, Pixels{1, 1, make([]float32, 3)}, image.Pt(1, 1))
		require.ErrorIs(t, err, ErrConfig)
		_, err = m.Preprocess(gray)
		require.ErrorIs(t, err, ErrConfig)
		_, err = m.Predict(ctx, e, []Prompt{{}})
		require.ErrorIs(t, err, ErrConfig)
		_, err = m.Everything(ctx, gray)
		require.ErrorIs(t, err, ErrConfig)
		_, err = m.EverythingFrom(ctx, e)
		require.ErrorIs(t, err, ErrConfig)
		for _, err := range m.EverythingSeq(ctx, gray) {
			require.ErrorIs(t, err, ErrConfig)
		}
		require.Zero(t, m.Config())
	}
	_, err := Load(nil)
	require.Error(t, err)
	require.Nil(t, Result{}.Logits(0))
}

// TestConfigIsACopy: whoever changes it does not change the model.
func TestConfigIsACopy(t *testing.T) {
	m, _ := tiny(t)
	c := m.Config()
	c.ViT.Heads, c.ViT.Windows[0] = 99, 99
	require.NotEqual(t, c, m.Config())
	require.NotEqual(t, 99, m.Config().ViT.Windows[0])
}

// TestOptionsTogether: layers of crops that have no points are refused before
// any work.
func TestOptionsTogether(t *testing.T) {
	m, _ := tiny(t)
	worked := WithProgress(func(int, int) { t.Error("the encoder ran") })
	for name, opts := range map[string][]EverythingOption{
		"downscale": {PointsPerSide(3), CropLayers(2), CropPointsDownscale(3)},
		"nil grid":  {PointGrids(nil)},
		"layer":     {PointGrids([][2]float64{{0.5, 0.5}}, nil), CropLayers(1)},
	} {
		_, err := m.Everything(t.Context(), image.NewGray(image.Rect(0, 0, 90, 90)), append(opts, worked)...)
		require.ErrorIs(t, err, ErrOption, name)
	}
}

// TestEncodePixelsSizes: no picture of that size becomes such pixels.
func TestEncodePixelsSizes(t *testing.T) {
	m, _ := tiny(t)
	side := m.Config().ImageSize
	p := Pixels{side, side / 2, make([]float32, 3*side*side/2)}
	for original, ok := range map[image.Point]bool{
		{2 * side, side}:     true,
		{2 * side, side + 1}: true, // by rounding
		{1000, 500}:          true,
		{1000, 600}:          false,
		{500, 1000}:          false,
		{1 << 28, 1}:         false,
		{-1000, -500}:        false,
		{}:                   false,
	} {
		_, err := m.EncodePixels(t.Context(), p, original)
		if ok {
			require.NoError(t, err, original)
		} else {
			require.ErrorIs(t, err, ErrSize, original)
		}
	}
}

// TestOverflow: finite weights, pixels and prompts that are too large for
// float32 on the way are an error, not masks of NaN.
func TestOverflow(t *testing.T) {
	large := func(which string) *weights.File {
		return checkpoint(t, micro(), func(dst []float32, name string, _ []int) {
			for i := range dst {
				dst[i] = float32(i%7-3) / 8
				if name == which {
					dst[i] *= 1e38
				}
			}
		})
	}
	gray := image.NewGray(image.Rect(0, 0, 20, 12))
	for _, info := range micro().listing().Listed {
		m, err := Load(large(info.Name))
		require.NoError(t, err, info.Name)
		e, err := m.Encode(t.Context(), gray)
		if err != nil {
			require.ErrorIs(t, err, ErrOverflow, info.Name)
			continue
		}
		results, err := m.Predict(t.Context(), e, []Prompt{{Points: []Point{{3, 4, Foreground}}}})
		if err != nil {
			require.ErrorIs(t, err, ErrOverflow, info.Name)
			continue
		}
		for i, mask := range results[0].Masks {
			require.True(t, nn.Finite(mask.IoU), info.Name)
			for _, v := range results[0].LowRes[i].Data {
				require.True(t, nn.Finite(v), info.Name)
			}
		}
	}

	m, err := Load(large(""))
	require.NoError(t, err)
	p := Pixels{32, 32, make([]float32, 3*32*32)}
	for i := range p.Data {
		p.Data[i] = math.MaxFloat32 * float32(i%2*2-1)
	}
	e, err := m.EncodePixels(t.Context(), p, image.Pt(32, 32))
	if err != nil { // sums may cancel
		require.ErrorIs(t, err, ErrOverflow)
	} else {
		require.NoError(t, checkFinite(m.kernel, "features", e.Features()))
	}
	e, err = m.Encode(t.Context(), gray)
	require.NoError(t, err)
	for name, p := range map[string]Prompt{
		"point": {Points: []Point{{math.MaxFloat32, -math.MaxFloat32, Foreground}}},
		"box":   {Box: &Box{-math.MaxFloat32, -math.MaxFloat32, math.MaxFloat32, math.MaxFloat32}},
	} {
		results, err := m.Predict(t.Context(), e, []Prompt{p})
		if err != nil {
			require.ErrorIs(t, err, ErrPrompt, name)
			continue
		}
		for _, mask := range results[0].Masks {
			require.True(t, nn.Finite(mask.IoU), name)
		}
	}
}

// TestCallsInCallbacks: a model answers its own progress callbacks, even with
// one worker.
func TestCallsInCallbacks(t *testing.T) {
	f := procedural(t, micro())
	m, err := Load(f, WithWorkers(1))
	require.NoError(t, err)
	gray := image.NewGray(image.Rect(0, 0, 20, 12))
	e, err := m.Encode(t.Context(), gray)
	require.NoError(t, err)
	calls := 0
	inside := WithProgress(func(int, int) {
		calls++
		other, err := m.Encode(t.Context(), gray)
		require.NoError(t, err)
		require.Equal(t, e.Features(), other.Features())
		results, err := m.Predict(t.Context(), e, []Prompt{{}})
		require.NoError(t, err)
		require.NotEmpty(t, results[0].Logits(0))
	})
	got, err := m.Encode(t.Context(), gray, inside)
	require.NoError(t, err)
	require.Equal(t, e.Features(), got.Features())
	_, err = m.Predict(t.Context(), e, []Prompt{{}, {Single: true}}, inside)
	require.NoError(t, err)
	_, err = m.Everything(t.Context(), gray, PointsPerSide(2), CropLayers(1), inside)
	require.NoError(t, err)
	require.Greater(t, calls, 10)

	ctx, cancel := context.WithCancel(t.Context())
	_, err = m.Encode(ctx, gray, WithProgress(func(int, int) { cancel() }))
	require.ErrorIs(t, err, context.Canceled)
	for range 2 { // a panic of the caller's gives the worker back
		require.PanicsWithValue(t, "user", func() {
			_, _ = m.Encode(t.Context(), gray, WithProgress(func(int, int) { panic("user") }))
		})
		require.PanicsWithValue(t, "user", func() {
			_, _ = m.Predict(t.Context(), e, []Prompt{{}}, WithProgress(func(int, int) { panic("user") }))
		})
		require.PanicsWithValue(t, "pixels", func() { _, _ = m.Encode(t.Context(), trap{}) })
	}
	_, err = m.Predict(t.Context(), e, []Prompt{{}})
	require.NoError(t, err)
}

// trap is a picture that panics.
type trap struct{}

func (trap) Bounds() image.Rectangle { return image.Rect(0, 0, 20, 12) }
func (trap) ColorModel() color.Model { return color.RGBAModel }
func (trap) At(int, int) color.Color { panic("pixels") }
