package vit

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/stretchr/testify/require"
)

// scene is a picture of procedural bytes.
func scene(w, h int) *image.NRGBA {
	rgb := golden.U8Image(fmt.Sprintf("scene/%dx%d", w, h), h, w, 16, 90, 40)
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		copy(img.Pix[4*i:], rgb[3*i:3*i+3])
		img.Pix[4*i+3] = 255
	}
	return img
}

func TestGeometry(t *testing.T) {
	c := &Config{Vision: VisionConfig{Patch: 14, Grid: image.Pt(16, 16)}}
	for _, x := range []struct {
		size    image.Point
		option  ImageOption
		resized image.Point
		crop    image.Rectangle
		region  image.Rectangle
	}{
		{image.Pt(500, 375), nil, image.Pt(224, 224), image.Rect(0, 0, 224, 224), image.Rect(0, 0, 500, 375)},
		{image.Pt(500, 375), Resize(512), image.Pt(512, 512), image.Rect(0, 0, 512, 512), image.Rect(0, 0, 500, 375)},
		{image.Pt(500, 375), ShortSide(224), image.Pt(294, 224), image.Rect(0, 0, 294, 224), image.Rect(0, 0, 500, 375)},
		{image.Pt(375, 500), ShortSide(230), image.Pt(224, 308), image.Rect(0, 0, 224, 308), image.Rect(0, 0, 375, 500)},
		{image.Pt(10, 10), ShortSide(1), image.Pt(14, 14), image.Rect(0, 0, 14, 14), image.Rect(0, 0, 10, 10)},
		{image.Pt(500, 375), CenterCrop(224), image.Pt(298, 224), image.Rect(37, 0, 261, 224), image.Rect(62, 0, 438, 375)},
		{image.Pt(3, 500), CenterCrop(6), image.Pt(6, 1000), image.Rect(0, 497, 6, 503), image.Rect(0, 249, 3, 252)},
	} {
		o, err := imageOptionsOf([]ImageOption{x.option})
		require.NoError(t, err)
		g, err := o.transform.geometry(x.size, c)
		require.NoError(t, err)
		require.Equal(t, x.resized, g.resized)
		require.Equal(t, x.crop, g.crop)
		require.Equal(t, x.region, g.region())
	}
	for _, o := range []ImageOption{Resize(0), ShortSide(-1), CenterCrop(maxPixels + 1)} {
		_, err := imageOptionsOf([]ImageOption{o, Resize(224)})
		require.ErrorIs(t, err, ErrSize, "checked where it is given")
	}
	o, err := imageOptionsOf([]ImageOption{ShortSide(100), Resize(224)})
	require.NoError(t, err)
	require.Equal(t, transform{square, 224}, o.transform, "the last counts")
}

// The prepared tensors of torchvision on Pillow, in every color mode.
func TestPreprocessFixtures(t *testing.T) {
	c := tiny.model(t)
	for _, f := range golden.All(t, "preprocess") {
		for _, output := range f.Outputs() {
			part := strings.Split(output, ".") // input, transform and size, kind
			name, isCLIP := strings.CutPrefix(part[1], "clip")
			side, err := strconv.Atoi(strings.TrimPrefix(name, "openai"))
			if err != nil || part[2] != "tensor" {
				continue // another transform
			}
			option := CenterCrop(side)
			if isCLIP {
				option = Resize(side)
			}
			p, err := c.Preprocess(fixturePicture(t, f, part[0]), option)
			require.NoError(t, err)
			f.Check(t, output, p.Data)
		}
	}
}

func fixturePicture(t *testing.T, f *golden.Fixture, input string) image.Image {
	var source struct{ File string }
	require.NoError(t, json.Unmarshal(f.InputsRaw[input], &source))
	if source.File != "" {
		file, err := os.Open(f.Path(source.File))
		require.NoError(t, err)
		defer file.Close()
		img, err := png.Decode(file)
		require.NoError(t, err)
		return img
	}
	x := f.Input(t, input)
	img := image.NewNRGBA(image.Rect(0, 0, x.Shape[1], x.Shape[0]))
	for i := range x.Shape[0] * x.Shape[1] {
		copy(img.Pix[4*i:], x.U8[3*i:3*i+3])
		img.Pix[4*i+3] = 255
	}
	return img
}

