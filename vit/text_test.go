package vit

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/tokenizer"
	"github.com/stretchr/testify/require"
)

func idsOf(x golden.Tensor) [][]int32 {
	rows := make([][]int32, x.Shape[0])
	for i := range rows {
		rows[i] = x.I32[i*x.Shape[1] : (i+1)*x.Shape[1]]
	}
	return rows
}

// templates are the 85 of the reference.
func templates(t testing.TB) []string {
	data, err := os.ReadFile(filepath.Join(golden.Root(t), "tokenizer", "prompts.json"))
	require.NoError(t, err)
	var p struct{ Templates []string }
	require.NoError(t, json.Unmarshal(data, &p))
	require.Len(t, p.Templates, 85)
	return p.Templates
}

func TestTextTowerFixtures(t *testing.T) {
	for _, f := range golden.All(t, "clip_text") {
		t.Run(f.File, func(t *testing.T) {
			c := fixtureModel(t, f)
			ctx := context.Background()
			if strings.Contains(f.File, "ensemble") {
				var labels, custom []string
				f.Value(t, "texts", &labels)
				f.Value(t, "custom_templates", &custom)
				got, err := c.EncodeLabels(ctx, labels, templates(t))
				require.NoError(t, err)
				f.Check(t, "text_features", got.Data)
				got, err = c.EncodeLabels(ctx, labels[:1], custom)
				require.NoError(t, err)
				f.Check(t, "custom_template_features", got.Data)
				return
			}
			ids := idsOf(f.Input(t, "ids"))
			got, err := c.EncodeTokens(ctx, ids)
			require.NoError(t, err)
			f.Check(t, "text_features", got.Data)

			var texts []string
			f.Value(t, "texts", &texts)
			short := texts[:len(texts)-1] // the last one is truncated in the fixture
			again, err := c.EncodeText(ctx, short)
			require.NoError(t, err)
			require.Equal(t, got.Data[:len(again.Data)], again.Data)
		})
	}
}

// plainText is the text tower without a tree: every row by itself, padding and
// all, in float64 where sums are long.
func plainText(c *CLIP, ids []int32) []float32 {
	t := c.text
	x := nn.Exec{Kernel: simd.Kernel{}}
	n, width := len(ids), t.width()
	rows := nn.Matrix(make([]float32, n*width), n, width)
	for i, id := range ids {
		for j := range width {
			rows.Data[i*width+j] = t.tokens.Data[int(id)*width+j] + t.positions.Data[i*width+j]
		}
	}
	h := nn.Matrix(make([]float32, n*width), n, width)
	qkv := nn.Matrix(make([]float32, 3*n*width), n, 3*width)
	hidden := nn.Matrix(make([]float32, n*t.hidden()), n, t.hidden())
	for i := range t.blocks {
		b := &t.blocks[i]
		b.ln1.Apply(x, h, rows)
		b.qkv.Apply(x, qkv, h, simd.Identity)
		attendPlainly(h, projection(qkv, Q), projection(qkv, K), projection(qkv, V), t.heads, true)
		b.out.ApplyAdd(x, rows, h, rows)
		b.ln2.Apply(x, h, rows)
		b.mlp.ApplyAdd(x, rows, h, rows, hidden)
	}
	t.final.Apply(x, h, rows)
	end := 0
	for i, id := range ids {
		if id > ids[end] {
			end = i
		}
	}
	out := nn.Matrix(make([]float32, c.config.Embed), 1, c.config.Embed)
	t.proj.Apply(x, out, nn.Rows(h, end, 1), simd.Identity)
	return out.Data
}

