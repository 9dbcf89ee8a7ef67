package vit

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
)

// imageFlops counts the multiplications and additions of the definition:
// convolutions as they are written, whatever they save in being computed, and
// the pool for every row.
func (a resNetArchitecture) imageFlops(side int, surgery bool) float64 {
	sum := 0
	conv := func(side, out, in, taps int) { sum += side * side * out * in * taps }
	side /= 2
	conv(side, a.Width/2, 3, 9)
	conv(side, a.Width/2, a.Width/2, 9)
	conv(side, a.Width, a.Width/2, 9)
	side /= 2
	in := a.Width
	for i, blocks := range a.Layers {
		width := a.Width << i
		for j := range blocks {
			conv(side, width, in, 1)
			conv(side, width, width, 9)
			if i > 0 && j == 0 {
				side /= 2
			}
			conv(side, 4*width, width, 1)
			if j == 0 {
				conv(side, 4*width, in, 1)
			}
			in = 4 * width
		}
	}
	rows := 1 + side*side
	sum += rows*in*(3*in+a.Embed) + 2*rows*rows*in
	if surgery {
		sum -= rows * in * 2 * in
	}
	return 2 * float64(sum)
}

var loadedResNet struct {
	name  string
	model *CLIP
}

func BenchmarkResNet(b *testing.B) {
	for _, x := range []struct {
		a       resNetArchitecture
		side    int
		surgery bool
		count   int
	}{
		{rn50, 224, false, 1},
		{rn50, 224, true, 1},
		{rn50, 224, false, 5},
		{rn50, 512, false, 1},
		{rn50, 512, true, 1},
	} {
		kind, plan := "raw", Plan{}
		if x.surgery {
			kind, plan = "surgery", surgeryPlan()
		}
		if x.count > 1 {
			kind += fmt.Sprintf("×%d", x.count)
		}
		b.Run(fmt.Sprintf("%s@%d/%s", x.a.Name, x.side, kind), func(b *testing.B) {
			if loadedResNet.name != x.a.Name {
				loadedResNet.model = nil
				runtime.GC()
				loadedResNet.name, loadedResNet.model = x.a.Name, x.a.model(b)
			}
			p := Pixels{x.side, x.side, golden.Blocky("bench/image", []int{3, x.side, x.side}, 32, 1.5, 0.75)}
			var batch []Pixels
			for range x.count {
				batch = append(batch, p)
			}
			pictures := picturesOf(batch)
			measure(b, float64(x.count)*x.a.imageFlops(x.side, x.surgery), func() {
				_, err := loadedResNet.model.encode(context.Background(), pictures, []Plan{plan}, nil)
				require.NoError(b, err)
			})
		})
	}
}
