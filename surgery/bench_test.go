package surgery

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/stretchr/testify/require"
)

// BenchmarkPlans measures every plan on a procedural ViT-B/16, square and
// rectangular, and reports how much longer it takes than the plain tower,
// which runs in between: the fastest of each.
func BenchmarkPlans(b *testing.B) {
	c := tower{embed: 512, side: 224, layers: 12, width: 768, patch: 16, heads: 12}.model(b)
	ctx := context.Background()
	for _, size := range [][2]int{{224, 224}, {320, 160}, {512, 512}} {
		x := vit.Pixels{Width: size[0], Height: size[1],
			Data: golden.Blocky("bench/picture", []int{3, size[1], size[0]}, 32, 1.5, 0.75)}
		run := func(p vit.Plan) time.Duration {
			start := time.Now()
			_, err := c.EncodePixels(ctx, x, vit.Operate(p))
			require.NoError(b, err)
			return time.Since(start)
		}
		for _, p := range Plans() {
			b.Run(fmt.Sprintf("%d×%d/%s", size[0], size[1], p.Name), func(b *testing.B) {
				// Positions are resized once for a size, then kept.
				plain := Compose(ResizePositions(p.Plan.Positions))
				run(plain)
				run(p.Plan)
				best, bestPlain := time.Duration(1<<62), time.Duration(1<<62)
				for b.Loop() {
					bestPlain = min(bestPlain, run(plain))
					best = min(best, run(p.Plan))
				}
				b.ReportMetric(float64(best.Microseconds())/1e3, "ms/best")
				b.ReportMetric(best.Seconds()/bestPlain.Seconds(), "×plain")
			})
		}
	}
}
