package sam

import (
	"context"
	"fmt"
	"image"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/stretchr/testify/require"
)

// TestPredict compares every prompt of the fixtures with the reference's
// predictor, all prompts in one call.
func TestPredict(t *testing.T) {
	fixtures(t, func(t *testing.T, f *golden.Fixture) {
		m := fixtureModel(t, f)
		img := picture(f.Input(t, "image"))
		e, err := m.Encode(t.Context(), img)
		require.NoError(t, err)
		var listed []fixturePrompt
		f.Value(t, "prompts", &listed)
		prompts := make([]Prompt, len(listed))
		for i, p := range listed {
			prompts[i] = p.prompt(t)
		}
		results, err := m.Predict(t.Context(), e, prompts)
		require.NoError(t, err)
		require.Len(t, results, len(prompts))
		for i, r := range results {
			p := fmt.Sprintf("p%d.", i)
			checkPrompt(t, f, m, e, p, &prompts[i])
			checkResult(t, f, p, r)
			for j, mask := range r.Masks {
				requireMask(t, f, fmt.Sprintf("%smask%d", p, j), mask)
			}
		}
	})
}

// checkPrompt compares the prompt encoder's part of a result.
func checkPrompt(t *testing.T, f *golden.Fixture, m *Model, e *Embedding, prefix string, p *Prompt) {
	if n := m.prompts.tokens(p); n > 0 {
		all := nn.Matrix(make([]float32, (5+n)*m.config.PromptWidth), 5+n, m.config.PromptWidth)
		m.initialTokens(all, e, p)
		f.Check(t, prefix+"sparse", nn.Rows(all, 5, n).Data)
	}
	if _, ok := f.OutputsRaw[prefix+"dense"]; ok {
		dense := m.prompts.masks.apply(m.call(t), p.Mask.Data, e.grid)
		f.Check(t, prefix+"dense", channelsFirst(dense))
	}
}

// checkResult compares logits and qualities of results that the reference
// has as one batch.
func checkResult(t *testing.T, f *golden.Fixture, prefix string, results ...Result) {
	var low, iou, logits []float32
	for _, r := range results {
		require.Len(t, r.LowRes, len(r.Masks))
		for i, l := range r.LowRes {
			low = append(low, l.Data...)
			iou = append(iou, r.Masks[i].IoU)
			logits = append(logits, r.Logits(i)...)
		}
	}
	f.Check(t, prefix+"low_res_logits", low)
	f.Check(t, prefix+"iou", iou)
	f.Check(t, prefix+"logits", logits)
}

// requireMask compares a mask with run lengths or packed bits of the fixture.
func requireMask(t *testing.T, f *golden.Fixture, name string, m Mask) {
	w, h := m.Size.X, m.Size.Y
	want := make([]bool, w*h)
	if runs, ok := f.Stored("out." + name + ".rle"); ok {
		i := 0
		for k, n := range runs.I32 {
			for range n {
				want[i%h*w+i/h] = k%2 == 1
				i++
			}
		}
	} else {
		bits, ok := f.Stored("out." + name + ".bits")
		require.True(t, ok, name)
		for i := range want {
			want[i] = bits.U8[i/8]>>(7-i%8)&1 == 1
		}
	}
	a := m.Alpha()
	require.Equal(t, image.Rect(0, 0, w, h), a.Rect)
	both, either := 0, 0
	for i, v := range want {
		got := a.Pix[i/w*a.Stride+i%w] > 127
		if got && v {
			both++
		}
		if got || v {
			either++
		}
	}
	iou := float64(both) / float64(either)
	t.Logf("%s: IoU %.5f", name, iou)
	require.GreaterOrEqual(t, iou, 0.999, name)
}

// TestPredictBatch compares batches that the reference's predict_torch ran.
func TestPredictBatch(t *testing.T) {
	f := golden.Load(t, "sam/tiny_batch_prompts.safetensors")
	m := fixtureModel(t, f)
	// The picture needs no resize, so its pixels are the model's.
	e, err := m.Encode(t.Context(), picture(f.Input(t, "image")))
	require.NoError(t, err)
	points, labels, boxes := f.Input(t, "points"), f.Input(t, "labels"), f.Input(t, "boxes")
	at := func(x golden.Tensor, i int) float32 {
		if x.F32 != nil {
			return x.F32[i]
		}
		return float32(x.F64[i])
	}
	batch := func(points, labels golden.Tensor, boxed bool) []Prompt {
		all := make([]Prompt, 3)
		for b := range all {
			if boxed {
				all[b].Box = &Box{at(boxes, 4*b), at(boxes, 4*b+1), at(boxes, 4*b+2), at(boxes, 4*b+3)}
			}
			for i := 2 * b; points.Shape != nil && i < 2*b+2; i++ {
				all[b].Points = append(all[b].Points, Point{at(points, 2*i), at(points, 2*i+1), Label(labels.I32[i])})
			}
		}
		return all
	}
	single := func(p []Prompt) []Prompt {
		for i := range p {
			p[i].Single = true
		}
		return p
	}
	var none golden.Tensor
	outside := f.Input(t, "outside")
	for name, prompts := range map[string][]Prompt{
		"points":        batch(points, labels, false),
		"points_single": single(batch(points, labels, false)),
		"boxes":         single(batch(none, none, true)),
		"points_boxes":  batch(points, labels, true),
		"label_minus1":  batch(points, f.Input(t, "labels_minus1"), false),
		"no_prompt":     {{}},
		"outside":       {{Points: []Point{{at(outside, 0), at(outside, 1), Foreground}}}},
	} {
		results, err := m.Predict(t.Context(), e, prompts)
		require.NoError(t, err)
		checkResult(t, f, name+".", results...)
	}
}

