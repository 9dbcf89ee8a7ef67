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

// names2 says how checkpoints name SAM 2's tensors. The model's own names are
// Meta's, but for the four embeddings of points, which are one tensor.
// Sources: facebookresearch/sam2 sam2/modeling; huggingface/transformers
// models/sam2/modeling_sam2.py, models/sam2_video.
func names2() weights.Model {
	points := weights.Row{Own: "sam_prompt_encoder.point_embeddings.weight", File: "sam_prompt_encoder.point_embeddings.@.weight", How: weights.Four}
	return weights.Model{
		Name: "SAM 2",
		Tensors: []string{"image_encoder.trunk.*", "image_encoder.neck.convs.#.conv.*", "no_mem_embed",
			"sam_prompt_encoder.*", "sam_mask_decoder.*"},
		Layouts: []weights.Layout{{
			Name: "Meta",
			Known: []string{ // of videos
				"memory_attention.*", "memory_encoder.*", "maskmem_tpos_enc", "no_mem_pos_enc", "no_obj_ptr", "no_obj_embed_spatial",
				"mask_downsample.*", "obj_ptr_proj.*", "obj_ptr_tpos_proj.*", "n_averaged",
			},
			Configs: []string{"config.json"},
			Rows:    []weights.Row{points},
		}, {
			Name: "Hugging Face",
			Known: []string{
				"memory_attention.*", "memory_encoder.*", "memory_temporal_positional_encoding", "no_memory_positional_encoding",
				"no_object_pointer", "occlusion_spatial_embedding_parameter", "mask_downsample.*", "object_pointer_proj.*",
				"temporal_positional_encoding_projection_layer.*", "n_averaged",
				"prompt_encoder.shared_embedding.positional_embedding", // the second once more
			},
			Configs: []string{"config.json"},
			Rows:    huggingFace2Rows(),
		}},
	}
}

func huggingFace2Rows() []weights.Row {
	const (
		d, e, p = "sam_mask_decoder.", "image_encoder.trunk.", "sam_prompt_encoder."
		b       = "vision_encoder.backbone."
	)
	rows := []weights.Row{
		{Own: e + "patch_embed.proj.*", File: b + "patch_embed.projection.*"},
		{Own: e + "blocks.#.norm#.*", File: b + "blocks.#.layer_norm#.*"},
		{Own: e + "blocks.#.mlp.layers.0.*", File: b + "blocks.#.mlp.proj_in.*"},
		{Own: e + "blocks.#.mlp.layers.1.*", File: b + "blocks.#.mlp.proj_out.*"},
		{Own: e + "*", File: b + "*"},
		{Own: "image_encoder.neck.convs.#.conv.*", File: "vision_encoder.neck.convs.#.*"},
		{Own: "no_mem_embed", File: "no_memory_embedding"},
		{Own: p + "pe_layer.positional_encoding_gaussian_matrix", File: "shared_image_embedding.positional_embedding"},
		{Own: p + "point_embeddings.weight", File: "prompt_encoder.point_embed.weight"},
		{Own: p + "mask_downscaling.0.*", File: "prompt_encoder.mask_embed.conv1.*"},
		{Own: p + "mask_downscaling.1.*", File: "prompt_encoder.mask_embed.layer_norm1.*"},
		{Own: p + "mask_downscaling.3.*", File: "prompt_encoder.mask_embed.conv2.*"},
		{Own: p + "mask_downscaling.4.*", File: "prompt_encoder.mask_embed.layer_norm2.*"},
		{Own: p + "mask_downscaling.6.*", File: "prompt_encoder.mask_embed.conv3.*"},
		{Own: p + "*", File: "prompt_encoder.*"},
		{Own: d + "transformer.layers.#.norm#.*", File: "mask_decoder.transformer.layers.#.layer_norm#.*"},
		{Own: d + "transformer.norm_final_attn.*", File: "mask_decoder.transformer.layer_norm_final_attn.*"},
		{Own: d + "transformer.layers.#.mlp.layers.0.*", File: "mask_decoder.transformer.layers.#.mlp.proj_in.*"},
		{Own: d + "transformer.layers.#.mlp.layers.1.*", File: "mask_decoder.transformer.layers.#.mlp.proj_out.*"},
		{Own: d + "transformer.final_attn_token_to_image.out_proj.*", File: "mask_decoder.transformer.final_attn_token_to_image.o_proj.*"},
		{Own: d + "output_upscaling.0.*", File: "mask_decoder.upscale_conv1.*"},
		{Own: d + "output_upscaling.1.*", File: "mask_decoder.upscale_layer_norm.*"},
		{Own: d + "output_upscaling.3.*", File: "mask_decoder.upscale_conv2.*"},
	}
	for _, part := range []string{"self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token"} {
		rows = append(rows, weights.Row{Own: d + "transformer.layers.#." + part + ".out_proj.*", File: "mask_decoder.transformer.layers.#." + part + ".o_proj.*"})
	}
	// Heads of three layers, as all published models have them.
	for _, head := range []string{"output_hypernetworks_mlps.#", "iou_prediction_head", "pred_obj_score_head"} {
		for own, file := range []string{"proj_in", "layers.0", "proj_out"} {
			rows = append(rows, weights.Row{Own: d + head + ".layers." + string(rune('0'+own)) + ".*", File: "mask_decoder." + head + "." + file + ".*"})
		}
	}
	return append(rows, weights.Row{Own: d + "*", File: "mask_decoder.*"})
}
