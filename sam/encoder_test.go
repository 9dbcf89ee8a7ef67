package sam

import (
	"fmt"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// fixtures are those of the reference's predictor; full-size architectures
// only with -long.
func fixtures(t *testing.T, run func(t *testing.T, f *golden.Fixture)) {
	for _, f := range golden.All(t, "sam") {
		if f.File == "sam/tiny_batch_prompts.safetensors" {
			continue // TestPredictBatch
		}
		t.Run(strings.TrimSuffix(strings.TrimPrefix(f.File, "sam/"), ".safetensors"), func(t *testing.T) {
			if !strings.Contains(f.File, "tiny") {
				golden.Long(t)
			}
			run(t, f)
		})
	}
}

// TestEncoder compares the encoder with the reference stage by stage.
func TestEncoder(t *testing.T) {
	fixtures(t, func(t *testing.T, f *golden.Fixture) {
		m := fixtureModel(t, f)
		img := picture(f.Input(t, "image"))
		p, err := m.Preprocess(img)
		require.NoError(t, err)
		side := m.geometry.side
		padded := make([]float32, 3*side*side)
		for i := range 3 * p.Height {
			copy(padded[(i/p.Height*side+i%p.Height)*side:], p.Data[i*p.Width:][:p.Width])
		}
		f.Check(t, "preprocessed", padded)

		e, err := m.Encode(t.Context(), img)
		require.NoError(t, err)
		f.Check(t, "image_embedding", channelsFirst(e.Features()))
		require.Equal(t, img.Bounds().Size(), e.Size())

		// Once more, watched.
		features := nn.Matrix(make([]float32, len(e.Features().Data)), e.Features().Rows, e.Features().Cols)
		block := 0
		err = m.encoder.encode(m.exec(), new(nn.Workspace), features, p, m.geometry, func(s stage, i int, tokens blas32.General) error {
			name, data := "", tokens.Data
			switch {
			case s == stagePatches && m.config.Tiny != nil:
				name, data = "enc.patch_embed", channelsFirst(tokens)
			case s == stagePatches: // the reference's is without positions
				name, data = "enc.patch_embed", make([]float32, len(tokens.Data))
				for i, v := range tokens.Data {
					data[i] = v - m.geometry.positions.Data[i]
				}
			case s == stageBlock && m.config.Tiny == nil:
				name = fmt.Sprintf("enc.block%d", i)
			case s == stageMerge:
				name, block = fmt.Sprintf("enc.layer%d.downsample", i), 0
			case len(tokens.Data) == 256*256*m.config.Tiny.Widths[0]:
				name, data = fmt.Sprintf("enc.layer0.block%d", block), channelsFirst(tokens)
				block++
			default:
				name = fmt.Sprintf("enc.layer%d.block%d", tinyStageOf(m, tokens), block)
				block++
			}
			f.Check(t, name, data)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, e.Features().Data, features.Data)
	})
}

func tinyStageOf(m *Model, tokens blas32.General) int {
	for i, w := range m.config.Tiny.Widths {
		if w == tokens.Cols {
			return i
		}
	}
	return -1
}

// TestEncoderInside compares one windowed block, one global block and the neck
// with the reference from the inside.
func TestEncoderInside(t *testing.T) {
	f := golden.Load(t, "sam/tiny_square256.safetensors")
	m := fixtureModel(t, f)
	p, err := m.Preprocess(picture(f.Input(t, "image")))
	require.NoError(t, err)
	v, g, x, ws := m.encoder.(*vit), m.geometry, m.exec(), new(nn.Workspace)
	tokens := ws.Matrix(g.grid*g.grid, m.config.ViT.Width)
	v.embed(x, ws, tokens, p, g)

	attention := func(i int) (before, after blas32.General) {
		b, w := &v.blocks[i], g.windows[i]
		before, attended := ws.Matrix(tokens.Rows, tokens.Cols), ws.Matrix(tokens.Rows, tokens.Cols)
		w.normalize(x, b.norm1, before, tokens)
		b.attend(x, ws, attended, before, w, g.tables[i])
		after = ws.Matrix(tokens.Rows, tokens.Cols)
		b.proj.Apply(x, after, attended, simd.Identity)
		return before, after
	}
	before, after := attention(0)
	checkWindows(t, f, "enc.block0.attn_windows_in", g.windows[0], before)
	checkWindows(t, f, "enc.block0.attn_windows", g.windows[0], after)
	v.blocks[0].apply(x, ws, tokens, g.windows[0], g.tables[0])
	_, after = attention(1)
	f.Check(t, "enc.block1.attn_global", after.Data)
	for i := 1; i < len(v.blocks); i++ {
		v.blocks[i].apply(x, ws, tokens, g.windows[i], g.tables[i])
	}

	n := &v.neck
	out := ws.Matrix(tokens.Rows, m.config.PromptWidth)
	mixed := ws.Matrix(tokens.Rows, m.config.PromptWidth)
	n.reduce.Apply(x, out, tokens, simd.Identity)
	f.Check(t, "enc.neck0", channelsFirst(out))
	n.norm1.Apply(x, out, out)
	f.Check(t, "enc.neck1", channelsFirst(out))
	n.mix.apply(x, ws, mixed, out, g.grid, 1, simd.Identity)
	f.Check(t, "enc.neck2", channelsFirst(mixed))
	n.norm2.Apply(x, mixed, mixed)
	f.Check(t, "enc.neck3", channelsFirst(mixed))
}

// checkWindows compares the tokens of the reference's padded windows that are
// no padding.
func checkWindows(t *testing.T, f *golden.Fixture, name string, w *windows, got blas32.General) {
	stored, ok := f.Stored("out." + name)
	require.True(t, ok, name)
	across := (w.grid + w.size - 1) / w.size
	var want, have []float32
	for _, r := range w.runs {
		for j := range r.n {
			y, x := (r.raster+j)/w.grid, (r.raster+j)%w.grid
			i := ((y/w.size*across+x/w.size)*w.size+y%w.size)*w.size + x%w.size
			want = append(want, stored.F32[i*got.Cols:][:got.Cols]...)
			have = append(have, row(got, r.window+j)...)
		}
	}
	golden.Close(t, name, have, want, f.OutputsRaw[name].Abs())
}

// TestWindows: every token is in exactly one window, and runs and places
// agree.
func TestWindows(t *testing.T) {
	for _, c := range []struct{ grid, size int }{{64, 14}, {16, 5}, {16, 8}, {16, 16}, {5, 14}, {1, 3}, {7, 1}} {
		w := newWindows(c.grid, c.size)
		seen := make([]bool, c.grid*c.grid)
		next := 0
		for _, r := range w.runs {
			require.Equal(t, next, r.window)
			next += r.n
			for j := range r.n {
				y, x := (r.raster+j)/c.grid, (r.raster+j)%c.grid
				require.False(t, seen[r.raster+j])
				seen[r.raster+j] = true
				require.Equal(t, [2]int{y % c.size, x % c.size}, [2]int{w.at[r.window+j].Y, w.at[r.window+j].X})
			}
		}
		require.Equal(t, c.grid*c.grid, next, "%+v", c)
		require.Equal(t, c.grid == c.size, w.raster())
	}
}