// tiny is a small model with a picture on it.
func tiny(t testing.TB, opts ...Option) (*Model, *Embedding) {
	f := golden.Load(t, "sam/tiny_portrait.safetensors")
	m := fixtureModel(t, f, opts...)
	e, err := m.Encode(context.Background(), picture(f.Input(t, "image")))
	require.NoError(t, err)
	return m, e
}

// TestPredictRefine: the logits of a result are a prompt for the next.
func TestPredictRefine(t *testing.T) {
	m, e := tiny(t)
	p := Prompt{Points: []Point{{44, 166, Foreground}}}
	first, err := m.Predict(t.Context(), e, []Prompt{p})
	require.NoError(t, err)
	p.Mask, p.Single = &first[0].LowRes[0], true
	second, err := m.Predict(t.Context(), e, []Prompt{p, p})
	require.NoError(t, err)
	require.NotEqual(t, first[0].LowRes[0], second[0].LowRes[0])
	require.Equal(t, second[0].LowRes, second[1].LowRes)
}

// TestPredictManyTokens: prompts so long that nothing is carried over to
// their tokens are as good, alone or in company.
func TestPredictManyTokens(t *testing.T) {
	m, e := tiny(t)
	var long Prompt
	for i := range 40 {
		long.Points = append(long.Points, Point{float32(7 * i % 97), float32(31 * i % 301), Label(i % 2)})
	}
	require.False(t, m.decoder.final.carries(5+m.prompts.tokens(&long)))
	short := Prompt{Box: &Box{10, 10, 60, 200}}
	require.True(t, m.decoder.final.carries(5+m.prompts.tokens(&short)))
	all, err := m.Predict(t.Context(), e, []Prompt{long, short, long})
	require.NoError(t, err)
	for i, p := range []Prompt{long, short, long} {
		one, err := m.Predict(t.Context(), e, []Prompt{p})
		require.NoError(t, err)
		for j := range one[0].LowRes {
			golden.Close(t, "low", all[i].LowRes[j].Data, one[0].LowRes[j].Data, 1e-3)
		}
	}
}

// TestPredictWorkers: results do not depend on the number of workers, nor on
// who else asks.
func TestPredictWorkers(t *testing.T) {
	m, e := tiny(t, WithWorkers(1))
	prompts := []Prompt{{}, {Box: &Box{10, 10, 60, 200}}, {Points: []Point{{44, 166, Foreground}}}, {Box: &Box{0, 0, 96, 300}, Single: true}}
	want, err := m.Predict(t.Context(), e, prompts)
	require.NoError(t, err)

	four, e4 := tiny(t, WithWorkers(4))
	require.Equal(t, e.Features(), e4.Features())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := four.Predict(context.Background(), e4, prompts)
			if err != nil || len(got) != len(want) {
				t.Error(len(got), err)
				return
			}
			for i := range got {
				for j := range got[i].LowRes {
					golden.Close(t, "low", got[i].LowRes[j].Data, want[i].LowRes[j].Data, 0)
				}
			}
		})
	}
	wg.Wait()
}

