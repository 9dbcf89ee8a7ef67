package vit

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
)

// loaded keeps the model that the last benchmark used: loading procedural
// weights takes longer than most benchmarks.
var loaded struct {
	name  string
	model *CLIP
}

func benchModel(b *testing.B, a architecture) *CLIP {
	if loaded.name != a.Name {
		loaded.model = nil
		runtime.GC()
		loaded.name, loaded.model = a.Name, a.model(b)
	}
	return loaded.model
}

// blockFlops counts the multiplications and additions of a block's linear
// layers for so many rows, 24·width² per row, and its attention over so many
// keys.
func blockFlops(rows, keys, width int) float64 {
	return 24*float64(rows)*float64(width)*float64(width) + 4*float64(rows)*float64(keys)*float64(width)
}

// imageFlops counts those of the image tower, untouched or with v-v attention
// and output projection beside its last 6 blocks.
func (a architecture) imageFlops(side int, surgery bool) float64 {
	n := 1 + (side/a.Patch)*(side/a.Patch)
	w := float64(a.Width)
	flops := 2*float64(n-1)*3*float64(a.Patch*a.Patch)*w + 2*float64(n)*w*float64(a.Embed)
	flops += float64(a.Layers) * blockFlops(n, n, a.Width)
	if surgery {
		flops += 6 * (2*float64(n)*w*w + 4*float64(n)*float64(n)*w)
		flops -= blockFlops(n, n, a.Width) - 6*float64(n)*w*w // the last block is for the class row
	}
	return flops
}

// measure runs f, and reports the time of the fastest run besides the mean.
func measure(b *testing.B, flops float64, f func()) {
	b.ReportAllocs()
	f()
	best := time.Duration(1 << 62)
	for b.Loop() {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(best.Microseconds())/1e3, "ms/best")
	b.ReportMetric(flops/best.Seconds()/1e9, "GFLOP/s")
}

func BenchmarkImageTower(b *testing.B) {
	ctx := context.Background()
	gem := plans["GEM"]
	gem.Blocks = 6
	for _, x := range []struct {
		a     architecture
		side  int
		name  string
		plans []Plan
		count int
	}{
		{vitB16, 224, "raw", []Plan{{}}, 1},
		{vitB16, 224, "surgery", []Plan{surgeryPlan()}, 1},
		{vitB16, 224, "raw+surgery", []Plan{{}, surgeryPlan()}, 1},
		{vitB16, 224, "GEM", []Plan{gem}, 1},
		{vitB16, 224, "raw×8", []Plan{{}}, 8},
		{vitB16, 512, "raw", []Plan{{}}, 1},
		{vitB16, 512, "surgery", []Plan{surgeryPlan()}, 1},
		{vitB16, 512, "raw+surgery", []Plan{{}, surgeryPlan()}, 1},
		{vitB16, 512, "GEM", []Plan{gem}, 1},
		{vitL14, 224, "raw", []Plan{{}}, 1},
		{vitL14, 224, "surgery", []Plan{surgeryPlan()}, 1},
	} {
		b.Run(fmt.Sprintf("%s@%d/%s", strings.ReplaceAll(x.a.Name, "/", "-"), x.side, x.name), func(b *testing.B) {
			c := benchModel(b, x.a)
			p := Pixels{x.side, x.side, golden.Blocky("bench/image", []int{3, x.side, x.side}, 32, 1.5, 0.75)}
			batch := slices.Repeat(picturesOf([]Pixels{p}), x.count)
			flops := float64(x.count) * x.a.imageFlops(x.side, x.name == "surgery")
			measure(b, flops, func() {
				_, err := c.encode(ctx, batch, x.plans, nil)
				require.NoError(b, err)
			})
			if x.count > 1 {
				b.ReportMetric(float64(x.count*b.N)/b.Elapsed().Seconds(), "images/s")
			}
		})
	}
}

// BenchmarkEncodeImages encodes 8 pictures of 640×480, resizing included, and
// reports the ratio to one by one.
func BenchmarkEncodeImages(b *testing.B) {
	for _, a := range []architecture{vitB32, vitB16, vitL14} {
		b.Run(strings.ReplaceAll(a.Name, "/", "-"), func(b *testing.B) {
			c, ctx := benchModel(b, a), context.Background()
			imgs := slices.Repeat([]image.Image{scene(640, 480)}, 8)
			oneByOne := func() {
				for _, img := range imgs {
					_, err := c.EncodeImage(ctx, img)
					require.NoError(b, err)
				}
			}
			together := func() {
				_, err := c.EncodeImages(ctx, imgs)
				require.NoError(b, err)
			}
			took := func(f func()) float64 {
				start := time.Now()
				f()
				return time.Since(start).Seconds()
			}
			took(oneByOne)
			took(together)
			var ratios, times []float64
			for b.Loop() {
				alone, joint := took(oneByOne), took(together)
				ratios, times = append(ratios, alone/joint), append(times, joint)
			}
			slices.Sort(ratios)
			slices.Sort(times)
			b.ReportMetric(float64(len(imgs))/times[len(times)/2], "images/s")
			b.ReportMetric(ratios[len(ratios)/2], "×one-by-one")
		})
	}
}

// BenchmarkLabels reports how many rows pass a block against the reference's
// 77 per prompt.
func BenchmarkLabels(b *testing.B) {
	var p struct{ Classes, Templates []string }
	data, err := os.ReadFile(filepath.Join(golden.Root(b), "tokenizer", "prompts.json"))
	require.NoError(b, err)
	require.NoError(b, json.Unmarshal(data, &p))
	var thousand []string
	for i := range 1000 {
		thousand = append(thousand, p.Classes[i%59]+" and "+p.Classes[i/59])
	}
	for _, x := range []struct {
		name              string
		labels, templates []string
	}{
		{"59×85", p.Classes, p.Templates},
		{"1×85", p.Classes[:1], p.Templates},
		{"1000×1", thousand, []string{"a photo of a {}."}},
		{"1×1", p.Classes[:1], []string{"a photo of a {}."}},
	} {
		b.Run(x.name, func(b *testing.B) {
			c := benchModel(b, vitB16)
			n := len(x.templates)
			seqs, err := c.tokenize(context.Background(), len(x.labels)*n, func(i int) string {
				return strings.ReplaceAll(x.templates[i%n], "{}", x.labels[i/n])
			})
			require.NoError(b, err)
			prompts, t := seqs.count(), c.config.Text
			nodes := len(newTree(seqs.slice(0, prompts)).tokens)
			// Every node passes all blocks but the last, of which it takes a quarter.
			rows := float64(nodes)*(float64(t.Layers)-0.75) + 0.75*float64(prompts)
			measure(b, rows*blockFlops(1, 10, t.Width), func() {
				_, err := c.EncodeLabels(context.Background(), x.labels, x.templates)
				require.NoError(b, err)
			})
			b.ReportMetric(float64(nodes), "tokens")
			b.ReportMetric(float64(77*prompts), "naive-tokens")
			b.ReportMetric(float64(77*prompts*t.Layers)/rows, "fewer")
		})
	}
}
