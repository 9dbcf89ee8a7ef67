package untrained

import (
	"fmt"
	"slices"

	"github.com/clipsurgery/clipsurgery/weights"
)

// SAMViTBFlops counts the multiplications and additions of the ViT-B image
// encoder for 1024×1024 pixels.
const SAMViTBFlops = 976e9

// SAMViTB is the checkpoint of Segment Anything's ViT-B, with Meta's names,
// cut to so many of its 12 blocks: the decoder costs the same behind any.
func SAMViTB(blocks int) (*weights.File, error) {
	const width, dim, prompt, side = 768, 64, 256, 64
	var l list
	const e = "image_encoder."
	l.layer(e+"patch_embed.proj", width, 3, 16, 16)
	l.add(e+"pos_embed", 1, side, side, width)
	for i := range blocks {
		b := fmt.Sprintf("%sblocks.%d.", e, i)
		table := 2*14 - 1
		if slices.Contains([]int{2, 5, 8, 11}, i) {
			table = 2*side - 1
		}
		l.layer(b+"norm1", width)
		l.layer(b+"attn.qkv", 3*width, width)
		l.layer(b+"attn.proj", width, width)
		l.add(b+"attn.rel_pos_h", table, dim)
		l.add(b+"attn.rel_pos_w", table, dim)
		l.layer(b+"norm2", width)
		l.layer(b+"mlp.lin1", 4*width, width)
		l.layer(b+"mlp.lin2", width, 4*width)
	}
	l.add(e+"neck.0.weight", prompt, width, 1, 1)
	l.layer(e+"neck.1", prompt)
	l.add(e+"neck.2.weight", prompt, prompt, 3, 3)
	l.layer(e+"neck.3", prompt)

	const p = "prompt_encoder."
	for i := range 4 {
		l.add(fmt.Sprintf("%spoint_embeddings.%d.weight", p, i), 1, prompt)
	}
	l.add(p+"not_a_point_embed.weight", 1, prompt)
	l.add(p+"no_mask_embed.weight", 1, prompt)
	l.add(p+"pe_layer.positional_encoding_gaussian_matrix", 2, prompt/2)
	l.layer(p+"mask_downscaling.0", 4, 1, 2, 2)
	l.layer(p+"mask_downscaling.1", 4)
	l.layer(p+"mask_downscaling.3", 16, 4, 2, 2)
	l.layer(p+"mask_downscaling.4", 16)
	l.layer(p+"mask_downscaling.6", prompt, 16, 1, 1)

	const d = "mask_decoder."
	l.add(d+"iou_token.weight", 1, prompt)
	l.add(d+"mask_tokens.weight", 4, prompt)
	attention := func(prefix string, inner int) {
		for _, name := range []string{"q_proj", "k_proj", "v_proj"} {
			l.layer(prefix+name, inner, prompt)
		}
		l.layer(prefix+"out_proj", prompt, inner)
	}
	for i := range 2 {
		t := fmt.Sprintf("%stransformer.layers.%d.", d, i)
		attention(t+"self_attn.", prompt)
		attention(t+"cross_attn_token_to_image.", prompt/2)
		attention(t+"cross_attn_image_to_token.", prompt/2)
		for j := range 4 {
			l.layer(fmt.Sprintf("%snorm%d", t, 1+j), prompt)
		}
		l.layer(t+"mlp.lin1", 2048, prompt)
		l.layer(t+"mlp.lin2", prompt, 2048)
	}
	attention(d+"transformer.final_attn_token_to_image.", prompt/2)
	l.layer(d+"transformer.norm_final_attn", prompt)
	upscaling := func(name string, in, out int) { // transposed: inputs first
		l.add(d+"output_upscaling."+name+".weight", in, out, 2, 2)
		l.add(d+"output_upscaling."+name+".bias", out)
	}
	upscaling("0", prompt, prompt/4)
	l.layer(d+"output_upscaling.1", prompt/4)
	upscaling("3", prompt/4, prompt/8)
	perceptron := func(prefix string, out int) {
		for i, n := range []int{prompt, prompt, out} {
			l.layer(fmt.Sprintf("%s.layers.%d", prefix, i), n, prompt)
		}
	}
	perceptron(d+"iou_prediction_head", 4)
	for i := range 4 {
		perceptron(fmt.Sprintf("%soutput_hypernetworks_mlps.%d", d, i), prompt/8)
	}
	return l.file()
}