func TestPredictErrors(t *testing.T) {
	m, e := tiny(t)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	side := 4 * e.grid
	for name, p := range map[string]Prompt{
		"NaN point":     {Points: []Point{{nan, 1, Foreground}}},
		"infinite":      {Points: []Point{{1, inf, Background}}},
		"label":         {Points: []Point{{1, 1, 2}}},
		"NaN box":       {Box: &Box{0, nan, 1, 1}},
		"inverted box":  {Box: &Box{10, 0, 5, 5}},
		"upside down":   {Box: &Box{0, 9, 5, 5}},
		"mask size":     {Mask: &LowRes{Width: 1, Height: 1, Data: []float32{1}}},
		"mask data":     {Mask: &LowRes{Width: side, Height: side}},
		"mask of NaN":   {Mask: &LowRes{Width: side, Height: side, Data: append(make([]float32, side*side-1), nan)}},
		"NaN and box":   {Points: []Point{{nan, nan, Foreground}}, Box: &Box{0, 0, 5, 5}},
		"inf mask":      {Mask: &LowRes{Width: side, Height: side, Data: append(make([]float32, side*side-1), inf)}},
		"negative side": {Mask: &LowRes{Width: -1, Height: -1}},
	} {
		_, err := m.Predict(t.Context(), e, []Prompt{{}, p})
		require.ErrorIs(t, err, ErrPrompt, name)
		require.ErrorContains(t, err, "prompt 1", name)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.Predict(ctx, e, []Prompt{{}})
	require.ErrorIs(t, err, context.Canceled)

	none, err := m.Predict(t.Context(), e, nil)
	require.NoError(t, err)
	require.Empty(t, none)

	other := &Embedding{features: nn.Matrix(make([]float32, 4*8), 4, 8), grid: 2, side: 32, original: image.Pt(32, 32), input: image.Pt(32, 32)}
	_, err = m.Predict(t.Context(), other, []Prompt{{}})
	require.ErrorIs(t, err, ErrEmbedding)
}

// TestPredictProgress: progress reaches its total, and a context that ends on
// the way ends the call.
func TestPredictProgress(t *testing.T) {
	m, e := tiny(t)
	prompts := make([]Prompt, 300)
	last := 0
	_, err := m.Predict(t.Context(), e, prompts, WithProgress(func(done, total int) {
		require.Greater(t, done, last)
		require.Equal(t, len(prompts), total)
		last = done
	}))
	require.NoError(t, err)
	require.Equal(t, len(prompts), last)

	ctx, cancel := context.WithCancel(t.Context())
	_, err = m.Predict(ctx, e, prompts, WithProgress(func(int, int) { cancel() }))
	require.ErrorIs(t, err, context.Canceled)
}

func TestEncodeErrors(t *testing.T) {
	m, _ := tiny(t)
	for name, img := range map[string]image.Image{
		"empty": image.NewNRGBA(image.Rectangle{}),
		"thin":  image.NewNRGBA(image.Rect(0, 0, 1, 3000)),
		"huge":  hugeImage{},
	} {
		_, err := m.Encode(t.Context(), img)
		require.ErrorIs(t, err, ErrSize, name)
		_, err = m.Preprocess(img)
		require.ErrorIs(t, err, ErrSize, name)
	}
	_, err := m.Encode(t.Context(), image.NewGray(image.Rect(0, 0, 1, 1)))
	require.NoError(t, err, "one pixel is a picture")
	for _, n := range []int{-1, 1, 1 << 30} {
		_, err = m.Encode(t.Context(), image.NewGray(image.Rect(0, 0, 9, 9)), InputSize(n))
		require.ErrorIs(t, err, ErrSize)
	}

	side := m.geometry.side
	good := Pixels{side, 1, make([]float32, 3*side)}
	_, err = m.EncodePixels(t.Context(), good, image.Pt(0, 5))
	require.ErrorIs(t, err, ErrSize)
	_, err = m.EncodePixels(t.Context(), good, image.Pt(math.MaxInt, math.MaxInt))
	require.ErrorIs(t, err, ErrSize)
	bad := Pixels{side, 1, append(make([]float32, 3*side-1), float32(math.NaN()))}
	for _, p := range []Pixels{{}, {side, 1, nil}, {side - 1, 1, make([]float32, 3*side)}, {side, -1, nil}, bad} {
		_, err = m.EncodePixels(t.Context(), p, image.Pt(1, 1))
		require.ErrorIs(t, err, ErrPixels)
	}

	ctx, cancel := context.WithCancel(t.Context())
	steps := 0
	_, err = m.Encode(ctx, image.NewGray(image.Rect(0, 0, 9, 9)), WithProgress(func(done, total int) {
		steps = done
		if done == 2 {
			cancel()
		}
	}))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 2, steps)
	_, err = m.Encode(ctx, image.NewGray(image.Rect(0, 0, 9, 9)))
	require.ErrorIs(t, err, context.Canceled)
}

// hugeImage is a picture that nobody can hold.
type hugeImage struct{ *image.Uniform }

func (hugeImage) Bounds() image.Rectangle { return image.Rect(0, 0, 1<<30, 1<<30) }

// TestEncodePixels: prepared pixels give what the picture gives.
func TestEncodePixels(t *testing.T) {
	f := golden.Load(t, "sam/tiny_landscape.safetensors")
	m := fixtureModel(t, f)
	img := picture(f.Input(t, "image"))
	want, err := m.Encode(t.Context(), img)
	require.NoError(t, err)
	p, err := m.Preprocess(img)
	require.NoError(t, err)
	got, err := m.EncodePixels(t.Context(), p, img.Bounds().Size())
	require.NoError(t, err)
	require.Equal(t, want.Features(), got.Features())
	require.Equal(t, want.Size(), got.Size())
	require.Equal(t, image.Pt(16, 16), got.Grid())
}

