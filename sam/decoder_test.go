package sam

import (
	"fmt"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// TestDecoder compares the decoder with the reference stage by stage.
func TestDecoder(t *testing.T) {
	fixtures(t, func(t *testing.T, f *golden.Fixture) {
		if _, ok := f.OutputsRaw["p0.dec.layer0.keys"]; !ok {
			return
		}
		m := fixtureModel(t, f)
		e, err := m.Encode(t.Context(), picture(f.Input(t, "image")))
		require.NoError(t, err)
		f.Check(t, "dense_pe", channelsFirst(m.cellPositions))

		var prompts []fixturePrompt
		f.Value(t, "prompts", &prompts)
		prompt := prompts[0].prompt(t)
		r, d := m.call(t), m.decoder
		tokens := r.Matrix(5+m.prompts.tokens(&prompt), m.config.PromptWidth)
		m.initialTokens(tokens, e, &prompt)

		var before []float32 // queries before the attention to the image
		r.Trace = func(name string, rows blas32.General) {
			switch name {
			case "dec.layer0.self":
				f.Check(t, "p0.dec.layer0.self_attn", rows.Data)
				normed := r.Matrix(rows.Rows, rows.Cols)
				d.layers[0].norm1.Apply(r.Exec, normed, rows)
				before = normed.Data
			case "dec.layer0.to_image":
				added := make([]float32, len(before))
				for i, v := range rows.Data {
					added[i] = v - before[i]
				}
				f.Check(t, "p0.dec.layer0.token_to_image", added)
			case "dec.layer1.self", "dec.layer1.to_image": // not in the fixtures
			default:
				f.Check(t, "p0."+name, rows.Data)
			}
		}
		side, err := m.sharedSide(r, e)
		require.NoError(t, err)
		p, err := d.transform(r, side, tokens, 1)
		require.NoError(t, err)

		u, width, cells := &d.upscaling, m.config.PromptWidth, p.cells.Rows
		first := r.Matrix(cells, width)
		u.first.Apply(r.Exec, first, p.cells, simd.Identity)
		f.Check(t, "p0.dec.upscaling0", spread(first, e.grid))
		twice := nn.Matrix(first.Data, 4*cells, width/4)
		u.norm.Apply(r.Exec, twice, twice)
		f.Check(t, "p0.dec.upscaling1", spread(first, e.grid))
		r.Kernel.Activate(simd.GELU, twice.Data)
		// The second square of every pixel comes out in the order of the first.
		second := r.Matrix(4*cells, width/2)
		u.second.Apply(r.Exec, second, twice, simd.Identity)
		f.Check(t, "p0.dec.upscaling3", spread(unspread(second, e.grid), 2*e.grid))
		r.Kernel.Activate(simd.GELU, second.Data)
		f.Check(t, "p0.dec.upscaling4", spread(unspread(second, e.grid), 2*e.grid))
		for i, h := range d.hyper {
			out := r.Matrix(1, width/8)
			h.apply(r, out, nn.Rows(p.queries, 1+i, 1))
			f.Check(t, fmt.Sprintf("p0.dec.hyper%d", i), out.Data)
		}
	})
}

// spread lays a row of four pixels per cell, channels last, out as PyTorch
// has it: channels, then rows and columns of twice the grid.
func spread(m blas32.General, grid int) []float32 {
	channels := m.Cols / 4
	out := make([]float32, len(m.Data))
	for i := range m.Rows {
		for sub := range 4 {
			y, x := i/grid*2+sub/2, i%grid*2+sub%2
			for c := range channels {
				out[(c*2*grid+y)*2*grid+x] = row(m, i)[sub*channels+c]
			}
		}
	}
	return out
}

// unspread orders rows that count cells and the four pixels of each by the
// pixels' own rows and columns.
func unspread(m blas32.General, grid int) blas32.General {
	out := nn.Matrix(make([]float32, len(m.Data)), m.Rows, m.Cols)
	for i := range m.Rows {
		cell, sub := i/4, i%4
		y, x := cell/grid*2+sub/2, cell%grid*2+sub%2
		copy(row(out, y*2*grid+x), row(m, i))
	}
	return out
}

// TestCarriedAttention: carrying projections over to the tokens changes
// nothing but rounding, for any number of prompts.
func TestCarriedAttention(t *testing.T) {
	f := golden.Load(t, "sam/tiny_square256.safetensors")
	m := fixtureModel(t, f)
	r := m.call(t)
	width, cells := m.config.PromptWidth, m.geometry.grid*m.geometry.grid
	random := func(name string, rows, cols int) blas32.General {
		return nn.Matrix(golden.Procedural(name, []int{rows, cols}, 0, 1), rows, cols)
	}
	features := random("features", cells, width)
	side := m.decoder.imageSide(r.Exec, features, m.cellPositions, m.prompts.noMask, r.Matrix)
	for _, n := range []int{1, 5} {
		const tokens = 7
		p := &promptBatch{
			n: n, tokens: tokens,
			initial: random("initial", n*tokens, width), queries: random("queries", n*tokens, width),
			sum:   r.Matrix(n*tokens, width),
			cells: random("cells", n*cells, width), placed: random("placed", n*cells, width),
		}
		p.place(r.Exec)
		l := &m.decoder.layers[1]
		q := random("q", n*tokens, l.toImage.inner())
		got, want := r.Matrix(q.Rows, q.Cols), r.Matrix(q.Rows, q.Cols)
		l.toImage.attendCells(r, p, got, q)
		l.toImage.attendProjected(r, p, want, q)
		golden.Close(t, "tokens to image", got.Data, want.Data, 1e-4)

		k, v := random("k", n*tokens, l.toTokens.inner()), random("v", n*tokens, l.toTokens.inner())
		for _, first := range []bool{false, true} {
			carried, projected := *p, *p
			carried.cells, projected.cells = clone(p.cells), clone(p.cells)
			carried.placed, projected.placed = clone(p.placed), clone(p.placed)
			l.toTokens.attendTokens(r, &carried, side, l.norm4, k, v, first)
			l.toTokens.attendProjected(r, &projected, side, l.norm4, k, v, first)
			golden.Close(t, "image to tokens", carried.cells.Data, projected.cells.Data, 1e-4)
			golden.Close(t, "placed", carried.placed.Data, projected.placed.Data, 1e-4)
		}
	}
}

func clone(m blas32.General) blas32.General {
	m.Data = append([]float32(nil), m.Data...)
	return m
}
