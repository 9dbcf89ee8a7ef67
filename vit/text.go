package vit

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/tokenizer"
	"gonum.org/v1/gonum/blas/blas32"
)

var (
	// ErrToken reports a token outside the model's vocabulary, or a text
	// without tokens.
	ErrToken = errors.New("token")
	// ErrEmpty reports a call without texts, labels or templates.
	ErrEmpty = errors.New("nothing to encode")
)

// textTower is CLIP's transformer for texts.
// Source: openai/CLIP clip/model.py:CLIP.encode_text.
type textTower struct {
	heads     heads
	tokens    blas32.General // vocabulary×width
	positions blas32.General // context×width
	blocks    []block
	final     nn.LayerNorm
	proj      nn.Linear // width → embed, no bias
}

func (t *textTower) width() int  { return t.tokens.Cols }
func (t *textTower) hidden() int { return t.blocks[0].mlp.In.Weight.N() }

// EncodeText returns the features of texts, one row each, projected but not
// normalized. A text longer than the model's context is
// [tokenizer.ErrTooLong].
func (c *CLIP) EncodeText(ctx context.Context, texts []string, opts ...TextOption) (blas32.General, error) {
	seqs, err := c.tokenize(ctx, len(texts), func(i int) string { return texts[i] })
	if err != nil {
		return blas32.General{}, err
	}
	return c.encodeRows(ctx, seqs, opts)
}

// tokenize returns the sequences of n texts.
func (c *CLIP) tokenize(ctx context.Context, n int, text func(i int) string) (*sequences, error) {
	if err := c.loaded(); err != nil {
		return nil, err
	}
	if name := c.config.Text.Tokenizer; name != "" {
		return nil, fmt.Errorf("vit: %w: %w: the tokenizer of the model is %s, not CLIP's: encode its token ids with EncodeTokens", ErrConfig, ErrToken, name)
	}
	tok, seqs := c.tokenizer(), &sequences{}
	for i := range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ids, err := tok.Tokenize(text(i), tokenizer.ContextLength(c.config.Text.Context))
		if err != nil {
			return nil, fmt.Errorf("vit: text %d, %q: %w", i, abbreviate(text(i)), err)
		}
		if ids, err = c.cut(ids); err != nil {
			return nil, fmt.Errorf("vit: text %d, %q: %w", i, abbreviate(text(i)), err)
		}
		seqs.add(ids)
	}
	return seqs, nil
}

func abbreviate(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:57]) + "..."
	}
	return s
}

// EncodeTokens returns the features of token sequences, one row each, projected
// but not normalized. The features are those at the first place of the largest
// id, which in CLIP's vocabulary is the end token; for a model whose
// configuration names an end token, those at its first place. Rows may be
// shorter than the context; ids after that place make no difference. Ids
// outside the vocabulary, rows without ids and rows without the named end token
// are [ErrToken]; rows longer than the context are [tokenizer.ErrTooLong].
func (c *CLIP) EncodeTokens(ctx context.Context, ids [][]int32, opts ...TextOption) (blas32.General, error) {
	if err := c.loaded(); err != nil {
		return blas32.General{}, err
	}
	seqs := &sequences{}
	for i, row := range ids {
		row, err := c.cut(row)
		if err != nil {
			return blas32.General{}, fmt.Errorf("vit: row %d: %w", i, err)
		}
		seqs.add(row)
	}
	return c.encodeRows(ctx, seqs, opts)
}

// encodeRows returns the features of sequences, a row each.
func (c *CLIP) encodeRows(ctx context.Context, seqs *sequences, opts []TextOption) (blas32.General, error) {
	n := seqs.count()
	if n == 0 {
		return blas32.General{}, fmt.Errorf("vit: %w: no texts", ErrEmpty)
	}
	out := nn.Matrix(make([]float32, n*c.config.Embed), n, c.config.Embed)
	err := c.encodeSequences(ctx, seqs, opts, n, func(i int, features []float32) {
		copy(out.Data[i*out.Stride:], features)
	})
	if err != nil {
		return blas32.General{}, err
	}
	return out, nil
}

// sequences are rows of ids one after another: a vocabulary in many templates
// has more prompts than a slice for each of them would leave memory for.
type sequences struct {
	ids  []int32
	ends []int // of each in ids
}

func (s *sequences) add(ids []int32) {
	s.ids = append(s.ids, ids...)
	s.ends = append(s.ends, len(s.ids))
}

func (s *sequences) count() int { return len(s.ends) }

func (s *sequences) at(i int) []int32 {
	if i == 0 {
		return s.ids[:s.ends[0]]
	}
	return s.ids[s.ends[i-1]:s.ends[i]]
}

