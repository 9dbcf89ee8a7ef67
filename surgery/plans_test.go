package surgery

import (
	"context"
	"image"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
)

// micro is small enough for the formulas in float64, and deep enough for plans
// that look six blocks back.
var micro = tower{embed: 24, side: 32, layers: 8, width: 32, patch: 8, heads: 2}

// file is a checkpoint of procedural weights, changed as told, the text tower
// being the smallest possible.
func (t tower) file(tb testing.TB, change ...func(name string, w []float32)) *weights.File {
	grid := t.side / t.patch
	tensors, err := vit.Config{
		Embed:  t.embed,
		Vision: vit.VisionConfig{Patch: t.patch, Grid: image.Pt(grid, grid), Width: t.width, Layers: t.layers, Hidden: 4 * t.width},
		Text:   vit.TextConfig{Context: 77, Vocabulary: 49408, Width: 8, Layers: 1, Hidden: 32},
	}.Tensors()
	require.NoError(tb, err)
	shapes := map[string][]int{}
	for _, info := range tensors {
		shapes[info.Name] = info.Shape
	}
	f, err := weights.FromFunc(tensors, func(name string, dst []float32) error {
		golden.WeightInto(dst, name, "", shapes[name])
		for _, f := range change {
			f(name, dst)
		}
		return nil
	})
	require.NoError(tb, err)
	return f
}

func (t tower) model(tb testing.TB, change ...func(name string, w []float32)) *vit.CLIP {
	c, err := vit.Load(t.file(tb, change...), vit.Heads(t.heads, 1))
	require.NoError(tb, err)
	return c
}

func pixels(width, height int) vit.Pixels {
	return vit.Pixels{Width: width, Height: height,
		Data: golden.Blocky("plans/picture", []int{3, height, width}, 8, 1.5, 0.75)}
}

// The model's own grid, a larger one and a smaller one, of other shapes.
var grids = []image.Point{{32, 32}, {56, 40}, {24, 16}}

func TestPlansEqualTheirFormulas(t *testing.T) {
	c := micro.model(t)
	require.Len(t, Plans(), len(formulas))
	for _, p := range Plans() {
		f, ok := formulas[p.Name]
		require.True(t, ok, p.Name)
		for _, size := range grids {
			x := pixels(size.X, size.Y)
			want := micro.encode(x, f)
			got, err := c.EncodePixels(context.Background(), x, vit.Operate(p.Plan))
			require.NoError(t, err, p.Name)
			require.Equal(t, size.Div(micro.patch), got.Grid)
			worst := 0.0
			for i := range want {
				for j, v := range want[i] {
					worst = max(worst, abs(v-float64(got.Tokens.Data[i*got.Tokens.Stride+j])))
				}
			}
			require.Less(t, worst, 2e-5, "%s at %v", p.Name, size)
		}
	}
}

func abs(x float64) float64 { return max(x, -x) }

// Plans differ from one another, so that the test above can tell them apart.
func TestPlansDiffer(t *testing.T) {
	x := pixels(40, 24)
	var all []rows
	for _, p := range Plans() {
		y := micro.encode(x, formulas[p.Name])
		for i, other := range all {
			worst := 0.0
			for r := range y {
				for j := range y[r] {
					worst = max(worst, abs(y[r][j]-other[r][j]))
				}
			}
			require.Greater(t, worst, 1e-3, "%s, %s", p.Name, Plans()[i].Name)
		}
		all = append(all, y)
	}
}

func encode(t *testing.T, c *vit.CLIP, x vit.Pixels, p vit.Plan) []float32 {
	t.Helper()
	f, err := c.EncodePixels(context.Background(), x, vit.Operate(p))
	require.NoError(t, err)
	return f.Tokens.Data
}

