package sam

import (
	"bytes"
	"testing"
	"testing/fstest"

	"github.com/clipsurgery/clipsurgery/internal/hostile"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// microHiera is [micro] with SAM 2's encoder.
func microHiera() Config {
	c := micro()
	c.ViT, c.ImageSize, c.PatchSize, c.IoUDepth = nil, hieraSide, hieraCell, 3
	c.Hiera = &HieraConfig{
		Widths: [4]int{4, 8, 16, 32}, Blocks: [4]int{1, 1, 2, 1}, Heads: [4]int{1, 2, 4, 8}, Windows: [4]int{8, 4, 2, 1},
		Globals: []int{3}, Background: 3, Eps: 1e-6,
	}
	return c
}

func (c *Config) hieraOptions() []Option {
	h := c.Hiera
	return []Option{Heads(h.Heads), Windows(h.Windows), GlobalBlocks(h.Globals...), InputSize(64), DecoderHeads(c.DecoderHeads)}
}

// TestMicroHiera: what the fuzz targets start from is a model that answers.
func TestMicroHiera(t *testing.T) {
	c := microHiera()
	m, err := Load(procedural(t, c), c.hieraOptions()...)
	require.NoError(t, err)
	require.Equal(t, c, m.Config())
	use(t, procedural(t, c), c.hieraOptions()...)
}

// FuzzHieraShapes changes the tensors of a small SAM 2, each by itself.
func FuzzHieraShapes(f *testing.F) {
	c := microHiera()
	tensors := c.published()
	hostile.Add(f, len(tensors))
	f.Fuzz(func(t *testing.T, changes []byte) { use(t, hostile.File(t, tensors, changes), c.hieraOptions()...) })
}

// FuzzHieraSizes changes the sizes and settings of a small SAM 2 and makes all of
// its tensors to match.
func FuzzHieraSizes(f *testing.F) {
	sizes := func(c *Config) []*int {
		h := c.Hiera
		all := []*int{
			&c.PromptWidth, &c.MaskChannels, &c.Masks, &c.DecoderDepth, &c.DecoderHeads, &c.DecoderHidden, &c.CrossWidth,
			&c.IoUHidden, &h.Globals[0], &h.Background,
		}
		for s := range h.Blocks {
			all = append(all, &h.Blocks[s], &h.Heads[s], &h.Windows[s])
		}
		return all
	}
	f.Add([]byte{})
	for i := range byte(len(sizes(&Config{Hiera: &HieraConfig{Globals: []int{0}}}))) {
		for _, value := range []byte{0, 1, 2, 3, 7, 16, 39} {
			f.Add([]byte{i, value})
		}
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		c := microHiera()
		all := sizes(&c)
		for ; len(changes) >= 2; changes = changes[2:] {
			*all[int(changes[0])%len(all)] = int(changes[1]) % 40
		}
		use(t, hostile.File(t, c.published(), nil), c.hieraOptions()...)
	})
}

// FuzzHieraConfig puts anything beside the weights of a small SAM 2.
func FuzzHieraConfig(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, weights.Write(f.Context(), &b, procedural(f, microHiera()), weights.F32))
	for _, config := range []string{
		`{"vision_config":{"backbone_config":{"num_attention_heads_per_stage":[1,2,4,8],"window_size_per_stage":[8,4,2,1],"global_attention_blocks":[3],"image_size":[64,64]}},"prompt_encoder_config":{"image_size":64}}`,
		`{"vision_config":{"backbone_config":{"num_attention_heads_per_stage":[0,0,0,0],"window_size_per_stage":[8,4,2,9223372036854775807]}}}`,
		`{"vision_config":{"backbone_config":{"num_attention_heads_per_stage":[1,2,4,8],"window_size_per_stage":[8,4,2,1],"global_attention_blocks":[-1,0,4]}}}`,
		`{"vision_config":{"backbone_config":{"image_size":[]}},"prompt_encoder_config":{"image_size":-32}}`,
		`{"vision_config":[]}`, `{"vision_config":{"backbone_config":3}}`, `[]`,
	} {
		f.Add([]byte(config))
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		file, err := weights.OpenFS(fstest.MapFS{"model.safetensors": {Data: b.Bytes()}, "config.json": {Data: config}}, ".")
		require.NoError(t, err)
		use(t, file)
	})
}
