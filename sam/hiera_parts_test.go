package sam

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"sync"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tinyHiera is the small model of the fixtures.
func tinyHiera(t testing.TB, opts ...Option) *Model {
	return hieraModel(t, golden.Load(t, "sam2/tiny_square.safetensors"), opts...)
}

func TestHieraPreprocess(t *testing.T) {
	f := golden.Load(t, "sam2/preprocess.safetensors")
	m := tinyHiera(t)
	var pictures []struct {
		Name string `json:"name"`
		HW   [2]int `json:"hw"`
		Size int    `json:"size"`
	}
	f.Value(t, "pictures", &pictures)
	for _, p := range pictures {
		h, w := p.HW[0], p.HW[1]
		img := picture(golden.Tensor{Shape: []int{h, w, 3}, U8: golden.U8Image(p.Name, h, w, 16, 80, 24)})
		got, err := stretched(t.Context(), img, p.Size, nil, func(n int) []float32 { return make([]float32, n) })
		require.NoError(t, err)
		f.Check(t, fmt.Sprintf("%dx%dto%d", h, w, p.Size), got.Data, golden.Fraction(0.4))
	}
	points := f.Input(t, "points")
	var got []float32
	for i := 0; i < len(points.F32); i += 2 {
		got = append(got, m.prompts.place(points.F32[i], 523, 0, 1024), m.prompts.place(points.F32[i+1], 377, 0, 1024))
	}
	f.Check(t, "coords", got)
}

func TestHieraPositions(t *testing.T) {
	f := golden.Load(t, "sam2/pos_embed.safetensors")
	var cases []struct {
		Case string `json:"case"`
		Bkg  struct {
			Name  string
			Shape []int
			B     float32
		}
		Window struct {
			Name  string
			Shape []int
			B     float32
		}
		Grid [2]int `json:"grid"`
	}
	f.Value(t, "cases", &cases)
	for _, c := range cases {
		if c.Grid[0] != c.Grid[1] {
			continue // inputs are squares
		}
		square := func(name string, shape []int, b float32) table {
			stored := golden.Procedural(name, shape, 0, b)
			width, side := shape[1], shape[2]
			out := table{side, make([]float32, len(stored))}
			for ch := range width {
				for i := range side * side {
					out.values[i*width+ch] = stored[ch*side*side+i]
				}
			}
			return out
		}
		width := c.Bkg.Shape[1]
		h := &hiera{
			background: square(c.Bkg.Name, c.Bkg.Shape, c.Bkg.B), window: square(c.Window.Name, c.Window.Shape, c.Window.B),
			patch: nn.Linear{Weight: simd.Pack(simd.Kernel{}, nn.Matrix(make([]float32, width*147), width, 147))},
		}
		f.Check(t, c.Case, h.positions(c.Grid[0]).Data, golden.Fraction(0.15)) // two units in the last place
	}
}

// TestStableSingle: the choice of the single mask, ties and thresholds included.
func TestStableSingle(t *testing.T) {
	f := golden.Load(t, "sam2/dynamic_multimask.safetensors")
	logits, iou := f.Input(t, "logits"), f.Input(t, "iou")
	n, masks := logits.Shape[0], logits.Shape[1]
	per := len(logits.F32) / n
	var chosen, quality []float32
	for i := range n {
		low := lowResult{0, logits.F32[i*per:][:per], iou.F32[i*masks:][:masks], 0}.single()
		chosen, quality = append(chosen, low.logits...), append(quality, low.iou...)
	}
	f.Check(t, "masks", chosen)
	f.Check(t, "iou", quality)
}

// TestHieraPostprocess: low-resolution logits of any picture, with and without
// small regions.
func TestHieraPostprocess(t *testing.T) {
	f := golden.Load(t, "sam2/postprocess.safetensors")
	logits := f.Input(t, "logits")
	side := logits.Shape[2]
	for _, size := range []image.Point{{91, 57}, {31, 200}} {
		up := newUpsampler(side, side, image.Pt(side, side), size)
		for _, area := range []int{0, 4, 8} {
			var got []float32
			for at := 0; at < len(logits.F32); at += side * side {
				low := logits.F32[at:][:side*side]
				if area > 0 {
					low = cleaned(low, side, area)
				}
				got = append(got, up.logits(nn.Exec{Kernel: simd.Best()}, low)...)
			}
			name := fmt.Sprintf("plain_%dx%d", size.Y, size.X)
			if area > 0 {
				name = fmt.Sprintf("clean_%dx%d_%d", size.Y, size.X, area)
			}
			f.Check(t, name, got)
		}
	}
}

