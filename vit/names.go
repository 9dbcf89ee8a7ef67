package vit

import "github.com/clipsurgery/clipsurgery/weights"

// names says how checkpoints name CLIP's tensors. The model's own names are
// OpenAI's; OpenCLIP has the same, unless its text tower is a module of its own.
// Sources: openai/CLIP clip/model.py; mlfoundations/open_clip
// src/open_clip/model.py; huggingface/transformers models/clip/modeling_clip.py.
func names() weights.Model {
	// Of training and of other losses, in all layouts.
	stray := []string{"logit_bias", "n_averaged", "*position_ids"}
	openCLIP := []string{"open_clip_config.json", "config.json"}
	return weights.Model{
		Name: "CLIP",
		Tensors: []string{
			"visual.class_embedding", "visual.positional_embedding", "visual.proj", "visual.ln_pre.*", "visual.ln_post.*",
			"visual.transformer.resblocks.#.*",
			"visual.conv#.*", "visual.bn#.*", "visual.layer#.*", "visual.attnpool.*",
			"token_embedding.weight", "positional_embedding", "transformer.resblocks.#.*", "ln_final.*", "text_projection",
		},
		Layouts: []weights.Layout{{
			Name:    "OpenAI",
			Known:   append([]string{"input_resolution", "context_length", "vocab_size", "attn_mask", "*.num_batches_tracked"}, stray...),
			Configs: openCLIP,
		}, {
			Name:    "OpenCLIP with a text module",
			Known:   append([]string{"text.attn_mask", "*.num_batches_tracked"}, stray...),
			Configs: openCLIP,
			Rows:    textModuleRows(),
		}, {
			Name:    "Hugging Face",
			Known:   stray,
			Configs: []string{"config.json", "open_clip_config.json"},
			Rows:    huggingFaceRows(),
		}},
	}
}

func textModuleRows() []weights.Row {
	return []weights.Row{
		{Own: "token_embedding.weight", File: "text.token_embedding.weight"},
		{Own: "positional_embedding", File: "text.positional_embedding"},
		{Own: "transformer.resblocks.#.*", File: "text.transformer.resblocks.#.*"},
		{Own: "ln_final.*", File: "text.ln_final.*"},
		{Own: "text_projection", File: "text.text_projection"},
	}
}

func huggingFaceRows() []weights.Row {
	return []weights.Row{
		{Own: "visual.class_embedding", File: "vision_model.embeddings.class_embedding"},
		{Own: "visual.conv1.weight", File: "vision_model.embeddings.patch_embedding.weight"},
		{Own: "visual.positional_embedding", File: "vision_model.embeddings.position_embedding.weight"},
		{Own: "visual.ln_pre.*", File: "vision_model.pre_layrnorm.*"}, // sic
		{Own: "visual.transformer.resblocks.#.ln_#.*", File: "vision_model.encoder.layers.#.layer_norm#.*"},
		{Own: "visual.transformer.resblocks.#.attn.in_proj_*", File: "vision_model.encoder.layers.#.self_attn.@_proj.*", How: weights.QKV},
		{Own: "visual.transformer.resblocks.#.attn.out_proj.*", File: "vision_model.encoder.layers.#.self_attn.out_proj.*"},
		{Own: "visual.transformer.resblocks.#.mlp.c_fc.*", File: "vision_model.encoder.layers.#.mlp.fc1.*"},
		{Own: "visual.transformer.resblocks.#.mlp.c_proj.*", File: "vision_model.encoder.layers.#.mlp.fc2.*"},
		{Own: "visual.ln_post.*", File: "vision_model.post_layernorm.*"},
		{Own: "visual.proj", File: "visual_projection.weight", How: weights.Transposed},
		{Own: "token_embedding.weight", File: "text_model.embeddings.token_embedding.weight"},
		{Own: "positional_embedding", File: "text_model.embeddings.position_embedding.weight"},
		{Own: "transformer.resblocks.#.ln_#.*", File: "text_model.encoder.layers.#.layer_norm#.*"},
		{Own: "transformer.resblocks.#.attn.in_proj_*", File: "text_model.encoder.layers.#.self_attn.@_proj.*", How: weights.QKV},
		{Own: "transformer.resblocks.#.attn.out_proj.*", File: "text_model.encoder.layers.#.self_attn.out_proj.*"},
		{Own: "transformer.resblocks.#.mlp.c_fc.*", File: "text_model.encoder.layers.#.mlp.fc1.*"},
		{Own: "transformer.resblocks.#.mlp.c_proj.*", File: "text_model.encoder.layers.#.mlp.fc2.*"},
		{Own: "ln_final.*", File: "text_model.final_layer_norm.*"},
		{Own: "text_projection", File: "text_projection.weight", How: weights.Transposed},
	}
}