func TestEncodeImageIsPreprocessAndEncodePixels(t *testing.T) {
	c := tiny.model(t)
	ctx := context.Background()
	img := scene(90, 70)
	for _, option := range []ImageOption{Resize(64), Resize(100), ShortSide(50), CenterCrop(48)} {
		p, err := c.Preprocess(img, option)
		require.NoError(t, err)
		want, err := c.EncodePixels(ctx, p, Operate(surgeryPlan()))
		require.NoError(t, err)
		got, err := c.EncodeImage(ctx, img, option, Operate(surgeryPlan()))
		require.NoError(t, err)
		require.Equal(t, want.Tokens, got.Tokens)
		require.Equal(t, want.Grid, got.Grid)
		require.Equal(t, image.Pt(p.Width/16, p.Height/16), got.Grid)
		require.Equal(t, image.Pt(90, 70), got.Size)
	}
	// A picture's bounds need not start at the origin.
	moved := image.NewNRGBA(image.Rect(-20, 30, 70, 100))
	draw.Draw(moved, moved.Bounds(), img, image.Point{}, draw.Src)
	want, err := c.EncodeImage(ctx, img)
	require.NoError(t, err)
	got, err := c.EncodeImage(ctx, moved)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestEncodePlansAndImages(t *testing.T) {
	c := tiny.model(t)
	ctx := context.Background()
	imgs := []image.Image{scene(90, 70), scene(64, 64), scene(30, 80)}
	plans := []Plan{{}, surgeryPlan(), {Blocks: 1, Attention: []Term{{Query: Q, Key: Q}}, Positions: PositionsBicubic}}
	batch, err := c.EncodeImages(ctx, imgs, ShortSide(48), Operate(surgeryPlan()))
	require.NoError(t, err)
	for i, img := range imgs {
		all, err := c.EncodePlans(ctx, img, plans, ShortSide(48))
		require.NoError(t, err)
		for j, plan := range plans {
			want, err := c.EncodeImage(ctx, img, ShortSide(48), Operate(plan))
			require.NoError(t, err)
			golden.Close(t, fmt.Sprint("picture ", i, " plan ", j), all[j].Tokens.Data, want.Tokens.Data, 5e-6)
			want.Tokens = all[j].Tokens
			require.Equal(t, want, all[j])
		}
		golden.Close(t, fmt.Sprint("batch, picture ", i), batch[i].Tokens.Data, all[1].Tokens.Data, 5e-6)
		require.Equal(t, all[1].Grid, batch[i].Grid)
	}
	// More pictures than fit one matrix.
	c = micro.model(t)
	many := make([]image.Image, 9)
	for i := range many {
		many[i] = imgs[i%len(imgs)]
	}
	far, err := c.EncodeImages(ctx, many, Resize(200)) // 626 rows each
	require.NoError(t, err)
	for i := len(imgs); i < len(many); i++ {
		golden.Close(t, fmt.Sprint("picture ", i), far[i].Tokens.Data, far[i%len(imgs)].Tokens.Data, 5e-6)
	}
	none, err := c.EncodeImages(ctx, nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestBatchesAreEven(t *testing.T) {
	c := micro.model(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		largest := 1 + r.IntN(60) // patches a side
		pictures := make([]picture, r.IntN(40))
		for i := range pictures {
			pictures[i].input = image.Pt(1+r.IntN(largest), 1+r.IntN(largest)).Mul(micro.Patch)
			pictures[i].size.X = i
		}
		batches, steps := c.batches(pictures, []Plan{{}})
		require.Equal(t, len(batches)*micro.Layers, steps)
		require.Equal(t, pictures, append([]picture{}, slices.Concat(batches...)...))
		for _, batch := range batches {
			rows, most := 0, 0
			for _, p := range batch {
				n := 1 + p.input.X*p.input.Y/(micro.Patch*micro.Patch)
				rows, most = rows+n, max(most, n)
			}
			require.LessOrEqual(t, rows, batchRows+most)
		}
	}
	same := make([]picture, 7)
	for i := range same {
		same[i].input = image.Pt(15, 15).Mul(micro.Patch)
	}
	batches, _ := c.batches(same, []Plan{{}})
	require.Len(t, batches, 2)
	require.Len(t, batches[0], 3)
}

func TestImageErrors(t *testing.T) {
	c := tiny.model(t)
	ctx := context.Background()
	img := scene(20, 20)
	encode := func(img image.Image, opts ...ImageOption) error {
		_, err := c.EncodeImage(ctx, img, opts...)
		return err
	}
	pixels := func(w, h, n int) error {
		_, err := c.EncodePixels(ctx, Pixels{w, h, make([]float32, n)})
		return err
	}
	require.ErrorIs(t, encode(image.NewNRGBA(image.Rectangle{})), ErrSize)
	require.ErrorIs(t, encode(image.NewUniform(color.White)), ErrSize, "endless picture")
	require.ErrorIs(t, encode(nil), ErrSize)
	require.ErrorIs(t, encode(img, Resize(0)), ErrSize)
	require.ErrorIs(t, encode(img, Resize(15)), ErrSize, "less than a patch")
	require.ErrorIs(t, encode(img, Resize(-64)), ErrSize)
	require.ErrorIs(t, encode(img, Resize(math.MaxInt)), ErrSize)
	require.ErrorIs(t, encode(img, ShortSide(1<<13)), ErrSize, "too many cells")
	require.NoError(t, encode(image.NewGray(image.Rect(0, 0, 1, 50_000)), CenterCrop(64)), "only the crop is computed")
	require.ErrorIs(t, encode(image.NewGray(image.Rect(0, 0, 1, 50_000)), ShortSide(64)), ErrSize)
	require.ErrorIs(t, pixels(0, 16, 0), ErrSize)
	require.ErrorIs(t, pixels(16, 16, 3*16*16-1), ErrPixels)
	require.ErrorIs(t, pixels(15, 16, 3*15*16), ErrSize)
	require.ErrorIs(t, pixels(math.MaxInt, math.MaxInt, 3), ErrSize)
	bad := Pixels{16, 16, make([]float32, 3*16*16)}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		bad.Data[100] = float32(v)
		_, err := c.EncodePixels(ctx, bad)
		require.ErrorIs(t, err, ErrPixels)
	}
	_, err := c.EncodePixels(ctx, Pixels{16, 16, make([]float32, 3*16*16)}, Resize(32))
	require.ErrorIs(t, err, ErrSize)
	_, err = c.EncodePlans(ctx, img, nil)
	require.ErrorIs(t, err, ErrEmpty)
	_, err = c.EncodePlans(ctx, img, []Plan{{}}, Operate(Plan{}))
	require.ErrorIs(t, err, ErrPlan)
	_, err = c.Preprocess(img, Resize(0))
	require.ErrorIs(t, err, ErrSize)
}

func TestCanceledBetweenBlocks(t *testing.T) {
	c := tiny.model(t)
	steps := 0
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.EncodeImage(ctx, scene(20, 20), WithProgress(func(done, total int) {
		if steps++; steps == 3 {
			cancel()
		}
		require.Equal(t, steps, done)
		require.Equal(t, tiny.Layers, total)
	}))
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 3, steps)
	// Nothing is lost: the model goes on.
	_, err = c.EncodeImage(context.Background(), scene(20, 20))
	require.NoError(t, err)
}

func TestWorkersDoNotChangeResults(t *testing.T) {
	ctx := context.Background()
	var first []float32
	for _, k := range simd.All() {
		first = nil
		for workers := 1; workers <= 3; workers++ {
			c := tiny.model(t, WithWorkers(workers), WithKernel(k))
			all, err := c.EncodePlans(ctx, scene(90, 70), []Plan{{}, surgeryPlan(), plans["GEM"], plans["NACLIP"]}, ShortSide(80))
			require.NoError(t, err)
			text, err := c.EncodeLabels(ctx, []string{"cat", "dog"}, []string{"{}", "a {}.", "the {} there"})
			require.NoError(t, err)
			got := text.Data
			for _, f := range all {
				got = append(got, f.Tokens.Data...)
			}
			if first == nil {
				first = got
			}
			require.Equal(t, first, got, "%v, %d workers", k, workers)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	c := tiny.model(t, WithWorkers(2))
	ctx := context.Background()
	sizes := []int{48, 64, 80}
	want := make([]*Features, len(sizes))
	for i, n := range sizes {
		var err error
		want[i], err = c.EncodeImage(ctx, scene(70, 50), Resize(n), Operate(surgeryPlan()))
		require.NoError(t, err)
	}
	text, err := c.EncodeText(ctx, []string{"a cat"})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			f, err := c.EncodeImage(ctx, scene(70, 50), Resize(sizes[i%3]), Operate(surgeryPlan()))
			if err != nil || !equal(f.Tokens.Data, want[i%3].Tokens.Data) {
				t.Errorf("call %d at %d pixels: other features than alone (%v)", i, sizes[i%3], err)
			}
			again, err := c.EncodeText(ctx, []string{"a cat"})
			if err != nil || !equal(again.Data, text.Data) {
				t.Errorf("call %d: other text features than alone (%v)", i, err)
			}
		})
	}
	wg.Wait()
}