// What has to hold whatever the weights are.
func TestPlanInvariants(t *testing.T) {
	c := micro.model(t)
	const tolerance = 2e-6
	for _, size := range grids {
		x := pixels(size.X, size.Y)
		for _, p := range Plans() {
			plain := encode(t, c, x, Compose(ResizePositions(p.Plan.Positions)))
			golden.Close(t, p.Name+": class row", encode(t, c, x, p.Plan)[:micro.embed], plain[:micro.embed], tolerance)
		}
		positions := ResizePositions(vit.PositionsBicubicOffset)
		same := func(what string, a, b vit.Plan) {
			golden.Close(t, what, encode(t, c, x, a), encode(t, c, x, b), tolerance)
		}
		keys := Compose(LastBlocks(1), Attend(vit.K, vit.K, Gaussian(0)), WithoutResidual(), WithoutFFN(), positions)
		same("NACLIP without G", keys, Compose(LastBlocks(1), Attend(vit.K, vit.K), WithoutResidual(), WithoutFFN(), positions))
		// Weights of equal terms add up.
		same("SCLIP", SCLIP(), Compose(LastBlocks(1), AttendAlike(Weight(0.5)), AttendAlike(Weight(0.5)), positions))
		// Attention without temperature is uniform whatever attends.
		same("no temperature",
			Compose(LastBlocks(2), Beside(), Attend(vit.Q, vit.K, Scale(1e-20)), WithoutFFN()),
			Compose(LastBlocks(2), Beside(), Attend(vit.V, vit.V, Scale(1e-20)), WithoutFFN()))
		// Operating on nothing, or with the block's own attention, is raw.
		same("own attention", Raw(), Compose(LastBlocks(1), Attend(vit.Q, vit.K)))
		// Iterating over nothing is not iterating.
		same("no iteration", CLIPSurgery(), Compose(LastBlocks(6), Beside(), Attend(vit.V, vit.V, Iterate(0)), WithoutFFN()))
	}
}

// The paper's variant differs from the code's in the attention alone.
func TestCLIPSurgeryUnit(t *testing.T) {
	want := CLIPSurgery()
	want.Attention = []vit.Term{{Query: vit.V, Key: vit.V, Unit: true, Scale: 8}}
	require.Equal(t, want, CLIPSurgeryUnit())
	c := micro.model(t)
	x := pixels(40, 24)
	require.NotEqual(t, encode(t, c, x, CLIPSurgery()), encode(t, c, x, CLIPSurgeryUnit()))
}

// In a tower whose values are the same in every row, attention multiplies them
// by the sum of its rows: 1, or 2 for the plans that add two matrices.
func TestAttentionSums(t *testing.T) {
	c := micro.model(t, func(name string, w []float32) {
		if strings.HasSuffix(name, "attn.in_proj_weight") {
			clear(w[2*len(w)/3:])
		}
	})
	itself := func(sum float32, steps ...Step) vit.Plan {
		return Compose(append(steps, AttendItself(Weight(sum)))...)
	}
	x := pixels(40, 24)
	for name, want := range map[string]vit.Plan{
		"MaskCLIP":    itself(1, LastBlocks(1)),
		"CLIPSurgery": itself(1, LastBlocks(6), Beside(), WithoutFFN()),
		"GEM":         itself(1, LastBlocks(6), Beside(), WithoutFFN()),
		"SCLIP":       itself(2, LastBlocks(1)),
		"ClearCLIP":   itself(1, LastBlocks(1), WithoutResidual(), WithoutFFN()),
		"NACLIP":      itself(1, LastBlocks(1), WithoutResidual(), WithoutFFN()),
		"ITACLIP":     itself(2, LastBlocks(1), WithoutFFN()),
		"ResCLIP":     itself(2, LastBlocks(1), WithoutResidual(), WithoutFFN()),
	} {
		plan, err := PlanNamed(name)
		require.NoError(t, err)
		want.Positions = plan.Positions
		golden.Close(t, name, encode(t, c, x, plan), encode(t, c, x, want), 3e-6)
	}
}

// Every plan runs on the demo model, on grids of any shape, and gives rows that
// tell cells apart.
func TestPlansOnTheDemoModel(t *testing.T) {
	f, err := shapes.CLIP()
	require.NoError(t, err)
	c, err := vit.Load(f)
	require.NoError(t, err)
	text, err := c.EncodeLabels(context.Background(), []string{"circle", "star"}, Templates()[:2])
	require.NoError(t, err)
	for _, size := range []image.Point{{96, 96}, {144, 64}, {40, 200}} {
		for _, p := range Plans() {
			f, err := c.EncodePixels(context.Background(), pixels(size.X, size.Y), vit.Operate(p.Plan))
			require.NoError(t, err, p.Name)
			require.Equal(t, size.Div(8), f.Grid)
			s, err := Similarity(f, text)
			require.NoError(t, err, p.Name)
			m, err := s.Map(1)
			require.NoError(t, err, p.Name)
			require.Equal(t, size, image.Pt(m.Width, m.Height))
		}
	}
}

func TestPlanNamed(t *testing.T) {
	p, err := PlanNamed("naclip")
	require.NoError(t, err)
	require.Equal(t, NACLIP(), p)
	_, err = PlanNamed("none")
	require.ErrorContains(t, err, "ITACLIP")
}
