package vit

import (
	"context"
	"fmt"
	"image"
	"math"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// attendPlainly is softmax(s·QKᵀ)·V in float64, straight from the formula.
func attendPlainly(dst, q, k, v blas32.General, h heads, causal bool) {
	for head := range h.n {
		cols := func(m blas32.General) blas32.General { return nn.Cols(m, head*h.dim, h.dim) }
		q, k, v, dst := cols(q), cols(k), cols(v), cols(dst)
		for i := range q.Rows {
			p := make([]float64, k.Rows)
			for j := range p {
				if p[j] = math.Inf(-1); causal && j > i {
					continue
				}
				p[j] = 0
				for c := range h.dim {
					p[j] += float64(q.Data[i*q.Stride+c]) * float64(k.Data[j*k.Stride+c])
				}
				p[j] /= math.Sqrt(float64(h.dim))
			}
			softmax64(p)
			for c := range h.dim {
				y := 0.0
				for j := range p {
					y += p[j] * float64(v.Data[j*v.Stride+c])
				}
				dst.Data[i*dst.Stride+c] = float32(y)
			}
		}
	}
}

// rows64 is a matrix as the reference below has it.
type rows64 [][]float64

func softmax64(x []float64) {
	hi, sum := math.Inf(-1), 0.0
	for _, v := range x {
		hi = max(hi, v)
	}
	for i, v := range x {
		x[i] = math.Exp(v - hi)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// tower64 is the image tower under a plan, plain, slow and in float64: every
// formula of Plan and Term written down as it stands.
type tower64 struct {
	a    architecture
	grid image.Point
	plan Plan
	act  simd.Activation
}

func (r *tower64) weight(name string, shape ...int) []float64 {
	w := golden.Weight(name, "", shape)
	out := make([]float64, len(w))
	for i := range w {
		out[i] = float64(w[i])
	}
	return out
}

// linear is x·Wᵀ + b.
func (r *tower64) linear(x rows64, name, bias string, out int) rows64 {
	in := len(x[0])
	w, b := r.weight(name, out, in), make([]float64, out)
	if bias != "" {
		b = r.weight(bias, out)
	}
	y := make(rows64, len(x))
	for i := range x {
		y[i] = make([]float64, out)
		for o := range y[i] {
			y[i][o] = b[o]
			for c, v := range x[i] {
				y[i][o] += v * w[o*in+c]
			}
		}
	}
	return y
}

func (r *tower64) norm(x rows64, name string) rows64 {
	w, b := r.weight(name+".weight", len(x[0])), r.weight(name+".bias", len(x[0]))
	y := make(rows64, len(x))
	for i, row := range x {
		mean, variance := 0.0, 0.0
		for _, v := range row {
			mean += v / float64(len(row))
		}
		for _, v := range row {
			variance += (v - mean) * (v - mean) / float64(len(row))
		}
		for c, v := range row {
			y[i] = append(y[i], (v-mean)/math.Sqrt(variance+1e-5)*w[c]+b[c])
		}
	}
	return y
}

func add64(a, b rows64) rows64 {
	y := make(rows64, len(a))
	for i := range a {
		for c := range a[i] {
			y[i] = append(y[i], a[i][c]+b[i][c])
		}
	}
	return y
}

func (r *tower64) mlp(x rows64, l int) rows64 {
	p := fmt.Sprintf("visual.transformer.resblocks.%d.", l)
	h := r.linear(r.norm(x, p+"ln_2"), p+"mlp.c_fc.weight", p+"mlp.c_fc.bias", 4*len(x[0]))
	for _, row := range h {
		for c, v := range row {
			if row[c] = v / (1 + math.Exp(-1.702*v)); r.act == simd.GELU {
				row[c] = v / 2 * (1 + math.Erf(v/math.Sqrt2))
			}
		}
	}
	return r.linear(h, p+"mlp.c_proj.weight", p+"mlp.c_proj.bias", len(x[0]))
}

// qkv64 are the projections of a block and the rows that they project.
type qkv64 struct {
	h rows64
	p [3]rows64
}

func (r *tower64) project(x rows64, l int) qkv64 {
	p := fmt.Sprintf("visual.transformer.resblocks.%d.", l)
	h, width := r.norm(x, p+"ln_1"), len(x[0])
	all := r.linear(h, p+"attn.in_proj_weight", p+"attn.in_proj_bias", 3*width)
	out := qkv64{h: h}
	for k := range out.p {
		for _, row := range all {
			out.p[k] = append(out.p[k], row[k*width:(k+1)*width])
		}
	}
	return out
}

func (r *tower64) out(x rows64, l int) rows64 {
	p := fmt.Sprintf("visual.transformer.resblocks.%d.attn.out_proj.", l)
	return r.linear(x, p+"weight", p+"bias", len(x[0]))
}

// matrix is the attention matrix of a term for one head.
func (r *tower64) matrix(t Term, from, now qkv64, head int) rows64 {
	dim := r.a.Width / r.a.Heads
	part := func(p Projection) rows64 {
		var y rows64
		for _, row := range from.p[p-Q] {
			y = append(y, row[head*dim:(head+1)*dim])
		}
		return y
	}
	unit := func(x rows64) rows64 {
		if !t.Unit {
			return x
		}
		y := make(rows64, len(x))
		for i, row := range x {
			n := 0.0
			for _, v := range row {
				n += v * v
			}
			for _, v := range row {
				y[i] = append(y[i], v/math.Sqrt(n))
			}
		}
		return y
	}
	scale := 1 / math.Sqrt(float64(dim))
	if t.Scale != 0 {
		scale *= float64(t.Scale)
	}
	if t.InputScale {
		mean := 0.0
		for _, row := range now.h {
			n := 0.0
			for _, v := range row {
				n += v * v
			}
			mean += math.Sqrt(n) / float64(len(now.h))
		}
		scale *= mean
	}
	weight := 1.0
	if t.Weight != 0 {
		weight = float64(t.Weight)
	}
	soft := func(p, q rows64, prior func(i, j int) float64) rows64 {
		a := make(rows64, len(p))
		for i := range p {
			a[i] = make([]float64, len(q))
			for j := range q {
				for c := range p[i] {
					a[i][j] += p[i][c] * q[j][c]
				}
				a[i][j] = scale*a[i][j] + prior(i, j)
			}
			softmax64(a[i])
		}
		return a
	}
	none := func(i, j int) float64 { return 0 }
	if t.Identity {
		a := make(rows64, len(now.h))
		for i := range a {
			a[i] = make([]float64, len(a))
			a[i][i] = weight
		}
		return a
	}
	p, q := unit(part(t.Query)), unit(part(t.Key))
	for range t.Iterations {
		p = unit(mul64(soft(p, p, none), p))
		q = p
	}
	prior := none
	if s := float64(t.Prior.Sigma); s > 0 {
		prior = func(i, j int) float64 {
			if i == 0 || j == 0 {
				return 0
			}
			x, y := float64((i-1)%r.grid.X-(j-1)%r.grid.X), float64((i-1)/r.grid.X-(j-1)/r.grid.X)
			return math.Exp(-(x*x + y*y) / (2 * s * s))
		}
	}
	a := soft(p, q, prior)
	for i := range a {
		for j := range a[i] {
			a[i][j] *= weight
		}
	}
	return a
}

func mul64(a, b rows64) rows64 {
	y := make(rows64, len(a))
	for i := range a {
		y[i] = make([]float64, len(b[0]))
		for j, w := range a[i] {
			for c, v := range b[j] {
				y[i][c] += w * v
			}
		}
	}
	return y
}

// attended is the sum of the terms, heads side by side.
func (r *tower64) attended(terms []Term, blocks []qkv64, l int) rows64 {
	dim := r.a.Width / r.a.Heads
	sum := make(rows64, len(blocks[l].h))
	for i := range sum {
		sum[i] = make([]float64, r.a.Width)
	}
	for _, t := range terms {
		for head := range r.a.Heads {
			var v rows64
			for _, row := range blocks[l].p[V-Q] {
				v = append(v, row[head*dim:(head+1)*dim])
			}
			y := mul64(r.matrix(t, blocks[l-t.Before], blocks[l], head), v)
			for i := range y {
				for c := range y[i] {
					sum[i][head*dim+c] += y[i][c]
				}
			}
		}
	}
	return sum
}

// encode is the features of prepared pixels.
func (r *tower64) encode(t *testing.T, c *CLIP, p Pixels) rows64 {
	a, plan := r.a, r.plan
	patches := make(rows64, r.grid.X*r.grid.Y)
	for i := range patches {
		for ch := range 3 {
			for y := range a.Patch {
				for x := range a.Patch {
					patches[i] = append(patches[i], float64(p.Data[(ch*p.Height+i/r.grid.X*a.Patch+y)*p.Width+i%r.grid.X*a.Patch+x]))
				}
			}
		}
	}
	w := rows64{r.weight("visual.class_embedding", a.Width)}
	conv := golden.Weight("visual.conv1.weight", "", []int{a.Width, 3, a.Patch, a.Patch})
	for i := range patches {
		row := make([]float64, a.Width)
		for o := range row {
			for k, v := range patches[i] {
				row[o] += v * float64(conv[o*len(patches[i])+k])
			}
		}
		w = append(w, row)
	}
	// The resized table is package pix's, which has tests of its own.
	table := c.vision.(*visionTransformer).table(r.grid, plan.Positions)
	for i := range w {
		for j := range w[i] {
			w[i][j] += float64(table.Data[i*table.Stride+j])
		}
	}
	x := r.norm(w, "visual.ln_pre") // untouched
	y := x                          // operated
	own := []Term{{Query: Q, Key: K}}
	terms := plan.Attention
	if len(terms) == 0 {
		terms = own
	}
	var untouched, operated []qkv64
	for l := range a.Layers {
		untouched = append(untouched, r.project(x, l))
		operated = append(operated, r.project(y, l))
		if l >= a.Layers-plan.Blocks {
			from := operated
			if plan.Beside {
				from = untouched
			}
			z := r.out(r.attended(terms, from, l), l)
			if !plan.WithoutResidual {
				z = add64(z, y)
			}
			if y = z; !plan.WithoutFFN {
				y = add64(z, r.mlp(z, l))
			}
		}
		x = add64(x, r.out(r.attended(own, untouched, l), l))
		x = add64(x, r.mlp(x, l))
		if l < a.Layers-plan.Blocks {
			y = x
		}
	}
	if plan.Class == ClassUntouched {
		y = append(rows64{x[0]}, y[1:]...)
	}
	proj := r.weight("visual.proj", a.Width, a.Embed)
	y = r.norm(y, "visual.ln_post")
	out := make(rows64, len(y))
	for i := range y {
		out[i] = make([]float64, a.Embed)
		for k, v := range y[i] {
			for e := range out[i] {
				out[i][e] += v * proj[k*a.Embed+e]
			}
		}
	}
	return out
}

// plans exercises every field of Plan and Term.
var plans = map[string]Plan{
	"plain":            {},
	"CLIP Surgery":     surgeryPlanOf(3),
	"surgery, class":   {Blocks: 3, Beside: true, Attention: []Term{{Query: V, Key: V}}, WithoutFFN: true, Class: ClassOperated},
	"own attention":    {Blocks: 2, WithoutFFN: true, Class: ClassOperated},
	"nothing changed":  {Blocks: 2, Class: ClassOperated},
	"MaskCLIP":         {Blocks: 1, Attention: []Term{{Identity: true}}, Class: ClassOperated},
	"weighed identity": {Blocks: 2, Attention: []Term{{Query: Q, Key: Q, Weight: 0.25}, {Identity: true, Weight: -0.5}}},
	"SCLIP":            {Blocks: 1, Attention: []Term{{Query: Q, Key: Q}, {Query: K, Key: K}}, Class: ClassOperated},
	"ClearCLIP":        {Blocks: 1, Attention: []Term{{Query: Q, Key: Q}}, WithoutResidual: true, WithoutFFN: true},
	"NACLIP":           {Blocks: 1, Attention: []Term{{Query: K, Key: K, Prior: Gaussian{1.5}}}, WithoutResidual: true, WithoutFFN: true, Positions: PositionsBicubicOffset},
	"GEM": {Blocks: 3, Beside: true, WithoutFFN: true, Positions: PositionsBicubicAntialias, Attention: []Term{
		{Query: Q, Key: Q, Weight: 1. / 3, Unit: true, InputScale: true, Iterations: 1},
		{Query: K, Key: K, Weight: 1. / 3, Unit: true, InputScale: true, Iterations: 1},
		{Query: V, Key: V, Weight: 1. / 3, Unit: true, InputScale: true, Iterations: 1}}},
	"iterated":       {Blocks: 2, Attention: []Term{{Query: V, Key: V, Iterations: 3, Scale: 0.5, Prior: Gaussian{2}}}},
	"unit pair":      {Blocks: 2, Beside: true, Attention: []Term{{Query: Q, Key: V, Unit: true, Scale: 8}}, Positions: PositionsBicubic},
	"ITACLIP":        {Blocks: 1, WithoutFFN: true, Attention: []Term{{Query: Q, Key: Q, Weight: 0.5}, {Query: K, Key: K, Weight: 0.5}, {Query: Q, Key: Q, Weight: 0.25, Before: 1}, {Query: K, Key: K, Weight: 0.25, Before: 3}}},
	"earlier blocks": {Blocks: 3, Attention: []Term{{Query: Q, Key: K, Weight: 0.5, Before: 1}, {Query: K, Key: K, Weight: 0.5}}},
	"earlier beside": {Blocks: 3, Beside: true, Attention: []Term{{Query: Q, Key: K, Before: 2}}},
}

func surgeryPlanOf(blocks int) Plan {
	p := surgeryPlan()
	p.Blocks = blocks
	return p
}

// micro is an architecture small enough for the reference above.
var micro = architecture{"micro", 24, 32, 5, 32, 8, 2, 8, 32, 16, 2, 1}

func TestPlansEqualTheirFormulas(t *testing.T) {
	for _, act := range []simd.Activation{simd.QuickGELU, simd.GELU} {
		c := micro.model(t, Activation(act))
		for _, size := range []image.Point{{32, 32}, {40, 24}} {
			p := Pixels{size.X, size.Y, golden.Blocky("plans/image", []int{3, size.Y, size.X}, 8, 1.5, 0.75)}
			for name, plan := range plans {
				r := &tower64{micro, size.Div(micro.Patch), plan, act}
				want := r.encode(t, c, p)
				got, err := c.EncodePixels(context.Background(), p, Operate(plan))
				require.NoError(t, err, name)
				require.Equal(t, size.Div(micro.Patch), got.Grid)
				for i := range want {
					for j := range want[i] {
						require.InDelta(t, want[i][j], got.Tokens.Data[i*got.Tokens.Stride+j], 2e-5, "%s at %v: row %d, column %d", name, size, i, j)
					}
				}
			}
		}
	}
}

// One call for several plans, and one batch of several pictures, give what
// separate calls give.
func TestPlansTogether(t *testing.T) {
	c := micro.model(t)
	ctx := context.Background()
	var pixels []Pixels
	for _, size := range []image.Point{{40, 24}, {40, 24}, {32, 32}, {24, 48}} {
		pixels = append(pixels, Pixels{size.X, size.Y, golden.Blocky(fmt.Sprint("together/", len(pixels)), []int{3, size.Y, size.X}, 8, 1.5, 0.75)})
	}
	var all []Plan
	var names []string
	for name, plan := range plans {
		all, names = append(all, plan), append(names, name)
	}
	features, _ := traced(t, c, pixels, all)
	for i, p := range pixels {
		for j, plan := range all {
			want, err := c.EncodePixels(ctx, p, Operate(plan))
			require.NoError(t, err)
			golden.Close(t, fmt.Sprintf("picture %d, %s", i, names[j]), features[i][j].Tokens.Data, want.Tokens.Data, 5e-6)
		}
	}
}

// Surgery and GEM leave the class row alone; a plan that changes nothing
// changes nothing.
func TestClassRowUntouched(t *testing.T) {
	c := micro.model(t)
	ctx := context.Background()
	p := Pixels{40, 24, golden.Blocky("class/image", []int{3, 24, 40}, 8, 1.5, 0.75)}
	for name, plan := range plans {
		if plan.Class != ClassUntouched {
			continue
		}
		plain, err := c.EncodePixels(ctx, p, Operate(Plan{Positions: plan.Positions}))
		require.NoError(t, err)
		got, err := c.EncodePixels(ctx, p, Operate(plan))
		require.NoError(t, err)
		golden.Close(t, name, got.Tokens.Data[:got.Tokens.Cols], plain.Tokens.Data[:got.Tokens.Cols], 2e-6)
	}
	plain, err := c.EncodePixels(ctx, p)
	require.NoError(t, err)
	same, err := c.EncodePixels(ctx, p, Operate(plans["nothing changed"]))
	require.NoError(t, err)
	golden.Close(t, "nothing changed", same.Tokens.Data, plain.Tokens.Data, 2e-6)
}

func TestPlanErrors(t *testing.T) {
	c := micro.model(t)
	p := Pixels{32, 32, make([]float32, 3*32*32)}
	nan := float32(math.NaN())
	attend := func(terms ...Term) Plan { return Plan{Blocks: 2, Attention: terms} }
	for _, plan := range []Plan{
		{Blocks: 6},
		{Blocks: -1},
		{Beside: true},
		{WithoutFFN: true},
		{Attention: []Term{{Query: V, Key: V}}},
		{Blocks: 1, Class: 7},
		{Positions: 9},
		attend(Term{}),
		attend(Term{Query: Q}),
		attend(Term{Query: Q, Key: 4}),
		attend(Term{Query: Q, Key: K, Iterations: 1}),
		attend(Term{Query: Q, Key: Q, Iterations: -1}),
		attend(Term{Query: Q, Key: Q, Iterations: 1 << 30}),
		attend(Term{Query: Q, Key: Q, Weight: nan}),
		attend(Term{Identity: true, Weight: nan}),
		attend(Term{Query: Q, Key: Q, Scale: -1}),
		attend(Term{Query: Q, Key: Q, Scale: nan}),
		attend(Term{Query: Q, Key: Q, Prior: Gaussian{-1}}),
		attend(Term{Query: Q, Key: Q, Before: -1}),
		attend(Term{Query: Q, Key: Q, Before: 4}),
	} {
		_, err := c.EncodePixels(context.Background(), p, Operate(plan))
		require.ErrorIs(t, err, ErrPlan, "%+v", plan)
	}
}
