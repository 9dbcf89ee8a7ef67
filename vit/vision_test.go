package vit

import (
	"context"
	"image"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// traced runs prepared pictures through the tower as one batch and returns the
// features by picture and plan, and the rows that the trace saw by name.
func traced(t testing.TB, c *CLIP, pixels []Pixels, plans []Plan) ([][]*Features, map[string][]float32) {
	seen := map[string][]float32{}
	r, err := c.begin(context.Background())
	require.NoError(t, err)
	defer r.End()
	r.Trace = func(name string, m blas32.General) {
		for i := range m.Rows {
			seen[name] = append(seen[name], m.Data[i*m.Stride:][:m.Cols]...)
		}
	}
	features, err := c.encodeBatch(r, picturesOf(pixels), plans)
	require.NoError(t, err)
	return features, seen
}

func picturesOf(pixels []Pixels) []picture {
	pictures := make([]picture, len(pixels))
	for i, p := range pixels {
		size := image.Pt(p.Width, p.Height)
		pictures[i] = picture{size, image.Rectangle{Max: size}, size, nil, p.Data}
	}
	return pictures
}

// joined is the rows of one plan's features, picture after picture.
func joined(features [][]*Features, plan int) []float32 {
	var all []float32
	for _, f := range features {
		all = append(all, f[plan].Tokens.Data...)
	}
	return all
}

func TestImageTowerFixtures(t *testing.T) {
	for _, f := range golden.All(t, "clip_vit") {
		if strings.Contains(f.File, "sequence") {
			continue // TestPositionsStayOriginal
		}
		t.Run(f.File, func(t *testing.T) {
			c := fixtureModel(t, f)
			pixels := pixelsOf(f.Input(t, "image"))
			kind, _, _ := strings.Cut(strings.TrimPrefix(f.File, "clip_vit/"), "_")
			plans := []Plan{{}}
			if kind == "cs" {
				plans = []Plan{surgeryPlan(), {}} // the second for block7.ori's every row
			}
			features, seen := traced(t, c, pixels, plans)
			for _, output := range f.Outputs() {
				switch {
				case output == "cosine_cls_to_tokens":
					f.Check(t, output, cosines(features[0][0]))
				case output == "features" && kind == "openai":
					var class []float32
					for _, p := range features {
						class = append(class, p[0].Tokens.Data[:p[0].Tokens.Cols]...)
					}
					f.Check(t, output, class)
				case output == "features":
					f.Check(t, output, joined(features, 0))
				case output == "conv1":
					f.Check(t, output, channelsFirst(seen["conv1"], features, c.config.Vision.Width))
				case output == "ln_post":
					f.Check(t, output, seen[output][:len(seen["ln_pre"])])
				default:
					rows, ok := seen[strings.TrimSuffix(output, ".ori")]
					require.True(t, ok, output)
					f.Check(t, output, rows)
				}
			}
		})
	}
}

// channelsFirst is rows of patches, each picture's after its class row, as
// [N, width, grid, grid].
func channelsFirst(rows []float32, features [][]*Features, width int) []float32 {
	var out []float32
	for _, f := range features {
		cells := f[0].Tokens.Rows - 1
		for c := range width {
			for i := range cells {
				out = append(out, rows[(1+i)*width+c])
			}
		}
		rows = rows[(1+cells)*width:]
	}
	return out
}

// cosines is the class row against each cell.
func cosines(f *Features) []float32 {
	var out []float32
	row := func(i int) blas32.Vector {
		return blas32.Vector{N: f.Tokens.Cols, Inc: 1, Data: f.Tokens.Data[i*f.Tokens.Stride:]}
	}
	for i := 1; i < f.Tokens.Rows; i++ {
		out = append(out, blas32.Dot(row(0), row(i))/(blas32.Nrm2(row(0))*blas32.Nrm2(row(i))))
	}
	return out
}

// The reference overwrites its position table; a second size must not depend
// on the first.
func TestPositionsStayOriginal(t *testing.T) {
	f := golden.Load(t, "clip_vit/cs_tiny_sequence_96_64.safetensors")
	c := fixtureModel(t, f)
	for _, output := range []string{"first", "second_fresh"} {
		input := map[string]string{"first": "first_image", "second_fresh": "second_image"}[output]
		got, err := c.EncodePixels(context.Background(), pixelsOf(f.Input(t, input))[0], Operate(surgeryPlan()))
		require.NoError(t, err)
		f.Check(t, output, got.Tokens.Data)
	}
}
