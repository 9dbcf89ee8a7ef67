package vit

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// resNetArchitecture is how the fixtures describe a CLIP with a ResNet.
type resNetArchitecture struct {
	Name    string `json:"name"`
	Embed   int    `json:"embed_dim"`
	Image   int    `json:"image_resolution"`
	Layers  [4]int `json:"vision_layers"`
	Width   int    `json:"vision_width"`
	Context int    `json:"context_length"`
	Vocab   int    `json:"vocab_size"`

	TextWidth  int `json:"text_width"`
	TextHeads  int `json:"text_heads"`
	TextLayers int `json:"text_layers"`
}

// OpenAI's ResNets.
var (
	rn50    = resNetArchitecture{"RN50", 1024, 224, [4]int{3, 4, 6, 3}, 64, 77, 49408, 512, 8, 12}
	rn101   = resNetArchitecture{"RN101", 512, 224, [4]int{3, 4, 23, 3}, 64, 77, 49408, 512, 8, 12}
	rn50x4  = resNetArchitecture{"RN50x4", 640, 288, [4]int{4, 6, 10, 6}, 80, 77, 49408, 640, 10, 12}
	rn50x16 = resNetArchitecture{"RN50x16", 768, 384, [4]int{6, 8, 18, 8}, 96, 77, 49408, 768, 12, 12}
	rn50x64 = resNetArchitecture{"RN50x64", 1024, 448, [4]int{3, 15, 36, 10}, 128, 77, 49408, 1024, 16, 12}
	tinyRN  = resNetArchitecture{"tinyRN", 64, 128, [4]int{1, 1, 2, 1}, 8, 77, 49408, 64, 1, 3}
)

func (a resNetArchitecture) config() Config {
	grid := a.Image / resNetStride
	return Config{
		Embed:  a.Embed,
		Vision: VisionConfig{Patch: resNetStride, Grid: image.Pt(grid, grid), Width: a.Width, Stages: a.Layers},
		Text:   textConfig(a.Context, a.Vocab, a.TextWidth, a.TextLayers),
	}
}

func (a resNetArchitecture) file(t testing.TB) *weights.File {
	return procedural(t, a.config().tensors())
}

// model is the architecture with procedural weights.
func (a resNetArchitecture) model(t testing.TB, opts ...Option) *CLIP {
	c, err := Load(a.file(t), opts...)
	require.NoError(t, err)
	return c
}

func TestResNetFixtures(t *testing.T) {
	for _, f := range golden.All(t, "clip_resnet") {
		t.Run(f.File, func(t *testing.T) {
			var a resNetArchitecture
			f.Arch(t, &a)
			if a.Width > 16 {
				golden.Long(t)
			}
			for _, k := range simd.All() {
				if a.Width > 16 && k != simd.Best() {
					continue
				}
				checkResNet(t, f, a.model(t, WithKernel(k)))
			}
		})
	}
}

func checkResNet(t *testing.T, f *golden.Fixture, c *CLIP) {
	kind, _, _ := strings.Cut(strings.TrimPrefix(f.File, "clip_resnet/"), "_")
	plan := Plan{}
	if kind == "cs" {
		plan = surgeryPlan()
	}
	features, seen := traced(t, c, pixelsOf(f.Input(t, "image")), []Plan{plan})
	for _, output := range f.Outputs() {
		switch {
		case output == "cosine_cls_to_tokens":
			f.Check(t, output, cosines(features[0][0]))
		case output == "features" && kind == "openai":
			f.Check(t, output, features[0][0].Tokens.Data[:c.config.Embed])
		case output == "features":
			f.Check(t, output, joined(features, 0))
		default:
			shape := f.OutputsRaw[output].Shape
			f.Check(t, output, planes(seen[output], shape[1]))
		}
	}
}

// planes is rows of pixels as [channels, pixels].
func planes(rows []float32, channels int) []float32 {
	n := len(rows) / channels
	out := make([]float32, 0, len(rows))
	for c := range channels {
		for i := range n {
			out = append(out, rows[i*channels+c])
		}
	}
	return out
}