// slice views the sequences from lo to before hi.
func (s *sequences) slice(lo, hi int) [][]int32 {
	all := make([][]int32, hi-lo)
	for i := range all {
		all[i] = s.at(lo + i)
	}
	return all
}

// cut ends a row after the token that it is pooled at: the mask is causal, so
// nothing after it matters.
func (c *CLIP) cut(ids []int32) ([]int32, error) {
	if len(ids) == 0 {
		return nil, fmt.Errorf("no %w", ErrToken)
	}
	if n := c.config.Text.Context; len(ids) > n {
		return nil, fmt.Errorf("%w: %d tokens, the model takes %d", tokenizer.ErrTooLong, len(ids), n)
	}
	last, end := 0, -1
	for i, id := range ids {
		if id < 0 || int(id) >= c.config.Text.Vocabulary {
			return nil, fmt.Errorf("%w %d is not in the vocabulary of %d", ErrToken, id, c.config.Text.Vocabulary)
		}
		if id > ids[last] {
			last = i
		}
		if id == c.config.Text.EndToken && end < 0 {
			end = i
		}
	}
	if c.config.Text.Pooling == PoolEndToken {
		if last = end; end < 0 {
			return nil, fmt.Errorf("%w: the row does not have the end token %d", ErrToken, c.config.Text.EndToken)
		}
	}
	return ids[:last+1], nil
}

// tileRows is how many nodes pass a block together: enough that the weights'
// way from memory does not matter, few enough that the MLP's rows stay in
// cache.
const tileRows = 1024

// floats counts the scratch of a tree in floats: what every node and every end
// keeps from block to block, what a row of the largest tile takes, and the path
// to it.
func (t *textTower) floats(nodes, ends, tile int) int {
	width, matrices := t.width(), 9
	return nodes*nn.Stride(width) + ends*(2*width+t.proj.Weight.N()) + tile*t.floatsPerTileRow() +
		2*t.positions.Rows*width + 16*matrices
}

func (t *textTower) floatsPerTileRow() int {
	return nn.Stride(3*t.width()) + nn.Stride(t.width()) + nn.Stride(t.hidden())
}

// treeFloats is the memory of the tree itself, in floats, for each sequence.
const treeFloats = 16

// textPlan is how a set of sequences is encoded within a budget of memory.
type textPlan struct {
	tile   int   // nodes
	parts  []int // where each part ends
	floats int   // scratch of the largest part
}

// plan cuts sequences into parts that would fit even if each had nothing in
// common with the others; at least one sequence each.
func (t *textTower) plan(seqs *sequences, memory int) textPlan {
	budget := memory/4 - len(seqs.ids) - 2*len(seqs.ends)
	p := textPlan{tile: min(tileRows, max(t.positions.Rows, budget/4/t.floatsPerTileRow()))}
	budget -= t.floats(0, 0, p.tile)
	floats := 0
	for i := range seqs.count() {
		n := len(seqs.at(i))*(nn.Stride(t.width())+1) + 2*t.width() + t.proj.Weight.N() + treeFloats
		if floats+n > budget && floats > 0 {
			p.parts, floats = append(p.parts, i), 0
		}
		floats += n
	}
	p.parts = append(p.parts, seqs.count())
	lo := 0
	for _, hi := range p.parts {
		tree := newTree(seqs.slice(lo, hi))
		p.floats = max(p.floats, t.floats(len(tree.tokens), len(tree.segments), p.tile))
		lo = hi
	}
	return p
}

// encodeSequences calls each with the features of every sequence, in order, as
// trees of as many sequences as the memory allows. Progress counts to total.
func (c *CLIP) encodeSequences(ctx context.Context, seqs *sequences, opts []TextOption, total int, each func(i int, features []float32)) error {
	o, err := textOptionsOf(opts)
	if err != nil {
		return err
	}
	t := c.text
	r, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer r.End()
	plan := t.plan(seqs, o.memory)
	if len(plan.parts) > 1 {
		// At once: parts in turn would each ask for a little more than those
		// before.
		r.Reserve(plan.floats)
	}
	lo, reported := 0, 0
	for _, hi := range plan.parts {
		tree := newTree(seqs.slice(lo, hi))
		tiles := tree.tiles(plan.tile)
		if o.progress != nil {
			r.Report(func(steps, all int) {
				done := (float64(lo) + float64(steps)/float64(all)*float64(hi-lo)) / float64(seqs.count())
				if n := int(done * float64(total)); n > reported {
					reported = n
					o.progress(n, total)
				}
			}, len(tiles)*len(t.blocks))
		}
		mark := r.Mark()
		features, err := t.encode(r, tree, tiles)
		if err := cmp.Or(err, ctx.Err(), checkFinite(r, features)); err != nil {
			return err
		}
		for i, s := range tree.of {
			each(lo+i, features.Data[int(s)*features.Stride:][:features.Cols])
		}
		r.Release(mark)
		lo = hi
	}
	return nil
}

