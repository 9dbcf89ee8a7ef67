package vit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/nn"
)

// ErrPlan reports a [Plan] that the model cannot run: it asks for more blocks
// than the tower has, refers to a block before the first one, or has a number
// out of range.
var ErrPlan = errors.New("plan does not fit the model")

// Plan says, as plain data, what the last blocks of the image tower do. The
// zero Plan changes nothing. Package surgery composes plans from small
// functions and names the published ones.
//
// With x the rows that enter a block, h = LN1(x), and per head Q, K and V its
// projections of h, an operated block computes
//
//	z = x + O(Σ Aₜ·V)
//	y = z + MLP(LN2(z))
//
// where O is the block's output projection and Aₜ is one [Term]. The terms and
// the two switches that drop "x +" and "+ MLP" are the plan.
type Plan struct {
	// Blocks is how many of the last blocks are operated on.
	Blocks int
	// Beside lets the operated rows form a second stream beside the untouched
	// one: both are the same rows before the first operated block, and h comes
	// from the untouched stream in all of them. Otherwise the operated rows
	// replace the untouched ones.
	Beside bool
	// Attention is the sum that an operated block takes for its attention; none
	// means the block's own, softmax(s·Q·Kᵀ).
	Attention []Term
	// WithoutResidual drops "x +", WithoutFFN drops "+ MLP(LN2(z))".
	WithoutResidual, WithoutFFN bool
	// Class says where row 0 of the features comes from.
	Class ClassRow
	// Positions is how the position table is resized for a grid that is not
	// the model's own.
	Positions Positions
}

// Term is one attention matrix, a row per query and a column per key, by which
// V is multiplied:
//
//	A = Weight·softmax(Scale·s·P·Rᵀ + Prior),  s = head_dim^(-1/2)
//
// P and R being the projections named by Query and Key, per head. The zero
// Term is not valid: it names no projections.
type Term struct {
	Query, Key Projection
	// Identity makes A = Weight·I: every row attends to itself alone. All other
	// fields but Weight are then unused.
	Identity bool
	// Weight is the factor of the term in the sum; 0 means 1.
	Weight float32
	// Scale multiplies the scores besides s; 0 means 1.
	Scale float32
	// InputScale multiplies the scores by the mean Euclidean norm of the rows
	// of h, one number per picture.
	InputScale bool
	// Unit divides the rows of P and R, per head, by their norm.
	Unit bool
	// Iterations replaces P so many times by softmax(Scale·s·P·Pᵀ)·P (unit rows
	// again, if Unit) before the matrix is made. It needs Query == Key.
	Iterations int
	// Prior is a term of the scores that favors neighbors.
	Prior Gaussian
	// Before takes P and R from so many blocks earlier; V stays the block's own.
	Before int
}

// Projection names one of a block's three projections of its input.
type Projection uint8

// The projections of a block.
const (
	Q Projection = iota + 1
	K
	V
)

func (p Projection) String() string {
	if p < Q || p > V {
		return fmt.Sprintf("Projection(%d)", uint8(p))
	}
	return "QKV"[p-1 : p]
}

// Gaussian adds exp(-d²/(2·Sigma²)) to the score of a pair of patches, d being
// their distance on the grid in patches. Pairs with the class token gain
// nothing. Sigma 0 means no such term.
type Gaussian struct{ Sigma float32 }

// ClassRow says where the class row of the features comes from.
type ClassRow uint8

const (
	// ClassUntouched is the tower's own class row, as without a plan.
	ClassUntouched ClassRow = iota
	// ClassOperated is the class row of the operated blocks.
	ClassOperated
)

// Positions is a way of resizing the table of position embeddings.
type Positions uint8

const (
	// PositionsBilinear interpolates bilinearly with half-pixel centers, without
	// antialiasing. Source: xmed-lab/CLIP_Surgery.
	PositionsBilinear Positions = iota
	// PositionsBicubic interpolates bicubically (a = -0.75), without antialiasing.
	PositionsBicubic
	// PositionsBicubicOffset is PositionsBicubic with 0.1 added to the wanted
	// grid when the step between samples is computed, as DINO's code and its
	// descendants have it.
	PositionsBicubicOffset
	// PositionsBicubicAntialias interpolates bicubically (a = -0.5) with a kernel
	// that widens when the table shrinks. Source: open_clip resize_pos_embed.
	PositionsBicubicAntialias
)

// first is the first operated block of a tower with so many layers; layers
// itself where there is none.
func (p *Plan) first(layers int) int { return layers - p.Blocks }

// terms is the sum that an operated block computes.
func (p *Plan) terms() []Term {
	if len(p.Attention) == 0 {
		return ownAttention
	}
	return p.Attention
}

var ownAttention = []Term{{Query: Q, Key: K}}

// check reports whether a tower with so many layers can run the plan.
func (p *Plan) check(layers int) error {
	switch {
	case p.Blocks < 0 || p.Blocks > layers:
		return fmt.Errorf("vit: %w: operates on %d blocks, the tower has %d", ErrPlan, p.Blocks, layers)
	case p.Blocks == 0 && (p.Beside || p.WithoutResidual || p.WithoutFFN || len(p.Attention) > 0):
		return fmt.Errorf("vit: %w: operates on no block", ErrPlan)
	case p.Class > ClassOperated:
		return fmt.Errorf("vit: %w: class row %d", ErrPlan, p.Class)
	case p.Positions > PositionsBicubicAntialias:
		return fmt.Errorf("vit: %w: position resize %d", ErrPlan, p.Positions)
	}
	for i := range p.Attention {
		if err := p.Attention[i].check(p.first(layers)); err != nil {
			return fmt.Errorf("vit: %w: attention term %d: %w", ErrPlan, i, err)
		}
	}
	return nil
}

// maxIterations bounds Term.Iterations: the rows of a head collapse to a few
// points long before.
const maxIterations = 100

func (t *Term) check(first int) error {
	if !nn.Finite(t.Weight) {
		return fmt.Errorf("weight %v", t.Weight)
	}
	if t.Identity {
		return nil
	}
	switch {
	case t.Query < Q || t.Query > V || t.Key < Q || t.Key > V:
		return fmt.Errorf("projections %v and %v", t.Query, t.Key)
	case !nn.Finite(t.Scale) || t.Scale < 0:
		return fmt.Errorf("scale %v", t.Scale)
	case !nn.Finite(t.Prior.Sigma) || t.Prior.Sigma < 0:
		return fmt.Errorf("prior with sigma %v", t.Prior.Sigma)
	case t.Iterations < 0 || t.Iterations > maxIterations:
		return fmt.Errorf("%d iterations", t.Iterations)
	case t.Iterations > 0 && t.Query != t.Key:
		return fmt.Errorf("iterates over %v and %v, which differ", t.Query, t.Key)
	case t.Before < 0 || t.Before > first:
		return fmt.Errorf("%d blocks before block %d", t.Before, first)
	}
	return nil
}

func (t *Term) weight() float32 { return cmp.Or(t.Weight, 1) }
func (t *Term) scale() float32  { return cmp.Or(t.Scale, 1) }

// inputScaled reports whether a term needs the norm of the block's input.
func (p *Plan) inputScaled() bool {
	return slices.ContainsFunc(p.Attention, func(t Term) bool { return t.InputScale })
}

// reaches reports whether the plan, operating on a block, needs the projections
// of block l.
func (p *Plan) reaches(l, layers int) bool {
	return slices.ContainsFunc(p.Attention, func(t Term) bool {
		return t.Before > 0 && l >= p.first(layers)-t.Before && l < layers-t.Before
	})
}
