package surgery

import "github.com/clipsurgery/clipsurgery/vit"

// Step is one decision about what the last blocks of the tower do.
type Step func(*vit.Plan)

// Compose makes a plan from steps, which it applies in order.
func Compose(steps ...Step) vit.Plan {
	var p vit.Plan
	for _, s := range steps {
		s(&p)
	}
	return p
}

// LastBlocks operates on the last n blocks.
func LastBlocks(n int) Step { return func(p *vit.Plan) { p.Blocks = n } }

// Beside makes the operated rows a second stream beside the untouched one.
func Beside() Step { return func(p *vit.Plan) { p.Beside = true } }

// WithoutFFN drops the feed-forward network of the operated blocks.
func WithoutFFN() Step { return func(p *vit.Plan) { p.WithoutFFN = true } }

// WithoutResidual drops the residual connection around the attention of the
// operated blocks.
func WithoutResidual() Step { return func(p *vit.Plan) { p.WithoutResidual = true } }

// ResizePositions says how the position table is resized for a grid that is not
// the model's own; the default is bilinear.
func ResizePositions(kind vit.Positions) Step { return func(p *vit.Plan) { p.Positions = kind } }

// Attend adds the attention term softmax(s·P·Rᵀ), P and R being the projections
// named by query and key: vit.Q, vit.K or vit.V. Terms of a plan are summed.
func Attend(query, key vit.Projection, details ...Detail) Step {
	return attend(vit.Term{Query: query, Key: key}, details)
}

// AttendItself adds the identity as an attention term: every row attends only
// to itself.
func AttendItself(details ...Detail) Step { return attend(vit.Term{Identity: true}, details) }

// AttendAlike adds two terms, query-query and key-key attention, with the same
// details: the correlative self-attention of SCLIP.
func AttendAlike(details ...Detail) Step {
	return func(p *vit.Plan) {
		Attend(vit.Q, vit.Q, details...)(p)
		Attend(vit.K, vit.K, details...)(p)
	}
}

func attend(t vit.Term, details []Detail) Step {
	for _, d := range details {
		d(&t)
	}
	return func(p *vit.Plan) { p.Attention = append(p.Attention, t) }
}

// Detail is one property of an attention term.
type Detail func(*vit.Term)

// Weight multiplies the term in the sum by w, which must not be 0; the default
// is 1.
func Weight(w float32) Detail { return func(t *vit.Term) { t.Weight = w } }

// Scale multiplies the scores by x, besides s.
func Scale(x float32) Detail { return func(t *vit.Term) { t.Scale = x } }

// Gaussian adds exp(-d²/(2·sigma²)) to the score of two patches at a distance
// of d patches.
func Gaussian(sigma float32) Detail {
	return func(t *vit.Term) { t.Prior = vit.Gaussian{Sigma: sigma} }
}

// BlocksBefore takes query and key, but not the values, from n blocks earlier.
func BlocksBefore(n int) Detail { return func(t *vit.Term) { t.Before = n } }

// Unit divides the rows of query and key, per head, by their norm.
func Unit() Detail { return func(t *vit.Term) { t.Unit = true } }

// InputScale multiplies the scores by the mean norm of the block's normalized
// input rows, one number per picture.
func InputScale() Detail { return func(t *vit.Term) { t.InputScale = true } }

// Iterate replaces the projected rows n times by their attention to one another
// before the matrix is computed; query and key must be the same.
func Iterate(n int) Detail { return func(t *vit.Term) { t.Iterations = n } }
