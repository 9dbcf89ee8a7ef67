package sam

import (
	"context"
	"encoding/json"
	"image"
	"image/color"
	"runtime"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// architecture is how the fixtures describe a model.
type architecture struct {
	Name         string `json:"name"`
	ImageSize    int    `json:"img_size"`
	PatchSize    int    `json:"patch_size"`
	Width        int    `json:"embed_dim"`
	Depth        int    `json:"depth"`
	Heads        any    `json:"num_heads"` // TinyViT has one per stage
	Window       int    `json:"window_size"`
	Globals      []int  `json:"global_attn_indexes"`
	Widths       [4]int `json:"embed_dims"`
	Depths       [4]int `json:"depths"`
	Out          int    `json:"out_chans"`
	MaskChannels int    `json:"mask_in_chans"`
	DecoderHeads int    `json:"decoder_heads"`
	DecoderMLP   int    `json:"decoder_mlp"`
	IoUHidden    int    `json:"iou_head_hidden"`
}

func (a architecture) config() Config {
	c := Config{
		ImageSize: a.ImageSize, PatchSize: a.PatchSize, PromptWidth: a.Out, MaskChannels: a.MaskChannels,
		Masks: 4, DecoderDepth: 2, DecoderHeads: 8, DecoderHidden: 2048, DecoderEps: 1e-5, CrossWidth: a.Out / 2,
		IoUDepth: 3, IoUHidden: 256,
	}
	if a.DecoderHeads != 0 {
		c.DecoderHeads, c.DecoderHidden = a.DecoderHeads, a.DecoderMLP
	}
	if a.IoUHidden != 0 {
		c.IoUHidden = a.IoUHidden
	}
	if a.Widths[0] != 0 {
		c.PatchSize, c.Tiny = tinyPatch, &TinyViTConfig{Widths: a.Widths, Depths: a.Depths}
		return c
	}
	c.ViT = &ViTConfig{Width: a.Width, Depth: a.Depth, Heads: int(a.Heads.(float64)), Hidden: 4 * a.Width, Eps: 1e-6}
	for range a.Depth {
		c.ViT.Windows = append(c.ViT.Windows, a.Window)
		c.ViT.Tables = append(c.ViT.Tables, 2*a.Window-1)
	}
	for _, i := range a.Globals {
		c.ViT.Windows[i], c.ViT.Tables[i] = 0, 2*c.Grid()-1
	}
	return c
}

// checkpoint is the tensors of an architecture, with the values that read
// supplies.
func checkpoint(t testing.TB, c Config, read func(dst []float32, name string, shape []int)) *weights.File {
	tensors, shapes := c.published(), map[string][]int{}
	for _, w := range tensors {
		shapes[w.Name] = w.Shape
	}
	f, err := weights.FromFunc(tensors, func(name string, dst []float32) error {
		read(dst, name, shapes[name])
		return nil
	})
	require.NoError(t, err)
	return f
}

// procedural is the checkpoint of an architecture with procedural weights.
func procedural(t testing.TB, c Config) *weights.File {
	return checkpoint(t, c, func(dst []float32, name string, shape []int) { golden.WeightInto(dst, name, "", shape) })
}

// fixtureModel loads the model of a fixture.
func fixtureModel(t testing.TB, f *golden.Fixture, opts ...Option) *Model {
	var a architecture
	f.Arch(t, &a)
	c := a.config()
	m, err := Load(procedural(t, c), append([]Option{DecoderHeads(c.DecoderHeads)}, opts...)...)
	require.NoError(t, err)
	require.Equal(t, c, m.Config(), "the architecture that the shapes show")
	return m
}

// picture is an input of 8-bit RGB as an image.
func picture(x golden.Tensor) image.Image {
	h, w := x.Shape[0], x.Shape[1]
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		img.SetNRGBA(i%w, i/w, color.NRGBA{x.U8[3*i], x.U8[3*i+1], x.U8[3*i+2], 255})
	}
	return img
}

// channelsFirst is m, a row of channels per cell, as PyTorch has it.
func channelsFirst(m blas32.General) []float32 {
	out := make([]float32, m.Rows*m.Cols)
	for i := range m.Rows {
		for c, v := range row(m, i) {
			out[c*m.Rows+i] = v
		}
	}
	return out
}

// fixturePrompt is one of a fixture's prompts.
type fixturePrompt struct {
	Name   string          `json:"name"`
	Points [][2]float32    `json:"points"`
	Labels []int           `json:"labels"`
	Box    *[4]float32     `json:"box"`
	Multi  bool            `json:"multimask"`
	Mask   json.RawMessage `json:"mask_input"`
}

func (p fixturePrompt) prompt(t testing.TB) Prompt {
	out := Prompt{Single: !p.Multi}
	for i, xy := range p.Points {
		out.Points = append(out.Points, Point{X: xy[0], Y: xy[1], Label: Label(p.Labels[i])})
	}
	if p.Box != nil {
		out.Box = &Box{p.Box[0], p.Box[1], p.Box[2], p.Box[3]}
	}
	if p.Mask != nil {
		var in struct {
			Procedural struct {
				Name   string  `json:"name"`
				Shape  []int   `json:"shape"`
				Cell   int     `json:"cell"`
				BBlock float32 `json:"b_block"`
				BNoise float32 `json:"b_noise"`
			} `json:"procedural"`
		}
		require.NoError(t, json.Unmarshal(p.Mask, &in))
		q := in.Procedural
		if q.Shape == nil {
			return out // the mask of an earlier result
		}
		out.Mask = &LowRes{Width: q.Shape[2], Height: q.Shape[1], Data: golden.Blocky(q.Name, q.Shape, q.Cell, q.BBlock, q.BNoise)}
	}
	return out
}

// call is what tests of single layers compute with, beside the model's workers.
func (m *Model) call(t testing.TB) *nn.Call {
	team := simd.NewTeam(runtime.GOMAXPROCS(0))
	t.Cleanup(team.Close)
	return &nn.Call{Exec: nn.Exec{Kernel: m.kernel, Team: team}, Workspace: new(nn.Workspace), Context: context.Background()}
}
