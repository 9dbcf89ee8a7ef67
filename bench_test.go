package clipsurgery_test

import (
	"context"
	"fmt"
	"image"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/untrained"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/tokenizer"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// The benchmarks run the published architectures with random weights, which
// need no file:
//
//	go test -bench . -run ^$ .
//
// ms is the fastest run, for machines that do other work beside; ns/op the
// mean.

// Of the text tower of all CLIPs here.
const textLayers, textContext = 12, 77

// kept is the model of the last benchmark: to make one takes longer than to run
// it a few times.
var kept struct {
	name  string
	model any
}

func keep[M any](b *testing.B, name string, file func() (*weights.File, error), load func(*weights.File) (M, error)) M {
	if m, ok := kept.model.(M); ok && kept.name == name {
		return m
	}
	kept.model = nil
	f, err := file()
	require.NoError(b, err)
	m, err := load(f)
	require.NoError(b, err)
	kept.name, kept.model = name, m
	return m
}

func clipModel(b *testing.B, name string, c vit.Config) *vit.CLIP {
	return keep(b, name, func() (*weights.File, error) { return untrained.CLIP(c) },
		func(f *weights.File) (*vit.CLIP, error) { return vit.Load(f) })
}

func samModel(b *testing.B, name string, c sam.Config) *sam.Model {
	return keep(b, name, func() (*weights.File, error) { return untrained.SAM(c) },
		func(f *weights.File) (*sam.Model, error) { return sam.Load(f) })
}

// measure runs f, of so many multiplications and additions.
func measure(b *testing.B, flops float64, f func() error) {
	b.ReportAllocs()
	require.NoError(b, f())
	best := time.Duration(math.MaxInt64)
	for b.Loop() {
		start := time.Now()
		if err := f(); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(start))
	}
	b.ReportMetric(best.Seconds()*1e3, "ms")
	if flops > 0 {
		b.ReportMetric(flops/best.Seconds()/1e9, "GFLOP/s")
	}
}

func BenchmarkImage(b *testing.B) {
	ctx := context.Background()
	for _, x := range []struct {
		name  string
		model vit.Config
		side  int
		plan  vit.Plan
	}{
		{"ViT-B-16", untrained.ViTB16(), 224, vit.Plan{}},
		{"ViT-B-16", untrained.ViTB16(), 512, surgery.CLIPSurgery()},
		{"ViT-L-14", untrained.ViTL14(), 224, vit.Plan{}},
	} {
		operated := x.plan.Blocks > 0
		name := fmt.Sprintf("%s@%d", x.name, x.side)
		if operated {
			name += "/surgery"
		}
		b.Run(name, func(b *testing.B) {
			c := clipModel(b, x.name, x.model)
			p := vit.Pixels{Width: x.side, Height: x.side, Data: golden.Procedural("pixels", []int{3, x.side, x.side}, 0, 1)}
			measure(b, untrained.ImageFlops(x.model, x.side, operated), func() error {
				_, err := c.EncodePixels(ctx, p, vit.Operate(x.plan))
				return err
			})
		})
	}
}

// BenchmarkText encodes 64 captions that share no words but the first.
func BenchmarkText(b *testing.B) {
	c := clipModel(b, "ViT-B-16", untrained.ViTB16())
	ids := make([][]int32, 64)
	for i := range ids {
		ids[i] = append(ids[i], 49406)
		for j := range 14 {
			ids[i] = append(ids[i], int32(1000+14*i+j))
		}
		ids[i] = append(ids[i], 49407)
	}
	flops := 64 * 16 * textLayers * untrained.TextFlops(untrained.ViTB16(), 8)
	measure(b, flops, func() error {
		_, err := c.EncodeTokens(context.Background(), ids)
		return err
	})
}

// BenchmarkLabels reports, besides, the rows of the prefix tree, those of the
// padded prompts, and how many times more rows and layers those are.
func BenchmarkLabels(b *testing.B) {
	classes := untrained.Labels()
	var thousand []string
	for i := range 1000 {
		thousand = append(thousand, classes[i%len(classes)]+" and "+classes[i/len(classes)])
	}
	for _, x := range []struct {
		name              string
		labels, templates []string
	}{
		{"59×85", classes, surgery.Templates()},
		{"1×85", classes[:1], surgery.Templates()},
		{"1000×1", thousand, []string{"a photo of a {}."}},
	} {
		b.Run(x.name, func(b *testing.B) {
			c := clipModel(b, "ViT-B-16", untrained.ViTB16())
			nodes, ends := prefixes(b, x.labels, x.templates)
			prompts := len(x.labels) * len(x.templates)
			// Of the last block every node passes the first quarter, the ends all.
			layers := float64(nodes)*(textLayers-0.75) + 0.75*float64(ends)
			measure(b, layers*untrained.TextFlops(untrained.ViTB16(), 8), func() error {
				_, err := c.EncodeLabels(context.Background(), x.labels, x.templates)
				return err
			})
			b.ReportMetric(float64(nodes), "tokens")
			b.ReportMetric(float64(textContext*prompts), "padded-tokens")
			b.ReportMetric(float64(textContext*prompts*textLayers)/layers, "fewer")
		})
	}
}