// relativeRMS is the root mean square of the difference over that of want.
func relativeRMS(got, want []float32) float64 {
	var d, w float64
	for i := range want {
		d += (float64(got[i]) - float64(want[i])) * (float64(got[i]) - float64(want[i]))
		w += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(d / w)
}

// Whatever shares prefixes with whatever, each text gets the plain tower's
// features.
func TestTreeEqualsPlainTower(t *testing.T) {
	small := tiny
	small.Vocab, small.Context = 64, 20
	c := small.model(t, WithKernel(simd.Kernel{}))
	rng := rand.New(rand.NewPCG(1, 2))
	var ids [][]int32
	for range 150 {
		// Few distinct tokens make deep shared prefixes; some rows are prefixes of
		// others, some repeat, some go on after their largest id.
		row := make([]int32, 1+rng.IntN(small.Context))
		for i := range row {
			row[i] = int32(rng.IntN(3))
		}
		if rng.IntN(2) == 0 {
			row[rng.IntN(len(row))] = int32(60 + rng.IntN(3))
		}
		ids = append(ids, row)
		if rng.IntN(4) == 0 {
			ids = append(ids, slices.Clone(row), row[:1+rng.IntN(len(row))])
		}
	}
	want := make([][]float32, len(ids))
	for i := range ids {
		want[i] = plainText(c, ids[i])
	}
	for _, memory := range []int{1, 100_000, 300_000, 512 << 20} {
		for workers := 1; workers <= 3; workers++ {
			c := small.model(t, WithWorkers(workers), WithKernel(simd.Kernel{}))
			got, err := c.EncodeTokens(context.Background(), ids, WithMemory(memory))
			require.NoError(t, err)
			for i := range ids {
				if d := relativeRMS(got.Data[i*got.Stride:][:got.Cols], want[i]); d > 1e-5 {
					t.Fatalf("memory %d, row %d %v: differs by %.2g of RMS", memory, i, ids[i], d)
				}
			}
		}
	}
}

func TestTree(t *testing.T) {
	tr := newTree([][]int32{{1, 2, 9}, {1, 3, 9}, {1, 2, 9}, {1, 2}, {1, 2, 4, 9}})
	require.Equal(t, []int32{1, 2, 4, 9, 9, 3, 9}, tr.tokens)
	require.Equal(t, []segment{{0, 0, 2}, {2, 2, 2}, {4, 2, 1}, {5, 1, 2}}, tr.segments)
	require.Equal(t, []int32{2, 3, 2, 0, 1}, tr.of)
	var nodes int
	for _, tile := range tr.tiles(3) {
		require.Equal(t, nodes, tile.node)
		nodes += tile.rows
	}
	require.Equal(t, len(tr.tokens), nodes)
}

// The reference pads every prompt to 77 tokens; the tree has a twentieth of the
// rows for the demo's labels.
func TestTreeOfTheDemo(t *testing.T) {
	var p struct{ Classes, Templates []string }
	data, err := os.ReadFile(filepath.Join(golden.Root(t), "tokenizer", "prompts.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &p))
	require.Len(t, p.Classes, 59)
	tok := tokenizer.New()
	var seqs [][]int32
	for _, class := range p.Classes {
		for _, template := range p.Templates {
			ids, err := tok.Tokenize(strings.ReplaceAll(template, "{}", class))
			require.NoError(t, err)
			seqs = append(seqs, ids[:slices.Index(ids, tokenizer.EndOfText)+1])
		}
	}
	require.Equal(t, 16905, len(newTree(seqs).tokens))
}

func TestTextErrors(t *testing.T) {
	c := tiny.model(t)
	ctx := context.Background()
	for name, f := range map[string]struct {
		err  error
		call func() error
	}{
		"no texts":      {ErrEmpty, func() error { _, err := c.EncodeText(ctx, nil); return err }},
		"no labels":     {ErrEmpty, func() error { _, err := c.EncodeLabels(ctx, nil, []string{"{}"}); return err }},
		"no templates":  {ErrEmpty, func() error { _, err := c.EncodeLabels(ctx, []string{"a"}, nil); return err }},
		"no place":      {ErrTemplate, func() error { _, err := c.EncodeLabels(ctx, []string{"a"}, []string{"a photo"}); return err }},
		"too long":      {tokenizer.ErrTooLong, func() error { _, err := c.EncodeText(ctx, []string{strings.Repeat("cat ", 80)}); return err }},
		"too many ids":  {tokenizer.ErrTooLong, func() error { _, err := c.EncodeTokens(ctx, [][]int32{make([]int32, 78)}); return err }},
		"no ids":        {ErrToken, func() error { _, err := c.EncodeTokens(ctx, [][]int32{{1}, {}}); return err }},
		"negative id":   {ErrToken, func() error { _, err := c.EncodeTokens(ctx, [][]int32{{1, -1}}); return err }},
		"id too large":  {ErrToken, func() error { _, err := c.EncodeTokens(ctx, [][]int32{{1, 49408}}); return err }},
		"after the end": {ErrToken, func() error { _, err := c.EncodeTokens(ctx, [][]int32{{49407, 50000}}); return err }},
		"canceled": {context.Canceled, func() error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			_, err := c.EncodeText(ctx, []string{"a"})
			return err
		}},
	} {
		require.ErrorIs(t, f.call(), f.err, name)
	}
}

func TestTextProgress(t *testing.T) {
	c := tiny.model(t)
	for _, memory := range []int{1, 512 << 20} {
		var seen []int
		_, err := c.EncodeLabels(context.Background(), []string{"cat", "dog", "bird", ""}, []string{"{}", "a {}.", "the {}"},
			WithMemory(memory), WithProgress(func(done, total int) {
				require.Equal(t, 4, total)
				seen = append(seen, done)
			}))
		require.NoError(t, err)
		require.True(t, slices.IsSorted(seen))
		require.Equal(t, 4, seen[len(seen)-1])
		require.Equal(t, slices.Compact(slices.Clone(seen)), seen)
	}
}

// The prompts of 10,000 labels take parts of the memory they may have, the
// tokens included, and no part takes more scratch than was reserved.
func TestTextMemory(t *testing.T) {
	c := tiny.model(t)
	labels, prompts := 10_000, templates(t)[:3]
	seqs, err := c.tokenize(context.Background(), labels*len(prompts), func(i int) string {
		label := fmt.Sprintf("number %d of many", i/len(prompts))
		return strings.ReplaceAll(prompts[i%len(prompts)], "{}", label)
	})
	require.NoError(t, err)
	for _, memory := range []int{8 << 20, 64 << 20} {
		plan := c.text.plan(seqs, memory)
		require.Greater(t, len(plan.parts), 1)
		require.Equal(t, seqs.count(), plan.parts[len(plan.parts)-1])
		require.Less(t, 4*(plan.floats+len(seqs.ids)+2*len(seqs.ends)), memory)
		lo := 0
		for _, hi := range plan.parts[:2] {
			r, err := c.begin(context.Background())
			require.NoError(t, err)
			r.Workspace = new(nn.Workspace)
			r.Reserve(plan.floats)
			tree := newTree(seqs.slice(lo, hi))
			_, err = c.text.encode(r, tree, tree.tiles(plan.tile))
			require.NoError(t, err)
			require.Equal(t, plan.floats, r.Size(), "%d to %d", lo, hi)
			r.End()
			lo = hi
		}
	}
}