func TestResNetConfig(t *testing.T) {
	c := tinyRN.model(t)
	v := c.Config().Vision
	require.Equal(t, VisionConfig{Patch: 32, Grid: image.Pt(4, 4), Width: 8, Layers: 5, Heads: 4,
		Stages: [4]int{1, 1, 2, 1}, Activation: simd.ReLU, Eps: 1e-5}, v)
	require.Equal(t, image.Pt(128, 128), v.Size())
	p, err := c.Preprocess(scene(100, 70), ShortSide(128))
	require.NoError(t, err)
	require.Equal(t, image.Pt(192, 128), image.Pt(p.Width, p.Height))
	features, err := c.EncodeImage(context.Background(), scene(100, 70), ShortSide(128))
	require.NoError(t, err)
	require.Equal(t, image.Pt(6, 4), features.Grid)
}

// All sizes that OpenAI published load, run at their own size and another, and
// agree with OpenCLIP on PyTorch where the fixtures leave them out.
func TestPublished(t *testing.T) {
	golden.Long(t)
	for _, a := range []resNetArchitecture{rn50, rn101, rn50x4, rn50x16, rn50x64} {
		t.Run(a.Name, func(t *testing.T) {
			c := a.model(t)
			require.Equal(t, a.Width/2, c.Config().Vision.Heads)
			checkPublished(t, c, a.Name, a.Image)
		})
	}
	for _, x := range []struct {
		a     architecture
		other int
	}{
		{vitB32, 288}, // fixtures
		{vitB16, 192}, // fixtures
		{vitL14, 196}, // fixtures
		{architecture{"ViT-L/14@336", 768, 336, 24, 1024, 14, 16, 77, 49408, 768, 12, 12}, 0},
	} {
		t.Run(x.a.Name, func(t *testing.T) {
			c := x.a.model(t)
			if x.other == 0 {
				checkPublished(t, c, x.a.Name, x.a.Image)
				return
			}
			for _, side := range []int{x.a.Image, x.other} {
				f, err := c.EncodeImage(context.Background(), scene(100, 80), Resize(side), Operate(surgeryPlan()))
				require.NoError(t, err)
				require.Equal(t, image.Pt(side/x.a.Patch, side/x.a.Patch), f.Grid)
				lo, hi := c.kernel.MinMax(f.Tokens.Data)
				require.True(t, nn.Finite(lo) && lo < hi && nn.Finite(hi))
			}
		})
	}
}