func equal(a, b []float32) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

// A call allocates what it returns and little more, at sizes where one row's
// worth of forgotten scratch would show.
func TestSteadyStateAllocations(t *testing.T) {
	kernel := simd.Best()
	if kernel.Name() == "gonum" { // whose own BLAS allocates
		kernel, _ = simd.Select("generic")
	}
	c := tiny.model(t, WithWorkers(2), WithKernel(kernel))
	ctx := context.Background()
	p := Pixels{256, 192, golden.Blocky("allocations", []int{3, 192, 256}, 16, 1.5, 0.75)}
	ids := make([][]int32, 50)
	for i := range ids {
		ids[i] = []int32{49406, int32(i), 5, 49407}
	}
	calls := map[string]func() int{
		"image": func() int {
			f, err := c.EncodePixels(ctx, p, Operate(surgeryPlan()))
			require.NoError(t, err)
			return 4 * len(f.Tokens.Data)
		},
		"text": func() int {
			m, err := c.EncodeTokens(ctx, ids)
			require.NoError(t, err)
			return 4 * len(m.Data)
		},
	}
	for name, call := range calls {
		call()
		call()
		least := uint64(math.MaxUint64)
		for range 10 { // a collection may empty the pool in between
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			returned := call()
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc-uint64(returned))
		}
		// A prefix tree takes about 2 KB of bookkeeping for each text.
		limit := map[string]uint64{"image": 64 << 10, "text": 128 << 10}[name]
		require.Less(t, least, limit, name)
	}
}

