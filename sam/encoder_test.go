package sam

import (
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
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
		again := newEmbedding(e.grid, e.side, e.features.Cols, false)
		r := m.call(t)
		r.Trace = func(name string, tokens blas32.General) {
			data := tokens.Data
			switch {
			case m.config.Tiny != nil && (name == "enc.patch_embed" || strings.HasPrefix(name, "enc.layer0.block")):
				data = channelsFirst(tokens)
			case name == "enc.patch_embed": // the reference's is without positions
				data = make([]float32, len(tokens.Data))
				for i, v := range tokens.Data {
					data[i] = v - m.geometry.positions.Data[i]
				}
			}
			f.Check(t, name, data)
		}
		err = m.encoder.encode(r, again, p, m.geometry)
		require.NoError(t, err)
		require.Equal(t, e.Features().Data, again.features.Data)
	})
}

// TestEncoderInside compares one windowed block, one global block and the neck
// with the reference from the inside.
func TestEncoderInside(t *testing.T) {
	f := golden.Load(t, "sam/tiny_square256.safetensors")
	m := fixtureModel(t, f)
	p, err := m.Preprocess(picture(f.Input(t, "image")))
	require.NoError(t, err)
	v, g, r := m.encoder.(*vit), m.geometry, m.call(t)
	tokens := r.Matrix(g.grid*g.grid, m.config.ViT.Width)
	v.embed(r, tokens, p, g)

	attention := func(i int) (before, after blas32.General) {
		b, w := &v.blocks[i], g.windows[i]
		before, attended := r.Matrix(tokens.Rows, tokens.Cols), r.Matrix(tokens.Rows, tokens.Cols)
		w.normalize(r.Exec, b.norm1, before, tokens)
		b.attend(r, attended, before, w, g.tables[i])
		after = r.Matrix(tokens.Rows, tokens.Cols)
		b.proj.Apply(r.Exec, after, attended, simd.Identity)
		return before, after
	}
	before, after := attention(0)
	checkWindows(t, f, "enc.block0.attn_windows_in", g.windows[0], before)
	checkWindows(t, f, "enc.block0.attn_windows", g.windows[0], after)
	v.blocks[0].apply(r, tokens, g.windows[0], g.tables[0])
	_, after = attention(1)
	f.Check(t, "enc.block1.attn_global", after.Data)
	for i := 1; i < len(v.blocks); i++ {
		v.blocks[i].apply(r, tokens, g.windows[i], g.tables[i])
	}

	n := &v.neck
	out := r.Matrix(tokens.Rows, m.config.PromptWidth)
	mixed := r.Matrix(tokens.Rows, m.config.PromptWidth)
	n.reduce.Apply(r.Exec, out, tokens, simd.Identity)
	f.Check(t, "enc.neck0", channelsFirst(out))
	n.norm1.Apply(r.Exec, out, out)
	f.Check(t, "enc.neck1", channelsFirst(out))
	n.mix.apply(r, mixed, out, g.grid, 1, simd.Identity)
	f.Check(t, "enc.neck2", channelsFirst(mixed))
	n.norm2.Apply(r.Exec, mixed, mixed)
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
