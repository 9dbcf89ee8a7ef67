package vit

import (
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// attentionPool ends a ResNet: the mean of the last map and its cells, with
// positions, attend to one another once. CLIP itself reads the class row alone;
// maps need every row.
//
// Under CLIP Surgery's plan queries and keys are the values, for every row, the
// class row included: c_proj(σ(s·V·Vᵀ)·V).
// Source: openai/CLIP clip/model.py:AttentionPool2d; xmed-lab/CLIP_Surgery for
// the rows besides the first and for other grids than the native one.
type attentionPool struct {
	heads     heads
	positions blas32.General // (1+native cells)×width
	native    image.Point    // grid of positions
	qkv       [3]nn.Linear   // Q, K, V: width → width
	proj      nn.Linear      // width → embed
	tables    tables
}

// apply stores the features of every map under every plan in out.
func (p *attentionPool) apply(r *nn.Call, m maps, plans []Plan, out [][]blas32.General) {
	width := p.positions.Cols
	rows := len(m.sizes) + m.x.Rows
	x, attended := r.Matrix(rows, width), r.Matrix(rows, width)
	var qkv [3]blas32.General
	for i := range qkv {
		qkv[i] = r.Matrix(rows, width)
	}
	for kind, group := range byPositions(plans) {
		p.tokens(r, x, m, kind)
		done := [3]bool{}
		for _, i := range group {
			t := ownAttention[0]
			if plans[i].Blocks > 0 {
				t = plans[i].Attention[0]
			}
			for _, j := range []Projection{t.Query, t.Key, V} {
				if j -= Q; !done[j] {
					p.qkv[j].Apply(r.Exec, qkv[j], x, simd.Identity)
					done[j] = true
				}
			}
			row := 0
			for j, s := range m.sizes {
				n := 1 + s.X*s.Y
				of := func(pr Projection) blas32.General { return nn.Rows(qkv[pr-Q], row, n) }
				p.attend(r, &t, nn.Rows(attended, row, n), of(t.Query), of(t.Key), of(V))
				p.proj.Apply(r.Exec, out[j][i], nn.Rows(attended, row, n), simd.Identity)
				row += n
			}
		}
	}
}

// byPositions are the indices of the plans that resize positions alike.
func byPositions(plans []Plan) map[Positions][]int {
	groups := map[Positions][]int{}
	for i, p := range plans {
		groups[p.Positions] = append(groups[p.Positions], i)
	}
	return groups
}

// tokens fills the rows of all maps: the mean first, then the cells, each with
// its position.
func (p *attentionPool) tokens(r *nn.Call, x blas32.General, m maps, kind Positions) {
	row, from := 0, 0
	for _, s := range m.sizes {
		n := s.X * s.Y
		to := nn.Rows(x, row, 1+n)
		mean := to.Data[:to.Cols]
		clear(mean)
		for i := range n {
			cell := m.x.Data[(from+i)*m.x.Stride:][:m.x.Cols]
			r.Kernel.Add(mean, mean, cell)
			copy(to.Data[(1+i)*to.Stride:], cell)
		}
		r.Kernel.Lerp(mean, mean, mean, 1/float32(n), 0)
		r.Kernel.Add(to.Data, to.Data, p.tables.get(p.positions, p.native, s, kind).Data)
		row, from = row+1+n, from+n
	}
}

// attend stores softmax(scale·s·Q·Kᵀ)·V of one picture in dst.
func (p *attentionPool) attend(r *nn.Call, t *Term, dst, q, k, v blas32.General) {
	defer r.Release(r.Mark())
	a := p.heads.attend(q, k, v)
	a.Scale *= t.scale()
	if t.Unit { // queries are keys: the values
		a.Q = p.heads.unit(r.Exec, r.Matrix(q.Rows, q.Cols), q)
		a.K = a.Q
	}
	r.Kernel.Attend(r.Team, dst, &a)
}
