package sam

import (
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
)

// TestHieraFormats: the same small SAM 2 as Meta and as Hugging Face publish it
// gives the same answers.
func TestHieraFormats(t *testing.T) {
	f := golden.Load(t, "sam2/formats_expected.safetensors")
	var a hieraArchitecture
	f.Arch(t, &a)
	c := a.config()
	meta := []Option{Heads(c.Hiera.Heads), Windows(c.Hiera.Windows), GlobalBlocks(c.Hiera.Globals...), InputSize(a.ImageSize)}
	for _, file := range []struct {
		name string
		opts []Option
	}{{"sam2_tiny.pt", meta}, {"sam2_hf", nil}, {"sam2_hf_video", nil}} {
		t.Run(file.name, func(t *testing.T) {
			m, err := Open(filepath.Join(golden.Root(t), "sam2", "formats", file.name), file.opts...)
			require.NoError(t, err)
			got := m.Config()
			require.Equal(t, c.Hiera, got.Hiera)
			e, err := m.Encode(t.Context(), picture(f.Input(t, "image")))
			require.NoError(t, err)
			f.Check(t, "image_embedding", channelsFirst(e.features))
			f.Check(t, "high_res0", channelsFirst(e.fine[0]))
			f.Check(t, "high_res1", channelsFirst(e.fine[1]))

			var points [][2]float32
			var labels []int
			var box [4]float32
			f.Value(t, "points", &points)
			f.Value(t, "labels", &labels)
			f.Value(t, "box", &box)
			mask := f.Input(t, "mask")
			clicks := fixturePrompt{Points: points, Labels: labels, Multi: true}.prompt(t)
			single := clicks
			single.Single = true
			low := &LowRes{Width: mask.Shape[2], Height: mask.Shape[1], Data: mask.F32}
			for name, prompt := range map[string]Prompt{
				"points": clicks, "single": single,
				"box":  {Box: &Box{box[0], box[1], box[2], box[3]}},
				"mask": {Points: clicks.Points, Mask: low},
			} {
				results, err := m.Predict(t.Context(), e, []Prompt{prompt})
				require.NoError(t, err)
				checkResult(t, f, name+".", results[0])
				f.Check(t, name+".object_score", []float32{results[0].ObjectLogit})
			}
		})
	}
	_, err := Open(filepath.Join(golden.Root(t), "sam2", "formats", "sam2_tiny.pt"))
	require.ErrorIs(t, err, ErrConfig)
	require.ErrorContains(t, err, "GlobalBlocks")
}