// TestHieraBatches: prompts of one kind together give what the reference's batches
// give.
func TestHieraBatches(t *testing.T) {
	f := golden.Load(t, "sam2/tiny_batch_prompts.safetensors")
	m := hieraModel(t, f)
	e, err := m.Encode(t.Context(), picture(f.Input(t, "image")))
	require.NoError(t, err)
	var cases map[string]struct {
		Points    string          `json:"point_coords"`
		Labels    json.RawMessage `json:"point_labels"`
		Box       string          `json:"box"`
		Mask      string          `json:"mask_input"`
		Multi     bool            `json:"multimask_output"`
		Normalize *bool           `json:"normalize_coords"`
	}
	f.Value(t, "cases", &cases)
	for name, c := range cases {
		if c.Normalize != nil {
			continue // ours are always pixels
		}
		n := 3
		if name == "outside" {
			n = 1
		}
		prompts := make([]Prompt, n)
		for i := range prompts {
			p := &prompts[i]
			p.Single = !c.Multi
			if c.Points != "" {
				points := f.Input(t, c.Points)
				per := len(points.F32) / n / 2
				for j := range per {
					label := Foreground
					if string(c.Labels) == `"labels"` {
						label = Label(f.Input(t, "labels").I32[i*per+j])
					}
					p.Points = append(p.Points, Point{points.F32[2*(i*per+j)], points.F32[2*(i*per+j)+1], label})
				}
			}
			if c.Box != "" {
				b := f.Input(t, "boxes").F32[4*i:]
				p.Box = &Box{b[0], b[1], b[2], b[3]}
			}
			if c.Mask != "" {
				masks := f.Input(t, "masks")
				side := masks.Shape[2]
				p.Mask = &LowRes{side, side, masks.F32[i*side*side:][:side*side]}
			}
		}
		results, err := m.Predict(t.Context(), e, prompts)
		require.NoError(t, err)
		checkResult(t, f, name+".", results...)
	}
}

// TestHieraEmbedding: a saved embedding is the same, fine features and all, and
// does not fit a model of the other kind.
func TestHieraEmbedding(t *testing.T) {
	m := tinyHiera(t)
	e, err := m.Encode(t.Context(), image.NewGray(image.Rect(0, 0, 50, 30)))
	require.NoError(t, err)
	var b bytes.Buffer
	n, err := e.WriteTo(&b)
	require.NoError(t, err)
	require.EqualValues(t, b.Len(), n)
	data := b.Bytes()
	again, err := ReadEmbedding(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, e.features, again.features)
	require.Equal(t, e.fine, again.fine)
	want, err := m.Predict(t.Context(), e, []Prompt{Clicks([]image.Point{{20, 20}}, nil)})
	require.NoError(t, err)
	got, err := m.Predict(t.Context(), again, []Prompt{Clicks([]image.Point{{20, 20}}, nil)})
	require.NoError(t, err)
	require.Equal(t, want[0].Masks, got[0].Masks)

	for i := 0; i < len(data); i += 997 {
		damaged := bytes.Clone(data)
		damaged[i] ^= 1
		_, err := ReadEmbedding(bytes.NewReader(damaged))
		require.ErrorIs(t, err, ErrEmbedding, "byte %d", i)
		_, err = ReadEmbedding(bytes.NewReader(data[:i]))
		require.ErrorIs(t, err, ErrEmbedding, "%d bytes", i)
	}
	first, _ := tiny(t)
	_, err = first.Predict(t.Context(), e, []Prompt{{}})
	require.ErrorIs(t, err, ErrEmbedding)
	one, err := first.Encode(t.Context(), image.NewGray(image.Rect(0, 0, 9, 9)))
	require.NoError(t, err)
	_, err = m.Predict(t.Context(), one, []Prompt{{}})
	require.ErrorIs(t, err, ErrEmbedding)
	_, err = m.Everything(t.Context(), image.NewGray(image.Rect(0, 0, 40, 30)), PointsPerSide(2), CropLayers(1))
	require.NoError(t, err)
}

