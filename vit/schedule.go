package vit

import (
	"fmt"
	"strings"
)

// schedule is what the image tower computes block by block for a set of plans
// that share its first blocks. It depends on the plans and the number of blocks
// alone, so that it can be read and tested without weights.
//
// The untouched rows are those of the tower without a plan. The rows of a plan
// leave them at the plan's first operated block: beside, projecting the
// untouched rows in every block, or instead, projecting their own from the
// second operated block on.
type schedule struct {
	blocks []blockSchedule
	// classRows says that an operated plan takes its class row from the untouched
	// rows after the last block.
	classRows bool
	// inputNorms says that some attention term is scaled by the norm of its input.
	inputNorms bool
	// own lists, by plan, the blocks whose projections of the plan's own rows a
	// later block needs again; nil for a plan that projects no rows of its own.
	own [][]bool
}

// blockSchedule is the work of one block, in the order of its fields.
type blockSchedule struct {
	project  bool  // the untouched rows
	keep     bool  // their projections, for terms of later blocks
	shared   []int // plans whose rows attend by the untouched rows' projections
	finish   rows  // the untouched rows that leave the block
	separate []int // plans whose rows are projected, and attend, by themselves
}

// rows says which of the untouched rows a block has to compute.
type rows uint8

const (
	noRows rows = iota
	classRow
	allRows
)

func (r rows) String() string { return [...]string{"none", "class", "all"}[r] }

// scheduleOf returns the schedule of plans on a tower with so many blocks.
func scheduleOf(plans []*Plan, layers int) schedule {
	s := schedule{blocks: make([]blockSchedule, layers), own: make([][]bool, len(plans))}
	for l := range s.blocks {
		b := &s.blocks[l]
		for i, p := range plans {
			need := p.untouched(l, layers)
			b.finish = max(b.finish, need)
			b.project = b.project || need > noRows || p.projects(l, layers)
			separate := l > p.first(layers) && !p.Beside
			b.keep = b.keep || !separate && p.reaches(l, layers)
			switch {
			case p.projects(l, layers):
				b.shared = append(b.shared, i)
			case separate:
				b.separate = append(b.separate, i)
				if s.own[i] == nil {
					s.own[i] = make([]bool, layers)
				}
				s.own[i][l] = p.reaches(l, layers)
			}
		}
	}
	for _, p := range plans {
		s.classRows = s.classRows || p.Blocks > 0 && p.Class == ClassUntouched
		s.inputNorms = s.inputNorms || p.inputScaled()
	}
	return s
}

// projects reports whether the plan's own rows attend by the projections of the
// untouched rows that enter block l.
func (p *Plan) projects(l, layers int) bool {
	first := p.first(layers)
	return l == first || l > first && p.Beside
}

// untouched says which untouched rows the plan needs from block l: all, as long
// as a later block projects them or they are the plan's features; the class row
// of the last block, if it becomes the features' class row.
func (p *Plan) untouched(l, layers int) rows {
	last := l == layers-1
	switch {
	case p.Blocks == 0, l < p.first(layers):
		return allRows
	case !last && (p.Beside || p.Class == ClassUntouched):
		return allRows
	case last && p.Class == ClassUntouched:
		return classRow
	}
	return noRows
}

// String draws the schedule, one line for each run of equal blocks.
func (s schedule) String() string {
	var out strings.Builder
	for first, l := 0, 1; l <= len(s.blocks); l++ {
		if l < len(s.blocks) && s.blocks[l].String() == s.blocks[first].String() {
			continue
		}
		name := fmt.Sprint(first)
		if l-1 > first {
			name = fmt.Sprintf("%d-%d", first, l-1)
		}
		fmt.Fprintf(&out, "%-6s%s\n", name, s.blocks[first])
		first = l
	}
	return out.String()
}

func (b blockSchedule) String() string {
	var work []string
	if b.project {
		work = append(work, "project")
	}
	if b.keep {
		work = append(work, "keep")
	}
	if len(b.shared) > 0 {
		work = append(work, "shared"+plansOf(b.shared))
	}
	work = append(work, "finish "+b.finish.String())
	if len(b.separate) > 0 {
		work = append(work, "separate"+plansOf(b.separate))
	}
	return strings.Join(work, ", ")
}

func plansOf(plans []int) string {
	text := ""
	for _, i := range plans {
		text += fmt.Sprintf(" %d", i)
	}
	return text
}
