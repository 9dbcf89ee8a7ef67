package sam

import "github.com/clipsurgery/clipsurgery/weights"

// names says how checkpoints name SAM's tensors. The model's own names are
// Meta's.
// Sources: facebookresearch/segment-anything segment_anything/modeling;
// ChaoningZhang/MobileSAM mobile_sam/modeling; huggingface/transformers
// models/sam/modeling_sam.py.
func names() weights.Model {
	return weights.Model{
		Name:    "SAM",
		Tensors: []string{"image_encoder.*", "prompt_encoder.*", "mask_decoder.*"},
		Layouts: []weights.Layout{{
			Name:    "Meta",
			Known:   []string{"n_averaged", "*.num_batches_tracked"},
			Configs: []string{"config.json"},
		}, {
			Name:    "Hugging Face",
			Known:   []string{"n_averaged", "prompt_encoder.shared_embedding.positional_embedding"}, // the second once more
			Configs: []string{"config.json"},
			Rows:    huggingFaceRows(),
		}},
	}
}

func huggingFaceRows() []weights.Row {
	return []weights.Row{
		{Own: "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", File: "shared_image_embedding.positional_embedding"},
		{Own: "prompt_encoder.point_embeddings.#.*", File: "prompt_encoder.point_embed.#.*"},
		{Own: "prompt_encoder.mask_downscaling.0.*", File: "prompt_encoder.mask_embed.conv1.*"},
		{Own: "prompt_encoder.mask_downscaling.1.*", File: "prompt_encoder.mask_embed.layer_norm1.*"},
		{Own: "prompt_encoder.mask_downscaling.3.*", File: "prompt_encoder.mask_embed.conv2.*"},
		{Own: "prompt_encoder.mask_downscaling.4.*", File: "prompt_encoder.mask_embed.layer_norm2.*"},
		{Own: "prompt_encoder.mask_downscaling.6.*", File: "prompt_encoder.mask_embed.conv3.*"},
		{Own: "image_encoder.pos_embed", File: "vision_encoder.pos_embed"},
		{Own: "image_encoder.patch_embed.proj.*", File: "vision_encoder.patch_embed.projection.*"},
		{Own: "image_encoder.blocks.#.norm#.*", File: "vision_encoder.layers.#.layer_norm#.*"},
		{Own: "image_encoder.blocks.#.*", File: "vision_encoder.layers.#.*"},
		{Own: "image_encoder.neck.0.*", File: "vision_encoder.neck.conv1.*"},
		{Own: "image_encoder.neck.1.*", File: "vision_encoder.neck.layer_norm1.*"},
		{Own: "image_encoder.neck.2.*", File: "vision_encoder.neck.conv2.*"},
		{Own: "image_encoder.neck.3.*", File: "vision_encoder.neck.layer_norm2.*"},
		{Own: "mask_decoder.transformer.layers.#.norm#.*", File: "mask_decoder.transformer.layers.#.layer_norm#.*"},
		{Own: "mask_decoder.transformer.norm_final_attn.*", File: "mask_decoder.transformer.layer_norm_final_attn.*"},
		{Own: "mask_decoder.output_upscaling.0.*", File: "mask_decoder.upscale_conv1.*"},
		{Own: "mask_decoder.output_upscaling.1.*", File: "mask_decoder.upscale_layer_norm.*"},
		{Own: "mask_decoder.output_upscaling.3.*", File: "mask_decoder.upscale_conv2.*"},
		// Heads of three layers, as all published models have them.
		{Own: "mask_decoder.output_hypernetworks_mlps.#.layers.0.*", File: "mask_decoder.output_hypernetworks_mlps.#.proj_in.*"},
		{Own: "mask_decoder.output_hypernetworks_mlps.#.layers.1.*", File: "mask_decoder.output_hypernetworks_mlps.#.layers.0.*"},
		{Own: "mask_decoder.output_hypernetworks_mlps.#.layers.2.*", File: "mask_decoder.output_hypernetworks_mlps.#.proj_out.*"},
		{Own: "mask_decoder.iou_prediction_head.layers.0.*", File: "mask_decoder.iou_prediction_head.proj_in.*"},
		{Own: "mask_decoder.iou_prediction_head.layers.1.*", File: "mask_decoder.iou_prediction_head.layers.0.*"},
		{Own: "mask_decoder.iou_prediction_head.layers.2.*", File: "mask_decoder.iou_prediction_head.proj_out.*"},
	}
}
