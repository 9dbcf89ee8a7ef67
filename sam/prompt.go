package sam

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// ErrPrompt reports a meaningless prompt: coordinates that are not finite, an
// inverted box, an unknown label, or a mask of the wrong size.
var ErrPrompt = errors.New("prompt")

// promptEncoder turns points, boxes and masks into tokens and cells
// (segment_anything/modeling/prompt_encoder.py).
type promptEncoder struct {
	frequencies [2][]float32   // of x and y, width/2 each
	points      [4][]float32   // by kind
	notAPoint   []float32      // pads points that come without a box
	noMask      blas32.General // 1 × width
	masks       maskEncoder
	second      bool // SAM 2's: pictures are stretched, and a box has padding behind it
}

// maskEncoder brings a mask of four times the grid's resolution to the cells:
// 2×2 convolutions of stride 2, each with a layer norm and GELU after it, and
// a 1×1 convolution.
type maskEncoder struct {
	conv1, conv2, conv3 nn.Linear
	norm1, norm2        nn.LayerNorm
}

// Kinds of points, as the checkpoint numbers their embeddings: a point's own
// are its [Label].
const (
	firstCorner  = 2
	secondCorner = 3
	padding      = Label(-1) // the reference takes it as a point's label too
)

func loadPromptEncoder(l *loader, c *Config) *promptEncoder {
	p, w, mid := l.prompts(), c.PromptWidth, c.MaskChannels
	e := &promptEncoder{
		second:    l.second,
		notAPoint: l.Tensor(p+"not_a_point_embed.weight", 1, w),
		noMask:    l.Matrix(p+"no_mask_embed.weight", 1, w),
		masks: maskEncoder{
			conv1: l.patches(p+"mask_downscaling.0", mid/4, 1, 2),
			norm1: l.Norm(p+"mask_downscaling.1", mid/4, convNormEps),
			conv2: l.squares(p+"mask_downscaling.3", mid, mid/4),
			norm2: l.Norm(p+"mask_downscaling.4", mid, convNormEps),
			conv3: l.patches(p+"mask_downscaling.6", w, mid, 1),
		},
	}
	if l.second {
		if all := l.Tensor(p+"point_embeddings.weight", len(e.points), w); !l.Listing() {
			for i := range e.points {
				e.points[i] = all[i*w:][:w]
			}
		}
	} else {
		for i := range e.points {
			e.points[i] = l.Tensor(p+"point_embeddings."+strconv.Itoa(i)+".weight", 1, w)
		}
	}
	if both := l.Tensor(p+"pe_layer.positional_encoding_gaussian_matrix", 2, w/2); !l.Listing() {
		e.frequencies = [2][]float32{both[:w/2], both[w/2:]}
	}
	return e
}

// encode stores the position encoding of a place in dst: sines, then cosines,
// of 2π(2p-1)·G. x and y are fractions of the padded input.
func (e *promptEncoder) encode(dst []float32, x, y float32) {
	x, y = 2*x-1, 2*y-1
	n := len(dst) / 2
	for i := range n {
		// One rounded product and one fused multiply-add, as PyTorch's matrix
		// product has them: the sine of a large angle shows the difference.
		p := float32(float64(float32(x*e.frequencies[0][i])) + float64(y)*float64(e.frequencies[1][i]))
		sin, cos := math.Sincos(float64(float32(2*math.Pi) * p))
		dst[i], dst[n+i] = float32(sin), float32(cos)
	}
}

// positions is the encoding of the cells' centers, a row per cell.
func (e *promptEncoder) positions(t *simd.Team, grid int) blas32.General {
	width := 2 * len(e.frequencies[0])
	m := nn.Matrix(make([]float32, grid*grid*width), grid*grid, width)
	t.Do(grid, func(_, y int) {
		for x := range grid {
			e.encode(row(m, y*grid+x), (float32(x)+0.5)/float32(grid), (float32(y)+0.5)/float32(grid))
		}
	})
	return m
}

// check reports what is wrong with a prompt for masks of side × side logits.
func (p *Prompt) check(side int) error {
	for i, q := range p.Points {
		if !nn.Finite(q.X) || !nn.Finite(q.Y) {
			return fmt.Errorf("%w: point %d at (%v, %v)", ErrPrompt, i, q.X, q.Y)
		}
		if q.Label != Foreground && q.Label != Background && q.Label != padding {
			return fmt.Errorf("%w: point %d has label %d", ErrPrompt, i, q.Label)
		}
	}
	if b := p.Box; b != nil {
		if !nn.Finite(b.X0) || !nn.Finite(b.Y0) || !nn.Finite(b.X1) || !nn.Finite(b.Y1) {
			return fmt.Errorf("%w: box (%v, %v)-(%v, %v)", ErrPrompt, b.X0, b.Y0, b.X1, b.Y1)
		}
		if b.X1 < b.X0 || b.Y1 < b.Y0 {
			return fmt.Errorf("%w: inverted box (%v, %v)-(%v, %v)", ErrPrompt, b.X0, b.Y0, b.X1, b.Y1)
		}
	}
	if m := p.Mask; m != nil {
		if m.Width != side || m.Height != side || len(m.Data) != side*side {
			return fmt.Errorf("%w: mask of %d×%d with %d values, want %d×%d logits of an earlier result", ErrPrompt, m.Width, m.Height, len(m.Data), side, side)
		}
		for i, v := range m.Data {
			if !nn.Finite(v) {
				return fmt.Errorf("%w: mask is %v at (%d, %d)", ErrPrompt, v, i%side, i/side)
			}
		}
	}
	return nil
}