func FuzzImageSizes(f *testing.F) {
	c := micro.model(f)
	f.Add(10, 20, uint8(0), 32)
	f.Add(1, 1, uint8(1), 100)
	f.Add(300, 1, uint8(2), 8)
	f.Add(0, 5, uint8(3), -1)
	f.Fuzz(func(t *testing.T, w, h int, kind uint8, n int) {
		w, h = w%400, h%400
		n = n % 200
		img := image.NewGray(image.Rect(0, 0, max(w, 0), max(h, 0)))
		if kind%4 == 2 && min(w, h) > 0 && max(w, h)*n/min(w, h) > 800 {
			return // a thin picture becomes a long one, whose attention takes its time
		}
		options := [][]ImageOption{nil, {Resize(n)}, {ShortSide(n)}, {CenterCrop(n)}}[kind%4]
		got, err := c.EncodeImage(context.Background(), img, options...)
		if err != nil {
			require.ErrorIs(t, err, ErrSize)
			return
		}
		require.Equal(t, 1+got.Grid.X*got.Grid.Y, got.Tokens.Rows)
		require.Equal(t, img.Bounds().Size(), got.Size)
		require.False(t, got.Region.Empty())
		require.True(t, got.Region.In(image.Rectangle{Max: got.Size}))
		for _, v := range got.Tokens.Data {
			require.True(t, nn.Finite(v))
		}
	})
}
