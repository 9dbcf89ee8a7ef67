package sam

import (
	"context"
	"image"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/stretchr/testify/require"
)

// Published architectures, as the fixtures describe them.
var (
	vitB = architecture{ImageSize: 1024, PatchSize: 16, Width: 768, Depth: 12, Heads: 12., Window: 14,
		Globals: []int{2, 5, 8, 11}, Out: 256, MaskChannels: 16}
	vitT = architecture{ImageSize: 1024, Widths: [4]int{64, 128, 160, 320}, Depths: [4]int{2, 2, 6, 2}, Out: 256, MaskChannels: 16}
)

// Multiplications and additions of one picture.
const (
	vitBFlops = 2 * 488e9
	vitTFlops = 2 * 39e9
)

func benchmarkEncoder(b *testing.B, a architecture, flops float64) {
	m, err := Load(procedural(b, a.config()))
	require.NoError(b, err)
	p := Pixels{1024, 768, golden.Procedural("pixels", []int{3, 768, 1024}, 0, 1)}
	for b.Loop() {
		_, err := m.EncodePixels(context.Background(), p, image.Pt(640, 480))
		require.NoError(b, err)
	}
	b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkEncodeViTB(b *testing.B)   { benchmarkEncoder(b, vitB, vitBFlops) }
func BenchmarkEncodeMobile(b *testing.B) { benchmarkEncoder(b, vitT, vitTFlops) }

// benchmarkDecoder measures the decoder of the published models on n prompts
// of one click each, without making full-size masks.
func benchmarkDecoder(b *testing.B, n int) {
	c := vitB.config()
	c.ViT.Depth, c.ViT.Windows, c.ViT.Tables = 1, c.ViT.Windows[:1], c.ViT.Tables[:1]
	m, err := Load(procedural(b, c))
	require.NoError(b, err)
	e := &Embedding{
		features: nn.Matrix(golden.Procedural("features", []int{4096, 256}, 0, 1), 4096, 256),
		grid:     64, side: 1024, original: image.Pt(640, 480), input: image.Pt(1024, 768),
	}
	prompts := make([]Prompt, n)
	for i := range prompts {
		prompts[i].Points = []Point{{float32(i * 10), float32(i * 7), Foreground}}
	}
	r := m.call(b)
	for b.Loop() {
		err := m.predictLowRes(r, e, prompts, predictOptions{}, func([]lowResult) error { return nil })
		require.NoError(b, err)
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e3/float64(b.N*n), "ms/prompt")
}

func BenchmarkDecode1(b *testing.B)  { benchmarkDecoder(b, 1) }
func BenchmarkDecode64(b *testing.B) { benchmarkDecoder(b, 64) }

// BenchmarkUpsample brings one mask to a picture of 640×480.
func BenchmarkUpsample(b *testing.B) {
	u := newUpsampler(256, 1024, image.Pt(1024, 768), image.Pt(640, 480))
	low := golden.Procedural("low", []int{256, 256}, 0, 1)
	scratch := make([]float32, u.scratch())
	m := &Model{}
	for b.Loop() {
		u.resample(m.kernel, scratch, low, 0, 480, func(int, []float32) {})
	}
}
