package vit

import (
	"image"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// imageTower is an architecture of CLIP's image encoder.
type imageTower interface {
	// grid is the columns and rows of features that a picture of that size, in
	// pixels, gives.
	grid(size image.Point) image.Point
	// check reports whether the tower can run the plan; the error wraps ErrPlan.
	check(p *Plan) error
	// steps is how often encode reports progress.
	steps(sizes []image.Point, plans []Plan) int
	// encode computes the features of every picture under every plan:
	// out[picture][plan], (1+cells)×embed, class row first, to be filled in.
	encode(r *nn.Call, pictures []Pixels, plans []Plan, out [][]blas32.General) error
}

// visionTransformer is CLIP's ViT.
// Source: openai/CLIP clip/model.py:VisionTransformer.
type visionTransformer struct {
	patch     int
	heads     heads
	conv      nn.Linear      // 3·patch·patch → width, no bias
	class     []float32      // width
	positions blas32.General // (1+native cells)×width
	native    image.Point    // grid of positions
	pre, post nn.LayerNorm
	blocks    []block
	proj      nn.Linear // width → embed, no bias
	tables    tables
}

// sequence is the rows of one picture in the joint matrix of a batch: the class
// token, then the patches row by row.
type sequence struct {
	grid image.Point
	row  int // of the class token
}

func (s sequence) rows() int { return 1 + s.grid.X*s.grid.Y }

// stream is the operated rows of one plan.
type stream struct {
	*Plan
	plan int            // index among the call's plans
	x    blas32.General // rows so far; before the first operated block, the untouched ones
	qkv  []blas32.General
}

// pass is one batch on its way through the tower.
type pass struct {
	*nn.Call
	t        *visionTransformer
	schedule schedule
	seqs     []sequence
	x        blas32.General // untouched rows
	class    blas32.General // class rows after the last block, one per sequence
	streams  []stream
	qkv      []blas32.General // by block, of the untouched rows

	scratch blas32.General // rows×width: normalized, then attended
	hidden  blas32.General // rows×MLP
	norms   []float32      // per sequence, the mean norm of the normalized rows
}

func (t *visionTransformer) width() int { return t.positions.Cols }

func (t *visionTransformer) grid(size image.Point) image.Point {
	return image.Pt(size.X/t.patch, size.Y/t.patch)
}

func (t *visionTransformer) check(p *Plan) error { return p.check(len(t.blocks)) }

func (t *visionTransformer) steps(sizes []image.Point, plans []Plan) int {
	return len(t.blocks) * len(t.groups(sizes, plans))
}

// groups are the indices of the plans that can share their first blocks: all
// where no position table has to be resized, else those that resize alike.
func (t *visionTransformer) groups(sizes []image.Point, plans []Plan) [][]int {
	resized := false
	for _, s := range sizes {
		resized = resized || t.grid(s) != t.native
	}
	var groups [][]int
	at := map[Positions]int{}
	for i, p := range plans {
		kind := p.Positions
		if !resized {
			kind = 0
		}
		g, ok := at[kind]
		if !ok {
			g = len(groups)
			at[kind] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

func (t *visionTransformer) encode(r *nn.Call, pictures []Pixels, plans []Plan, out [][]blas32.General) error {
	sizes := make([]image.Point, len(pictures))
	for i, p := range pictures {
		sizes[i] = image.Pt(p.Width, p.Height)
	}
	for _, group := range t.groups(sizes, plans) {
		mark := r.Mark()
		p := &pass{Call: r, t: t}
		rows := 0
		for _, s := range sizes {
			p.seqs = append(p.seqs, sequence{t.grid(s), rows})
			rows += p.seqs[len(p.seqs)-1].rows()
		}
		var grouped []*Plan
		for _, i := range group {
			p.streams = append(p.streams, stream{Plan: &plans[i], plan: i})
			grouped = append(grouped, &plans[i])
		}
		p.schedule = scheduleOf(grouped, len(t.blocks))
		p.x = r.Operand(rows, t.width())
		p.embed(pictures, plans[group[0]].Positions)
		p.allocate()
		if err := p.blocks(); err != nil {
			return err
		}
		p.read(out)
		r.Release(mark)
	}
	return nil
}

// embed fills the untouched rows: patches and class token, positions, norm.
func (p *pass) embed(pictures []Pixels, kind Positions) {
	t, n := p.t, 3*p.t.patch*p.t.patch
	for i, s := range p.seqs {
		mark := p.Mark()
		patches := p.Matrix(s.rows()-1, n)
		p.Team.Do(s.grid.Y, func(_, row int) { cut(patches, pictures[i], t.patch, s.grid.X, row) })
		t.conv.Apply(p.Exec, nn.Rows(p.x, s.row+1, s.rows()-1), patches, simd.Identity)
		p.Release(mark)
		copy(p.x.Data[s.row*p.x.Stride:], t.class)
	}
	p.Show(p.x, "conv1")
	for _, s := range p.seqs {
		table := t.table(s.grid, kind)
		for i := range s.rows() {
			x := p.x.Data[(s.row+i)*p.x.Stride:][:p.x.Cols]
			p.Kernel.Add(x, x, table.Data[i*table.Stride:][:p.x.Cols])
		}
	}
	t.pre.Apply(p.Exec, p.x, p.x)
	p.Show(p.x, "ln_pre")
}

// cut copies one row of patches of a picture, each as channel, row, column.
func cut(dst blas32.General, pic Pixels, patch, columns, row int) {
	for c := range 3 {
		for y := range patch {
			line := pic.Data[(c*pic.Height+row*patch+y)*pic.Width:]
			for x := range columns {
				copy(dst.Data[(row*columns+x)*dst.Stride+(c*patch+y)*patch:][:patch], line[x*patch:])
			}
		}
	}
}

// groups calls f for runs of sequences of one grid, or for each alone. first is
// the index of the first sequence.
func (p *pass) groups(alone bool, f func(seqs []sequence, first int)) {
	for i := 0; i < len(p.seqs); {
		j := i + 1
		for !alone && j < len(p.seqs) && p.seqs[j].grid == p.seqs[i].grid {
			j++
		}
		f(p.seqs[i:j], i)
		i = j
	}
}

// blocks runs the schedule: the untouched rows as far as a plan needs them, and
// the rows of each plan beside or instead of them.
func (p *pass) blocks() error {
	for l, b := range p.schedule.blocks {
		if b.project {
			p.project(l, p.x, p.qkv[l])
		}
		for _, i := range b.shared {
			p.operate(&p.streams[i], l, p.qkv)
		}
		switch b.finish {
		case allRows:
			p.untouched(l)
		case classRow:
			p.lastClassRows(l)
		}
		for _, i := range b.separate {
			s := &p.streams[i]
			p.project(l, s.x, s.qkv[l])
			p.operate(s, l, s.qkv)
		}
		if err := p.Step(1); err != nil {
			return err
		}
	}
	if last := p.schedule.blocks[len(p.schedule.blocks)-1]; p.schedule.classRows && last.finish == allRows {
		p.gatherClass(p.x)
	}
	return nil
}

// allocate cuts the matrices that the schedule needs from the workspace.
func (p *pass) allocate() {
	rows, width := p.x.Rows, p.t.width()
	p.scratch = p.Operand(rows, width)
	p.hidden = p.Operand(rows, p.t.blocks[0].mlp.In.Weight.N())
	p.class = p.Matrix(len(p.seqs), width)
	p.norms = make([]float32, len(p.seqs))
	p.qkv = p.projections(func(l int) bool { return p.schedule.blocks[l].keep })
	for i := range p.streams {
		s := &p.streams[i]
		if s.Blocks > 0 {
			s.x = p.Operand(rows, width)
		}
		if own := p.schedule.own[i]; own != nil {
			s.qkv = p.projections(func(l int) bool { return own[l] })
		}
	}
}

// projections returns a matrix for the projections of each block: its own for
// those to keep, one that they share for all others.
func (p *pass) projections(keep func(l int) bool) []blas32.General {
	rows, cols := p.x.Rows, 3*p.t.width()
	all := make([]blas32.General, len(p.t.blocks))
	shared := p.Operand(rows, cols)
	for l := range all {
		if all[l] = shared; keep(l) {
			all[l] = p.Operand(rows, cols)
		}
	}
	return all
}

// project stores the projections of rows x that enter block l.
func (p *pass) project(l int, x, qkv blas32.General) {
	b := &p.t.blocks[l]
	b.ln1.Apply(p.Exec, p.scratch, x)
	if p.schedule.inputNorms {
		for i, s := range p.seqs {
			p.norms[i] = meanNorm(p.Kernel, nn.Rows(p.scratch, s.row, s.rows()))
		}
	}
	b.qkv.Apply(p.Exec, qkv, p.scratch, simd.Identity)
}

// untouched takes the untouched rows through block l.
func (p *pass) untouched(l int) {
	qkv := p.qkv[l]
	p.groups(false, func(seqs []sequence, _ int) {
		rows := rowsOf(qkv, seqs)
		a := p.t.heads.attend(projection(rows, Q), projection(rows, K), projection(rows, V))
		a.Batch = len(seqs)
		p.Kernel.Attend(p.Team, rowsOf(p.scratch, seqs), &a)
	})
	p.t.blocks[l].finish(p.Call, p.x, p.x, p.scratch, p.scratch, p.hidden)
	p.Show(p.x, "block%d", l)
}

// lastClassRows takes the class rows alone through the last block.
func (p *pass) lastClassRows(l int) {
	p.groups(false, func(seqs []sequence, first int) {
		rows := rowsOf(p.qkv[l], seqs)
		q := projection(rows, Q)
		q.Rows, q.Stride = len(seqs), seqs[0].rows()*q.Stride
		a := p.t.heads.attend(q, projection(rows, K), projection(rows, V))
		a.Batch = len(seqs)
		p.Kernel.Attend(p.Team, nn.Rows(p.scratch, first, len(seqs)), &a)
	})
	p.gatherClass(p.x)
	n := len(p.seqs)
	attended := nn.Rows(p.scratch, 0, n)
	p.t.blocks[l].finish(p.Call, p.class, p.class, attended, attended, nn.Rows(p.hidden, 0, n))
	p.Show(p.class, "block%d.class", l)
}

func (p *pass) gatherClass(x blas32.General) {
	for i, s := range p.seqs {
		copy(p.class.Data[i*p.class.Stride:][:p.class.Cols], x.Data[s.row*x.Stride:])
	}
}

// operate takes the operated rows of a plan through block l, whose projections
// are qkv[l].
func (p *pass) operate(s *stream, l int, qkv []blas32.General) {
	b, x := &p.t.blocks[l], s.x
	if l == s.first(len(p.t.blocks)) {
		x = p.x
	}
	for i := range s.terms() {
		term := &s.terms()[i]
		from := qkv[l-term.Before]
		if l-term.Before <= s.first(len(p.t.blocks)) {
			from = p.qkv[l-term.Before]
		}
		p.attend(term, from, qkv[l], i > 0)
	}
	if s.WithoutResidual {
		b.out.Apply(p.Exec, s.x, p.scratch, simd.Identity)
	} else {
		b.out.ApplyAdd(p.Exec, s.x, p.scratch, x)
	}
	if !s.WithoutFFN {
		b.feedForward(p.Call, s.x, p.scratch, p.hidden)
	}
	p.Show(s.x, "block%d.new", l)
}

// read stores LN_post and projection of every plan's rows.
func (p *pass) read(out [][]blas32.General) {
	for i := range p.streams {
		s := &p.streams[i]
		x := s.x
		if s.Blocks == 0 {
			x = p.x
		}
		if s.Blocks > 0 && s.Class == ClassUntouched {
			p.scatterClass(x)
		}
		p.t.post.Apply(p.Exec, p.scratch, x)
		p.Show(p.scratch, "ln_post")
		for j, q := range p.seqs {
			p.t.proj.Apply(p.Exec, out[j][s.plan], nn.Rows(p.scratch, q.row, q.rows()), simd.Identity)
		}
	}
}

func (p *pass) scatterClass(x blas32.General) {
	for i, s := range p.seqs {
		copy(x.Data[s.row*x.Stride:][:x.Cols], p.class.Data[i*p.class.Stride:])
	}
}

// rowsOf is the rows of consecutive sequences.
func rowsOf(m blas32.General, seqs []sequence) blas32.General {
	last := seqs[len(seqs)-1]
	return nn.Rows(m, seqs[0].row, last.row+last.rows()-seqs[0].row)
}
