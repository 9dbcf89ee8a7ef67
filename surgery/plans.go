package surgery

import "github.com/clipsurgery/clipsurgery/vit"

// Step is one decision about what the last blocks of the tower do.
type Step func(*vit.Plan)

// Compose makes a plan of steps, applied in order.
func Compose(steps ...Step) vit.Plan {
	var p vit.Plan
	for _, s := range steps {
		s(&p)
	}
	return p
}

// LastBlocks operates on the last n blocks.
func LastBlocks(n int) Step { return func(p *vit.Plan) { p.Blocks = n } }

// Beside lets the operated rows form a second stream beside the untouched one.
func Beside() Step { return func(p *vit.Plan) { p.Beside = true } }

// Attend adds an attention term: query and key are one of vit.Q, vit.K, vit.V.
func Attend(query, key vit.Projection) Step {
	return func(p *vit.Plan) { p.Attention = append(p.Attention, vit.Term{Query: query, Key: key}) }
}

// WithoutFFN drops the feed-forward network of the operated blocks.
func WithoutFFN() Step { return func(p *vit.Plan) { p.WithoutFFN = true } }

// WithoutResidual drops the residual connection around the attention of the
// operated blocks.
func WithoutResidual() Step { return func(p *vit.Plan) { p.WithoutResidual = true } }

// CLIPSurgery is the plan of the paper (section 3.2): beside the untouched
// stream, the last six blocks add value-value attention and no FFN,
//
//	x̂ ← x̂ + O(σ(s·V·Vᵀ)·V),
//
// V taken from the untouched stream. Patches come from x̂, the class token from
// the untouched stream.
func CLIPSurgery() vit.Plan {
	return Compose(LastBlocks(6), Beside(), Attend(vit.V, vit.V), WithoutFFN())
}