// TestEncodeProgress: every stage is counted, the last is the total.
func TestEncodeProgress(t *testing.T) {
	m, _ := tiny(t)
	var seen []string
	_, err := m.Encode(t.Context(), image.NewGray(image.Rect(0, 0, 9, 9)), WithProgress(func(done, total int) {
		seen = append(seen, fmt.Sprint(done, "/", total))
	}))
	require.NoError(t, err)
	require.Equal(t, "1/6 2/6 3/6 4/6 5/6 6/6", strings.ReplaceAll(strings.Join(seen, " "), " / ", "/"))
}

// TestMaskPrompt: a plain mask becomes logits of its own shape.
func TestMaskPrompt(t *testing.T) {
	m, e := tiny(t)
	a := image.NewAlpha(image.Rectangle{Max: e.Size()})
	for y := 100; y < 200; y++ {
		for x := 20; x < 60; x++ {
			a.Pix[y*a.Stride+x] = 255
		}
	}
	low, err := e.MaskPrompt(MaskOf(a))
	require.NoError(t, err)
	_, err = m.Predict(t.Context(), e, []Prompt{{Mask: low}})
	require.NoError(t, err)
	logits := e.upsampler().logits(nn.Exec{Kernel: m.kernel}, low.Data)
	wrong := 0
	for i, v := range logits {
		if v > 0 != (a.Pix[i] > 0) {
			wrong++
		}
	}
	require.Less(t, wrong, 300, "pixels at the edge, whose length is 280")

	_, err = e.MaskPrompt(MaskOf(image.NewAlpha(image.Rect(0, 0, 5, 5))))
	require.ErrorIs(t, err, ErrPrompt)
}

// TestInputSize: a model for other sizes, and one picture of another size.
func TestInputSize(t *testing.T) {
	f := golden.Load(t, "sam/tiny_landscape.safetensors")
	img := picture(f.Input(t, "image"))
	small := fixtureModel(t, f, InputSize(200)) // whole patches: 192
	p, err := small.Preprocess(img)
	require.NoError(t, err)
	require.Equal(t, 192, p.Width)
	want, err := small.Encode(t.Context(), img)
	require.NoError(t, err)
	require.Equal(t, image.Pt(12, 12), want.Grid())

	m := fixtureModel(t, f)
	got, err := m.Encode(t.Context(), img, InputSize(200))
	require.NoError(t, err)
	require.Equal(t, want.Features(), got.Features())
	prompts := []Prompt{{Points: []Point{{150, 82, Foreground}}}}
	wanted, err := small.Predict(t.Context(), want, prompts)
	require.NoError(t, err)
	results, err := m.Predict(t.Context(), got, prompts)
	require.NoError(t, err)
	require.Equal(t, wanted[0].LowRes, results[0].LowRes)
	require.Equal(t, 48, results[0].LowRes[0].Width)
	require.Equal(t, want.Size(), results[0].Masks[0].Size)
}

// TestInputSizeTinyViT: a TinyViT takes any size too, down to one cell, but not
// widths with which its grid would be another.
func TestInputSizeTinyViT(t *testing.T) {
	a := architecture{ImageSize: 1024, Widths: [4]int{16, 32, 40, 320}, Depths: [4]int{1, 1, 1, 1}, Out: 16, MaskChannels: 16,
		DecoderHeads: 2, DecoderMLP: 32, IoUHidden: 16}
	m, err := Load(procedural(t, a.config()), DecoderHeads(2), InputSize(64))
	require.NoError(t, err)
	img := image.NewGray(image.Rect(0, 0, 50, 30))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * i)
	}
	for n, grid := range map[int]int{0: 4, 16: 1, 40: 2, 112: 7, 250: 15} {
		e, err := m.Encode(t.Context(), img, InputSize(n))
		require.NoError(t, err)
		require.Equal(t, image.Pt(grid, grid), e.Grid())
		results, err := m.Predict(t.Context(), e, []Prompt{{Box: &Box{5, 5, 40, 20}}})
		require.NoError(t, err)
		require.Equal(t, img.Rect.Size(), results[0].Best().Size)
		require.True(t, nn.Finite(results[0].Best().IoU))
	}
	for _, widths := range [][4]int{{16, 32, 40, 80}, {16, 32, 320, 320}} {
		a.Widths = widths
		_, err := Load(procedural(t, a.config()), DecoderHeads(2))
		require.ErrorIs(t, err, ErrConfig)
	}
}