// checkPublished compares with features that tools/peers/published.py wrote,
// at two sizes and with and without surgery.
func checkPublished(t *testing.T, c *CLIP, model string, native int) {
	require.Equal(t, image.Pt(native, native), c.Config().Vision.Size())
	var cases []struct {
		Model, Plan string
		Side        int
		Shape       []int
		Stride      int
		RMS         float64
		Values      []float32
	}
	data, err := os.ReadFile("testdata/published.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &cases))
	checked := 0
	for _, x := range cases {
		if x.Model != model {
			continue
		}
		p := Pixels{x.Side, x.Side, golden.Blocky("input/image", []int{3, x.Side, x.Side}, 32, 1.5, 0.75)}
		plan := map[string]Plan{"plain": {}, "surgery": surgeryPlan()}[x.Plan]
		f, err := c.EncodePixels(context.Background(), p, Operate(plan))
		require.NoError(t, err)
		require.Equal(t, x.Shape, []int{f.Tokens.Rows, f.Tokens.Cols})
		var got []float32
		var worst, sum float64
		for i, v := range f.Tokens.Data {
			sum += float64(v) * float64(v)
			if i%x.Stride == 0 {
				worst = max(worst, math.Abs(float64(v-x.Values[len(got)])))
				got = append(got, v)
			}
		}
		golden.Close(t, fmt.Sprint(x.Side, x.Plan), got, x.Values, 2e-5*x.RMS)
		require.InEpsilon(t, x.RMS, math.Sqrt(sum/float64(len(f.Tokens.Data))), 1e-6)
		t.Logf("%s@%d %s: largest difference %.2g, features' root mean square %.3g", x.Model, x.Side, x.Plan, worst, x.RMS)
		checked++
	}
	require.Equal(t, 4, checked)
}

// What a model holds beyond its weights: other forms of convolutions, and the
// scratch memory of a call.
func TestResNetMemory(t *testing.T) {
	golden.Long(t)
	memory := func() (m runtime.MemStats) {
		for range 3 { // what pools keep survives one
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m
	}
	before, parameters := memory(), 0
	f := rn50.file(t)
	for _, name := range f.Names() {
		shape, _ := f.Shape(name)
		n := 1
		for _, extent := range shape {
			n *= extent
		}
		parameters += n
	}
	c, err := Load(f)
	require.NoError(t, err)
	loaded := memory()
	p := Pixels{224, 224, golden.Procedural("pixels", []int{3, 224, 224}, 0, 1)}
	_, err = c.EncodePixels(context.Background(), p, Operate(surgeryPlan()))
	require.NoError(t, err)
	encoded := memory()
	// All that the first call allocates, as if none of it had been freed.
	held, scratch := int(loaded.HeapAlloc-before.HeapAlloc)-4*parameters, int(encoded.TotalAlloc-loaded.TotalAlloc)
	t.Logf("RN50: %d MB of weights; held beside them %d MB, allocated by a call at 224 pixels %d MB", 4*parameters>>20, held>>20, scratch>>20)
	require.Less(t, held+scratch, 200<<20)
	runtime.KeepAlive(c)
}

// near compares features up to rounding: gonum sums in another order where a
// matrix has more rows.
func near(t *testing.T, name string, want, got *Features) {
	t.Helper()
	golden.Close(t, name, got.Tokens.Data, want.Tokens.Data, 5e-6)
	same := *got
	same.Tokens = want.Tokens
	require.Equal(t, want, &same, name)
}

// Any size works, odd ones too; what the plan says does not depend on company,
// batch or workers.
func TestResNetProperties(t *testing.T) {
	ctx := context.Background()
	c := tinyRN.model(t)
	var pictures []image.Image
	for _, size := range []image.Point{{32, 32}, {61, 33}, {127, 190}, {200, 31}, {300, 310}} {
		pictures = append(pictures, scene(size.X, size.Y))
	}
	all, err := c.EncodeImages(ctx, pictures, ShortSide(96), Operate(surgeryPlan()))
	require.NoError(t, err)
	for i, img := range pictures {
		both, err := c.EncodePlans(ctx, img, []Plan{{}, surgeryPlan()}, ShortSide(96))
		require.NoError(t, err)
		near(t, "in a batch", both[1], all[i])
		alone, err := c.EncodeImage(ctx, img, ShortSide(96))
		require.NoError(t, err)
		near(t, "beside another plan", alone, both[0])
		require.Equal(t, 1+alone.Grid.X*alone.Grid.Y, alone.Tokens.Rows)
		require.NotEqual(t, both[0].Tokens.Data[:64], both[1].Tokens.Data[:64], "the operated pool changes the class row")
		three, err := tinyRN.model(t, WithWorkers(3)).EncodeImage(ctx, img, ShortSide(96))
		require.NoError(t, err)
		require.Equal(t, alone.Tokens, three.Tokens)
	}
	for size, grid := range map[image.Point]image.Point{
		{31, 31}: {1, 1}, {32, 63}: {1, 2}, {33, 62}: {1, 1}, {97, 129}: {3, 4}, {30, 64}: {},
	} {
		p := Pixels{size.X, size.Y, golden.Procedural("pixels", []int{3, size.Y, size.X}, 0, 1)}
		f, err := c.EncodePixels(ctx, p)
		if grid == (image.Point{}) {
			require.ErrorIs(t, err, ErrSize)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, grid, f.Grid, size)
	}
}

// The batch does not fit one pass.
func TestResNetBatches(t *testing.T) {
	a := tinyRN
	c := a.model(t)
	var pixels []Pixels
	for i := range 5 {
		side := 128 + 96*i // 16 to 256 cells
		pixels = append(pixels, Pixels{side, side, golden.Procedural(fmt.Sprint("pixels", i), []int{3, side, side}, 0, 1)})
	}
	features, _ := traced(t, c, pixels, []Plan{{}})
	tower := c.vision.(*resNet)
	var sizes []image.Point
	for i, p := range pixels {
		alone, err := c.EncodePixels(context.Background(), p)
		require.NoError(t, err)
		near(t, fmt.Sprint("picture ", i), alone, features[i][0])
		sizes = append(sizes, alone.Size)
	}
	require.Equal(t, []int{3, 1, 1}, tower.batches(sizes))
	require.Equal(t, 15, tower.steps(sizes, nil))
}

func TestResNetPlans(t *testing.T) {
	ctx := context.Background()
	c := tinyRN.model(t)
	p := Pixels{128, 128, golden.Procedural("pixels", []int{3, 128, 128}, 0, 1)}
	for name, plan := range plans {
		_, err := c.EncodePixels(ctx, p, Operate(plan))
		if name == "plain" {
			require.NoError(t, err, name)
		} else { // among them CLIP Surgery's on another number of blocks
			require.ErrorIs(t, err, ErrPlan, name)
		}
	}
	changed := func(f func(*Plan)) Plan {
		plan := surgeryPlan()
		f(&plan)
		return plan
	}
	for _, plan := range []Plan{
		changed(func(p *Plan) { p.Blocks = 5 }), changed(func(p *Plan) { p.Blocks = 7 }), changed(func(p *Plan) { p.Beside = false }),
		changed(func(p *Plan) { p.WithoutFFN = false }), changed(func(p *Plan) { p.WithoutResidual = true }),
		changed(func(p *Plan) { p.Attention = nil }), changed(func(p *Plan) { p.Attention[0].Weight = 0.5 }),
		changed(func(p *Plan) { p.Attention[0].Iterations = 1 }), changed(func(p *Plan) { p.Attention[0].Query = Q }),
		changed(func(p *Plan) { p.Attention[0].Scale = -1 }), changed(func(p *Plan) { p.Positions = 9 }),
		{Blocks: -1}, {Beside: true},
	} {
		_, err := c.EncodePixels(ctx, p, Operate(plan))
		require.ErrorIs(t, err, ErrPlan, plan)
	}
	// The paper's variant for ResNets, and the same number written otherwise.
	plain, err := c.EncodePixels(ctx, p, Operate(surgeryPlan()))
	require.NoError(t, err)
	unit, err := c.EncodePixels(ctx, p, Operate(changed(func(p *Plan) { p.Attention[0].Unit, p.Attention[0].Scale = true, 8 })))
	require.NoError(t, err)
	golden.Close(t, "unit vectors", unit.Tokens.Data, pool(t, c, p, true), 1e-5)
	golden.Close(t, "as they are", plain.Tokens.Data, pool(t, c, p, false), 1e-5)
	same, err := c.EncodePixels(ctx, p, Operate(changed(func(p *Plan) { p.Attention[0].Scale, p.Attention[0].Weight = 1, 1 })))
	require.NoError(t, err)
	require.Equal(t, plain.Tokens, same.Tokens)
}

// pool is the operated attention pool by its formula, in float64: c_proj of
// softmax(s·V·Vᵀ)·V, or with unit vectors and 8·s.
func pool(t *testing.T, c *CLIP, p Pixels, unit bool) []float32 {
	_, seen := traced(t, c, []Pixels{p}, []Plan{{}})
	const width, heads, dim = 256, 4, 64
	cells := len(seen["layer4.0"]) / width
	weight := func(name string, shape ...int) []float32 {
		return golden.Weight("visual.attnpool."+name, "", shape)
	}
	table := weight("positional_embedding", 1+cells, width)
	linear := func(x [][]float64, name string, out int) [][]float64 {
		w, b := weight(name+".weight", out, width), weight(name+".bias", out)
		y := make([][]float64, len(x))
		for i := range x {
			for o := range out {
				sum := float64(b[o])
				for j, v := range x[i] {
					sum += v * float64(w[o*width+j])
				}
				y[i] = append(y[i], sum)
			}
		}
		return y
	}
	x := make([][]float64, 1+cells)
	x[0] = make([]float64, width)
	for i := range cells {
		x[1+i] = make([]float64, width)
		for j := range width {
			v := float64(seen["layer4.0"][i*width+j])
			x[1+i][j] = v
			x[0][j] += v / float64(cells)
		}
	}
	for i := range x {
		for j := range x[i] {
			x[i][j] += float64(table[i*width+j])
		}
	}
	v := linear(x, "v_proj", width)
	attended := make([][]float64, len(v))
	for i := range attended {
		attended[i] = make([]float64, width)
	}
	for h := range heads {
		of := func(i int) []float64 { return v[i][h*dim:][:dim] }
		dot := func(a, b []float64) (sum float64) {
			for j := range a {
				sum += a[j] * b[j]
			}
			return sum
		}
		for i := range v {
			var sum float64
			weights := make([]float64, len(v))
			for k := range v {
				score := dot(of(i), of(k)) / 8 // the root of 64 columns
				if unit {
					score *= 8 / math.Sqrt(dot(of(i), of(i))*dot(of(k), of(k)))
				}
				weights[k] = math.Exp(score)
				sum += weights[k]
			}
			for k := range v {
				for j, value := range of(k) {
					attended[i][h*dim+j] += weights[k] / sum * value
				}
			}
		}
	}
	var out []float32
	for _, row := range linear(attended, "c_proj", 64) {
		for _, value := range row {
			out = append(out, float32(value))
		}
	}
	return out
}
