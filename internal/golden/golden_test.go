package golden

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHash(t *testing.T) {
	require.Equal(t, uint64(0xe71fa2190541574b), fnv1a("abc"))
	require.Equal(t, []float32{-0.672754765, -0.426031947, -0.981927514, 0.259564996, -0.277916908},
		Procedural("abc", []int{5}, 0, 1))
}

// The check vectors of testdata/golden/README.md, one for each rule.
func TestWeightRules(t *testing.T) {
	for _, c := range []struct {
		key   string
		shape []int
		index int
		bits  uint32
	}{
		{"logit_scale", nil, 0, 0x40935dcc},
		{"visual.layer1.0.bn1.running_mean", []int{64}, 63, 0xbccd0e47},
		{"visual.layer1.0.bn1.running_var", []int{64}, 32, 0x3f88f58a},
		{"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", []int{2, 128}, 255, 0xbf0d4312},
		{"image_encoder.blocks.0.attn.rel_pos_h", []int{27, 64}, 1727, 0x3e0b8e78},
		{"image_encoder.layers.1.blocks.0.attn.attention_biases", []int{4, 49}, 195, 0x3ecb6fe8},
		{"visual.class_embedding", []int{768}, 767, 0xbe587f80},
		{"visual.positional_embedding", []int{197, 768}, 151295, 0x3efb5d30},
		{"visual.attnpool.positional_embedding", []int{50, 2048}, 102399, 0xbf52a72e},
		{"positional_embedding", []int{77, 512}, 39423, 0xbe739b30},
		{"token_embedding.weight", []int{49408, 512}, 25296895, 0x3ecdf6fc},
		{"image_encoder.pos_embed", []int{1, 64, 64, 768}, 3145727, 0x3defada0},
		{"prompt_encoder.point_embeddings.2.weight", []int{1, 256}, 255, 0x3f4ce3bc},
		{"mask_decoder.mask_tokens.weight", []int{4, 256}, 1023, 0xbf0e50fa},
		{"visual.layer1.0.bn3.weight", []int{256}, 255, 0x3e1fc729},
		{"visual.layer1.0.bn3.bias", []int{256}, 255, 0xbdbe87bf},
		{"visual.layer1.0.downsample.1.bias", []int{256}, 255, 0x3ec31ea9},
		{"visual.attnpool.q_proj.weight", []int{2048, 2048}, 4194303, 0x3c71c39d},
		{"visual.attnpool.c_proj.weight", []int{1024, 2048}, 2097151, 0xbb8bdca7},
		{"visual.ln_post.weight", []int{768}, 767, 0x3f73e921},
		{"visual.ln_post.bias", []int{768}, 767, 0x3d46605f},
		{"visual.transformer.resblocks.0.attn.in_proj_bias", []int{2304}, 2303, 0x3ca67e27},
		{"visual.proj", []int{768, 512}, 393215, 0xbc6e7ae8},
		{"text_projection", []int{512, 512}, 262143, 0xbc51575b},
		{"mask_decoder.output_upscaling.0.weight", []int{256, 64, 2, 2}, 65535, 0x3d466304},
		{"visual.layer2.0.conv2.weight", []int{128, 128, 3, 3}, 147455, 0xbd7f9b9e},
		{"visual.conv1.weight", []int{32, 3, 3, 3}, 863, 0x3eaa0193},
		{"image_encoder.patch_embed.seq.0.c.weight", []int{32, 3, 3, 3}, 863, 0x3ee2ac6e},
		{"visual.conv1.weight", []int{768, 3, 16, 16}, 589823, 0x3d7860e0},
		{"image_encoder.neck.2.weight", []int{256, 256, 3, 3}, 589823, 0x3d1032d1},
		{"mask_decoder.iou_prediction_head.layers.0.weight", []int{256, 256}, 65535, 0xbe1bd01b},
		{"visual.transformer.resblocks.0.attn.out_proj.weight", []int{768, 768}, 589823, 0xbc82e904},
		{"image_encoder.blocks.0.attn.qkv.weight", []int{2304, 768}, 1769471, 0xbc3a1228},
	} {
		got := Weight(c.key, "", c.shape)[c.index]
		require.Equalf(t, c.bits, math.Float32bits(got), "%s %v [%d]: %v", c.key, c.shape, c.index, got)
	}
}

func TestInputs(t *testing.T) {
	require.Equal(t, []float32{0.69893533, -0.425803721, 0.286459833}, Blocky("input/image", []int{1, 3, 64, 64}, 16, 1.5, 0.75)[:3])
	img := U8Image("input/sam/square256", 256, 256, 32, 80, 24)
	require.Equal(t, []byte{62, 175, 155, 92, 153, 180}, img[:6])
	require.Equal(t, []byte{178, 118, 85}, img[len(img)-3:])
}

func TestOverrides(t *testing.T) {
	zero := 0
	w := []float32{1, 2, 3, 4}
	Override{Op: "fill_index", Index: []*int{nil, &zero}, Value: 9}.apply(w, []int{2, 2})
	require.Equal(t, []float32{9, 2, 9, 4}, w)
	Override{Op: "tie_taps"}.apply(w, []int{1, 2, 1, 2})
	require.Equal(t, []float32{9, 9, 9, 9}, w)
}

// A check must be able to fail.
func TestCheckFails(t *testing.T) {
	f := Load(t, "surgery_ops/similarity_map_b1_s7_t4_5x3.safetensors")
	stored, ok := f.Stored("out.map")
	require.True(t, ok)
	f.Check(t, "map", stored.F32)

	wrong := append([]float32(nil), stored.F32...)
	wrong[7] += 2e-6 // within the tolerance of 5e-6, above its tenth
	spy := &recorder{TB: t}
	f.Check(spy, "map", wrong)
	require.True(t, spy.failed)
	spy = &recorder{TB: t}
	f.Check(spy, "map", wrong, Fraction(0.5))
	require.False(t, spy.failed)
	wrong[3] = float32(math.NaN())
	spy = &recorder{TB: t}
	f.Check(spy, "map", wrong, Fraction(1))
	require.True(t, spy.failed)
	spy = &recorder{TB: t}
	Close(spy, "x", []float32{1}, []float32{2}, 0.5)
	require.True(t, spy.failed)
}

type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