// prefixes counts the distinct prefixes of all prompts, and the prompts.
func prefixes(b *testing.B, labels, templates []string) (nodes, ends int) {
	tok := tokenizer.New()
	seen, prompts := map[[textContext]int32]bool{}, map[[textContext]int32]bool{}
	for _, label := range labels {
		for _, template := range templates {
			ids, err := tok.Tokenize(strings.ReplaceAll(template, "{}", label))
			require.NoError(b, err)
			var prefix [textContext]int32
			for i, id := range ids {
				prefix[i] = id
				seen[prefix] = true
				if id == tokenizer.EndOfText {
					prompts[prefix] = true
					break
				}
			}
		}
	}
	return len(seen), len(prompts)
}

// BenchmarkFeatureSurgery scores 59 labels on a grid of 32×32.
func BenchmarkFeatureSurgery(b *testing.B) {
	f, text := features(32, 512), matrix("text", 59, 512)
	measure(b, 2*1025*512*59, func() error {
		_, err := surgery.FeatureSurgery(f, text)
		return err
	})
}

// BenchmarkMap makes one heat map of 640×480 from a grid of 32×32.
func BenchmarkMap(b *testing.B) {
	s, err := surgery.FeatureSurgery(features(32, 512), matrix("text", 59, 512))
	require.NoError(b, err)
	measure(b, 0, func() error {
		_, err := s.Map(0)
		return err
	})
}

func matrix(name string, rows, cols int) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: golden.Procedural(name, []int{rows, cols}, 0, 1)}
}

func features(side, width int) *vit.Features {
	return &vit.Features{Tokens: matrix("tokens", 1+side*side, width), Grid: image.Pt(side, side),
		Size: image.Pt(640, 480), Region: image.Rect(0, 0, 640, 480)}
}

func BenchmarkPreprocess(b *testing.B) {
	c := clipModel(b, "ViT-B-16", untrained.ViTB16())
	img := image.NewNRGBA(image.Rect(0, 0, 640, 480))
	for i := range img.Pix {
		img.Pix[i] = byte(i * 7)
	}
	for _, side := range []int{224, 512} {
		b.Run(fmt.Sprint(side), func(b *testing.B) {
			measure(b, 0, func() error {
				_, err := c.Preprocess(img, vit.Resize(side))
				return err
			})
		})
	}
}

func BenchmarkSAMEncode(b *testing.B) {
	m := samModel(b, "SAM", untrained.SAMViTB(12))
	p := sam.Pixels{Width: 1024, Height: 1024, Data: golden.Procedural("pixels", []int{3, 1024, 1024}, 0, 1)}
	measure(b, untrained.SAMViTBFlops, func() error {
		_, err := m.EncodePixels(context.Background(), p, image.Pt(1024, 1024))
		return err
	})
}

func BenchmarkSAM2Encode(b *testing.B) {
	p := sam.Pixels{Width: 1024, Height: 1024, Data: golden.Procedural("pixels", []int{3, 1024, 1024}, 0, 1)}
	for _, name := range untrained.SAM2Names() {
		b.Run(name, func(b *testing.B) {
			m := samModel(b, "SAM 2 "+name, untrained.SAM2(name))
			measure(b, 0, func() error {
				_, err := m.EncodePixels(context.Background(), p, image.Pt(1024, 1024))
				return err
			})
		})
	}
}

// BenchmarkSAM2Decode makes three masks of 1024×768 for a click.
func BenchmarkSAM2Decode(b *testing.B) {
	ctx := context.Background()
	m := samModel(b, "SAM 2 tiny", untrained.SAM2("tiny"))
	p := sam.Pixels{Width: 1024, Height: 1024, Data: golden.Procedural("pixels", []int{3, 1024, 1024}, 0, 1)}
	e, err := m.EncodePixels(ctx, p, image.Pt(1024, 768))
	require.NoError(b, err)
	prompts := []sam.Prompt{{Points: []sam.Point{{X: 8, Y: 8, Label: sam.Foreground}}}}
	measure(b, 0, func() error {
		_, err := m.Predict(ctx, e, prompts)
		return err
	})
}

// BenchmarkSAMDecode makes three masks of 1024×768 for each click.
func BenchmarkSAMDecode(b *testing.B) {
	ctx := context.Background()
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m := samModel(b, "SAM of one block", untrained.SAMViTB(1))
			p := sam.Pixels{Width: 1024, Height: 768, Data: golden.Procedural("pixels", []int{3, 768, 1024}, 0, 1)}
			e, err := m.EncodePixels(ctx, p, image.Pt(1024, 768))
			require.NoError(b, err)
			prompts := make([]sam.Prompt, n)
			for i := range prompts {
				prompts[i].Points = []sam.Point{{X: float32(8 + 16*i), Y: float32(8 + 11*i), Label: sam.Foreground}}
			}
			measure(b, 0, func() error {
				_, err := m.Predict(ctx, e, prompts)
				return err
			})
		})
	}
}