// TestHieraOptions: options of the encoder, the object score and the rule of
// single masks.
func TestHieraOptions(t *testing.T) {
	m := tinyHiera(t)
	img := image.NewGray(image.Rect(0, 0, 64, 48))
	small, err := m.Encode(t.Context(), img, InputSize(100))
	require.NoError(t, err)
	require.Equal(t, image.Pt(6, 6), small.Grid(), "96 pixels, whole cells of all stages")
	_, err = m.Encode(t.Context(), img, InputSize(31))
	require.ErrorIs(t, err, ErrSize)
	e, err := m.Encode(t.Context(), img)
	require.NoError(t, err)
	prompt := Prompt{Points: []Point{{30, 20, Foreground}}, Single: true}
	always, err := m.Predict(t.Context(), e, []Prompt{prompt}, StableSingle(false))
	require.NoError(t, err)
	require.Len(t, always[0].Masks, 1)
	require.True(t, nn.Finite(always[0].ObjectLogit))
	c := m.Config()
	for name, o := range map[string]Option{
		"heads":         Heads([4]int{1, 2, 4, 7}),
		"no heads":      Heads([4]int{}),
		"odd windows":   Windows([4]int{8, 4, 5, 3}),
		"global begins": GlobalBlocks(1),
		"beyond":        GlobalBlocks(9),
	} {
		_, err := Load(procedural(t, c), Heads(c.Hiera.Heads), Windows(c.Hiera.Windows), GlobalBlocks(c.Hiera.Globals...), o)
		require.ErrorIs(t, err, ErrConfig, name)
	}
	_, err = m.EncodePixels(t.Context(), Pixels{128, 96, make([]float32, 3*128*96)}, image.Pt(128, 96))
	require.ErrorIs(t, err, ErrSize)
	p, err := m.Preprocess(img)
	require.NoError(t, err)
	same, err := m.EncodePixels(t.Context(), p, image.Pt(64, 48))
	require.NoError(t, err)
	require.Equal(t, e.features, same.features)

	old, _ := tiny(t)
	one, err := old.Encode(t.Context(), img)
	require.NoError(t, err)
	results, err := old.Predict(t.Context(), one, []Prompt{prompt}, StableSingle(true))
	require.NoError(t, err)
	require.False(t, nn.Finite(results[0].ObjectLogit))
}

func TestHieraScratchShrinks(t *testing.T) {
	c := microHiera()
	m, err := Load(procedural(t, c), c.hieraOptions()...)
	require.NoError(t, err)
	// The blocks that attention keeps for each worker are of bounded size; the
	// largest call needs some 10 MB.
	scratchShrinks(t, m, 32, 3<<20)
}

// TestHieraConcurrently: calls of several goroutines, with inputs of several
// sizes, give what each gives alone.
func TestHieraConcurrently(t *testing.T) {
	c := microHiera()
	m, err := Load(procedural(t, c), c.hieraOptions()...)
	require.NoError(t, err)
	img := picture(golden.Load(t, "sam2/tiny_square.safetensors").Input(t, "image"))
	answer := func(side int) ([]float32, error) {
		e, err := m.Encode(t.Context(), img, InputSize(side))
		if err != nil {
			return nil, err
		}
		r, err := m.Predict(t.Context(), e, []Prompt{{Points: []Point{{3, 4, Foreground}}}})
		if err != nil {
			return nil, err
		}
		return r[0].Logits(0), nil
	}
	sides := []int{64, 96, 128}
	want := make([][]float32, len(sides))
	for i, side := range sides {
		want[i], err = answer(side)
		require.NoError(t, err)
	}
	var group sync.WaitGroup
	for i, side := range sides {
		for range 2 {
			group.Go(func() {
				for range 3 {
					got, err := answer(side)
					assert.NoError(t, err)
					assert.Equal(t, want[i], got)
				}
			})
		}
	}
	group.Wait()
}