// encode returns the features of the ends of the tree's segments. All nodes
// pass a block before any passes the next, tile by tile: the keys and values
// that live are those of a tile and of the path to it. The last block runs for
// the ends alone.
func (t *textTower) encode(r *nn.Call, tree *tree, tiles []tile) (blas32.General, error) {
	width, rows := t.width(), 0
	for _, tile := range tiles {
		rows = max(rows, tile.rows)
	}
	x := r.Operand(len(tree.tokens), width)
	ends, attended := r.Matrix(len(tree.segments), width), r.Matrix(len(tree.segments), width)
	features := r.Matrix(len(tree.segments), t.proj.Weight.N())
	qkv, scratch, hidden := r.Operand(rows, 3*width), r.Operand(rows, width), r.Operand(rows, t.hidden())
	path := path{r.Matrix(t.positions.Rows, width), r.Matrix(t.positions.Rows, width)}

	for _, s := range tree.segments {
		for i := range s.count {
			token := int(tree.tokens[s.node+i])
			r.Kernel.Add(x.Data[(s.node+i)*x.Stride:][:width],
				t.tokens.Data[token*t.tokens.Stride:][:width],
				t.positions.Data[(s.depth+i)*t.positions.Stride:][:width])
		}
	}
	last := len(t.blocks) - 1
	for l := range t.blocks {
		b := &t.blocks[l]
		for _, tile := range tiles {
			x := nn.Rows(x, tile.node, tile.rows)
			qkv, scratch, hidden := nn.Rows(qkv, 0, tile.rows), nn.Rows(scratch, 0, tile.rows), nn.Rows(hidden, 0, tile.rows)
			b.ln1.Apply(r.Exec, scratch, x)
			b.qkv.Apply(r.Exec, qkv, scratch, simd.Identity)
			if l < last {
				t.attend(r, scratch, qkv, path, tile, false)
				b.finish(r, x, x, scratch, scratch, hidden)
			} else {
				n := len(tile.segments)
				t.attend(r, nn.Rows(attended, tile.first, n), qkv, path, tile, true)
				for i, s := range tile.segments {
					copy(ends.Data[(tile.first+i)*width:][:width], x.Data[(s.node+s.count-1-tile.node)*x.Stride:])
				}
			}
			if err := r.Step(1); err != nil {
				return features, err
			}
		}
	}
	for lo := 0; lo < ends.Rows; lo += rows {
		n := min(rows, ends.Rows-lo)
		y, scratch := nn.Rows(ends, lo, n), nn.Rows(scratch, 0, n)
		t.blocks[last].finish(r, y, y, nn.Rows(attended, lo, n), scratch, nn.Rows(hidden, 0, n))
		t.final.Apply(r.Exec, scratch, y)
		t.proj.Apply(r.Exec, nn.Rows(features, lo, n), scratch, simd.Identity)
	}
	return features, nil
}

// path is the keys and values of a node and its ancestors, by depth.
type path struct{ k, v blas32.General }

// attend stores what the rows of a tile attend to: every node to its ancestors
// and itself; or only the last node of every segment, one row each.
func (t *textTower) attend(r *nn.Call, dst, qkv blas32.General, p path, tile tile, endsOnly bool) {
	q, k, v := projection(qkv, Q), projection(qkv, K), projection(qkv, V)
	// Heads are independent: each walks down the tree in its own columns.
	r.Team.Do(t.heads.n, func(_, h int) {
		dim := t.heads.dim
		cols := func(m blas32.General) blas32.General { return nn.Cols(m, h*dim, dim) }
		one := heads{1, dim}
		for i, s := range tile.segments {
			row := s.node - tile.node
			copyRows(nn.Rows(cols(p.k), s.depth, s.count), nn.Rows(cols(k), row, s.count))
			copyRows(nn.Rows(cols(p.v), s.depth, s.count), nn.Rows(cols(v), row, s.count))
			first, count, to := row, s.count, row
			if endsOnly {
				first, count, to = row+s.count-1, 1, i
			}
			a := one.attend(nn.Rows(cols(q), first, count),
				nn.Rows(cols(p.k), 0, s.depth+s.count), nn.Rows(cols(p.v), 0, s.depth+s.count))
			a.Causal = true
			r.Kernel.Attend(nil, nn.Rows(cols(dst), to, count), &a)
		}
	})
}

func copyRows(dst, src blas32.General) {
	for i := range src.Rows {
		copy(dst.Data[i*dst.Stride:][:src.Cols], src.Data[i*src.Stride:])
	}
}
