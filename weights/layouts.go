package weights

// The tables read: name in the file -> name in the layout. A line without a
// name on the right is a tensor that published files carry and no model needs.

func clipLayouts() []layout {
	return []layout{
		{"OpenAI, OpenCLIP", []string{"visual.conv1.weight"}, renames(
			`input_resolution|context_length|vocab_size`,
			`.*\.num_batches_tracked`,
			`attn_mask`,
			`logit_bias`,
			// OpenCLIP's CustomTextCLIP keeps the text tower under text.
			`text\.attn_mask`,
			`text\.(transformer\..*|token_embedding\.weight|positional_embedding|ln_final\..*|text_projection) -> ${1}`,
		)},
		{"Hugging Face", []string{"vision_model.embeddings.patch_embedding.weight"}, renames(
			`(text|vision)_model\.embeddings\.position_ids`,
			`vision_model\.embeddings\.class_embedding            -> visual.class_embedding`,
			`vision_model\.embeddings\.patch_embedding\.weight    -> visual.conv1.weight`,
			`vision_model\.embeddings\.position_embedding\.weight -> visual.positional_embedding`,
			`vision_model\.pre_layrnorm\.(.*)                     -> visual.ln_pre.${1}`,
			`vision_model\.post_layernorm\.(.*)                   -> visual.ln_post.${1}`,
			`visual_projection\.weight                            -> visual.proj transposed`,
			`text_model\.embeddings\.token_embedding\.weight      -> token_embedding.weight`,
			`text_model\.embeddings\.position_embedding\.weight   -> positional_embedding`,
			`text_model\.final_layer_norm\.(.*)                   -> ln_final.${1}`,
			`text_projection\.weight                              -> text_projection transposed`,

			`vision_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias) -> visual.transformer.resblocks.${1}.attn.in_proj_${2} part0`,
			`vision_model\.encoder\.layers\.(\d+)\.self_attn\.k_proj\.(weight|bias) -> visual.transformer.resblocks.${1}.attn.in_proj_${2} part1`,
			`vision_model\.encoder\.layers\.(\d+)\.self_attn\.v_proj\.(weight|bias) -> visual.transformer.resblocks.${1}.attn.in_proj_${2} part2`,
			`vision_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.(.*)        -> visual.transformer.resblocks.${1}.attn.out_proj.${2}`,
			`vision_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.(.*)             -> visual.transformer.resblocks.${1}.ln_${2}.${3}`,
			`vision_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.(.*)                   -> visual.transformer.resblocks.${1}.mlp.c_fc.${2}`,
			`vision_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.(.*)                   -> visual.transformer.resblocks.${1}.mlp.c_proj.${2}`,

			`text_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias) -> transformer.resblocks.${1}.attn.in_proj_${2} part0`,
			`text_model\.encoder\.layers\.(\d+)\.self_attn\.k_proj\.(weight|bias) -> transformer.resblocks.${1}.attn.in_proj_${2} part1`,
			`text_model\.encoder\.layers\.(\d+)\.self_attn\.v_proj\.(weight|bias) -> transformer.resblocks.${1}.attn.in_proj_${2} part2`,
			`text_model\.encoder\.layers\.(\d+)\.self_attn\.out_proj\.(.*)        -> transformer.resblocks.${1}.attn.out_proj.${2}`,
			`text_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.(.*)             -> transformer.resblocks.${1}.ln_${2}.${3}`,
			`text_model\.encoder\.layers\.(\d+)\.mlp\.fc1\.(.*)                   -> transformer.resblocks.${1}.mlp.c_fc.${2}`,
			`text_model\.encoder\.layers\.(\d+)\.mlp\.fc2\.(.*)                   -> transformer.resblocks.${1}.mlp.c_proj.${2}`,
		)},
	}
}

func samLayouts() []layout {
	return []layout{
		{"Meta, MobileSAM", []string{"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"}, renames(
			`pixel_mean|pixel_std`,
			`.*\.num_batches_tracked`,
		)},
		{"Hugging Face", []string{"shared_image_embedding.positional_embedding"}, renames(
			`shared_image_embedding\.positional_embedding             -> prompt_encoder.pe_layer.positional_encoding_gaussian_matrix`,
			`prompt_encoder\.shared_embedding\.positional_embedding`,
			`vision_encoder\.pos_embed                                -> image_encoder.pos_embed`,
			`vision_encoder\.patch_embed\.projection\.(.*)            -> image_encoder.patch_embed.proj.${1}`,
			`vision_encoder\.layers\.(\d+)\.layer_norm(\d)\.(.*)      -> image_encoder.blocks.${1}.norm${2}.${3}`,
			`vision_encoder\.layers\.(\d+)\.(.*)                      -> image_encoder.blocks.${1}.${2}`,
			`vision_encoder\.neck\.conv1\.(.*)                        -> image_encoder.neck.0.${1}`,
			`vision_encoder\.neck\.layer_norm1\.(.*)                  -> image_encoder.neck.1.${1}`,
			`vision_encoder\.neck\.conv2\.(.*)                        -> image_encoder.neck.2.${1}`,
			`vision_encoder\.neck\.layer_norm2\.(.*)                  -> image_encoder.neck.3.${1}`,
			`prompt_encoder\.point_embed\.(\d+)\.weight               -> prompt_encoder.point_embeddings.${1}.weight`,
			`prompt_encoder\.mask_embed\.conv1\.(.*)                  -> prompt_encoder.mask_downscaling.0.${1}`,
			`prompt_encoder\.mask_embed\.layer_norm1\.(.*)            -> prompt_encoder.mask_downscaling.1.${1}`,
			`prompt_encoder\.mask_embed\.conv2\.(.*)                  -> prompt_encoder.mask_downscaling.3.${1}`,
			`prompt_encoder\.mask_embed\.layer_norm2\.(.*)            -> prompt_encoder.mask_downscaling.4.${1}`,
			`prompt_encoder\.mask_embed\.conv3\.(.*)                  -> prompt_encoder.mask_downscaling.6.${1}`,
			`mask_decoder\.transformer\.layers\.(\d+)\.layer_norm(\d)\.(.*) -> mask_decoder.transformer.layers.${1}.norm${2}.${3}`,
			`mask_decoder\.transformer\.layer_norm_final_attn\.(.*)   -> mask_decoder.transformer.norm_final_attn.${1}`,
			`mask_decoder\.upscale_conv1\.(.*)                        -> mask_decoder.output_upscaling.0.${1}`,
			`mask_decoder\.upscale_layer_norm\.(.*)                   -> mask_decoder.output_upscaling.1.${1}`,
			`mask_decoder\.upscale_conv2\.(.*)                        -> mask_decoder.output_upscaling.3.${1}`,
			// Both heads have three layers in every published model.
			`(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.proj_in\.(.*)   -> ${1}.layers.0.${2}`,
			`(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.0\.(.*) -> ${1}.layers.1.${2}`,
			`(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.proj_out\.(.*)  -> ${1}.layers.2.${2}`,
		)},
	}
}