// tokens is the number of tokens that a prompt becomes.
func (e *promptEncoder) tokens(p *Prompt) int {
	n := len(p.Points)
	if p.Box != nil {
		n += 2
	}
	if n > 0 && (e.second || p.Box == nil) {
		n++ // padding
	}
	return n
}

// place brings a coordinate of the picture to the side × side input, whose
// picture has input of original pixels in this direction.
func (e *promptEncoder) place(x float32, original, input, side int) float32 {
	if e.second { // in float32, as the reference does
		return x / float32(original) * float32(side)
	}
	return float32(float64(x) * (float64(input) / float64(original)))
}

// embed stores the tokens of a prompt on a picture in the rows of dst.
func (e *promptEncoder) embed(dst blas32.General, p *Prompt, picture *Embedding) {
	i, side := 0, picture.side
	put := func(x, y float32, kind int) {
		to := row(dst, i)
		i++
		if kind < 0 {
			copy(to, e.notAPoint)
			return
		}
		x = e.place(x, picture.original.X, picture.input.X, side)
		y = e.place(y, picture.original.Y, picture.input.Y, side)
		e.encode(to, (x+0.5)/float32(side), (y+0.5)/float32(side))
		for c, v := range e.points[kind] {
			to[c] += v
		}
	}
	box := func() {
		if b := p.Box; b != nil {
			put(b.X0, b.Y0, firstCorner)
			put(b.X1, b.Y1, secondCorner)
		}
	}
	if e.second {
		box()
	}
	for _, q := range p.Points {
		put(q.X, q.Y, int(q.Label))
	}
	if !e.second {
		box()
	}
	if i < dst.Rows {
		put(0, 0, int(padding))
	}
}

// apply returns the dense prompt of a mask of 4·grid × 4·grid logits, a row per
// cell, cut from the call's workspace.
func (m *maskEncoder) apply(r *nn.Call, mask []float32, grid int) blas32.General {
	dst := r.Matrix(grid*grid, m.conv3.Weight.N())
	mark := r.Mark()
	defer r.Release(mark)
	squares := func(src blas32.General, side int) blas32.General {
		out := r.Matrix(side*side/4, 4*src.Cols)
		for i := range out.Rows {
			y, x := i/(side/2)*2, i%(side/2)*2
			for j := range 4 {
				copy(row(out, i)[j*src.Cols:], row(src, (y+j/2)*side+x+j%2))
			}
		}
		return out
	}
	half := r.Matrix(4*grid*grid, m.conv1.Weight.N())
	m.conv1.Apply(r.Exec, half, squares(nn.Matrix(mask, len(mask), 1), 4*grid), simd.Identity)
	m.norm1.Apply(r.Exec, half, half)
	r.Kernel.Activate(simd.GELU, half.Data)
	cells := r.Matrix(grid*grid, m.conv2.Weight.N())
	m.conv2.Apply(r.Exec, cells, squares(half, 2*grid), simd.Identity)
	m.norm2.Apply(r.Exec, cells, cells)
	r.Kernel.Activate(simd.GELU, cells.Data)
	m.conv3.Apply(r.Exec, dst, cells, simd.Identity)
	return dst
}

// certain is the logit of a probability of 0.999, which a converted mask has
// where it is sure.
const certain = float32(6.906755) // ln 999

// MaskPrompt converts a mask of the embedding's picture to a mask prompt: for
// every pixel of the low resolution, the logit of the fraction that the mask
// covers, between 0.001 and 0.999. A mask of another size is [ErrPrompt].
func (e *Embedding) MaskPrompt(m Mask) (*LowRes, error) {
	if err := e.ready(); err != nil {
		return nil, err
	}
	if m.Size != e.original {
		return nil, fmt.Errorf("sam: %w: mask of %v, the picture has %v", ErrPrompt, m.Size, e.original)
	}
	side := 4 * e.grid
	low := &LowRes{Width: side, Height: side, Data: make([]float32, side*side)}
	a := m.Alpha()
	columns, rows := e.spans(side, e.input.X, e.original.X), e.spans(side, e.input.Y, e.original.Y)
	for y := range side {
		for x := range side {
			set, all := 0, 0
			for py := rows[y].lo; py < rows[y].hi; py++ {
				for _, v := range a.Pix[py*a.Stride:][columns[x].lo:columns[x].hi] {
					all++
					if v > 127 {
						set++
					}
				}
			}
			share := float64(set) / float64(max(all, 1)) // nothing of the padding
			logit := float32(math.Log(share / (1 - share)))
			low.Data[y*side+x] = min(max(logit, -certain), certain)
		}
	}
	return low, nil
}

// span is pixels lo to hi, hi not included.
type span struct{ lo, hi int }

// spans is the pixels of the picture, original of them in one direction, that
// each of side steps across the padded input covers, at least one unless it
// lies in the padding.
func (e *Embedding) spans(side, input, original int) []span {
	all := make([]span, side)
	per := float64(e.side) / float64(side) * float64(original) / float64(input)
	for i := range all {
		lo := int(per * float64(i))
		all[i] = span{min(lo, original), min(max(int(per*float64(i+1)), lo+1), original)}
	}
	return all
}
