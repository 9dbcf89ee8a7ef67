package weights

import "strings"

// layout is a published way to name and store the tensors of a model.
type layout struct {
	name  string
	signs []string // beginnings of names, one of which tells the layout
	// surplus are the tensors that published files carry and no model uses.
	surplus []string
	// table pairs the view's name with the file's, the first row that matches
	// being taken; names of no row are the same in both. In patterns, # is a
	// number and * a rest; both sides have the same, in the same order.
	table []row
}

type row struct {
	name string // in the view
	file string
	how  arrangement
}

// arrangement is how a file stores a tensor of the view.
type arrangement int

const (
	same       arrangement = iota
	transposed             // a matrix with its axes exchanged
	qkv                    // queries, keys and values apart: @ in the file's name is q, k or v
)

// clipLayouts are the layouts of a CLIP. OpenCLIP has OpenAI's names, unless
// its text tower is a module of its own.
// Sources: openai/CLIP clip/model.py; mlfoundations/open_clip
// src/open_clip/model.py; huggingface/transformers models/clip/modeling_clip.py.
func clipLayouts() []layout {
	return []layout{{
		name:    "Hugging Face",
		signs:   []string{"vision_model.", "text_model."},
		surplus: []string{"*position_ids", "logit_bias", "n_averaged"},
		table: []row{
			{"visual.class_embedding", "vision_model.embeddings.class_embedding", same},
			{"visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight", same},
			{"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight", same},
			{"visual.ln_pre.*", "vision_model.pre_layrnorm.*", same}, // sic
			{"visual.transformer.resblocks.#.ln_#.*", "vision_model.encoder.layers.#.layer_norm#.*", same},
			{"visual.transformer.resblocks.#.attn.in_proj_*", "vision_model.encoder.layers.#.self_attn.@_proj.*", qkv},
			{"visual.transformer.resblocks.#.attn.out_proj.*", "vision_model.encoder.layers.#.self_attn.out_proj.*", same},
			{"visual.transformer.resblocks.#.mlp.c_fc.*", "vision_model.encoder.layers.#.mlp.fc1.*", same},
			{"visual.transformer.resblocks.#.mlp.c_proj.*", "vision_model.encoder.layers.#.mlp.fc2.*", same},
			{"visual.ln_post.*", "vision_model.post_layernorm.*", same},
			{"visual.proj", "visual_projection.weight", transposed},
			{"token_embedding.weight", "text_model.embeddings.token_embedding.weight", same},
			{"positional_embedding", "text_model.embeddings.position_embedding.weight", same},
			{"transformer.resblocks.#.ln_#.*", "text_model.encoder.layers.#.layer_norm#.*", same},
			{"transformer.resblocks.#.attn.in_proj_*", "text_model.encoder.layers.#.self_attn.@_proj.*", qkv},
			{"transformer.resblocks.#.attn.out_proj.*", "text_model.encoder.layers.#.self_attn.out_proj.*", same},
			{"transformer.resblocks.#.mlp.c_fc.*", "text_model.encoder.layers.#.mlp.fc1.*", same},
			{"transformer.resblocks.#.mlp.c_proj.*", "text_model.encoder.layers.#.mlp.fc2.*", same},
			{"ln_final.*", "text_model.final_layer_norm.*", same},
			{"text_projection", "text_projection.weight", transposed},
		},
	}, {
		name:    "OpenCLIP with a text module",
		signs:   []string{"text."},
		surplus: []string{"*position_ids", "logit_bias", "n_averaged", "text.attn_mask", "*.num_batches_tracked"},
		table: []row{
			{"token_embedding.weight", "text.token_embedding.weight", same},
			{"positional_embedding", "text.positional_embedding", same},
			{"transformer.resblocks.#.*", "text.transformer.resblocks.#.*", same},
			{"ln_final.*", "text.ln_final.*", same},
			{"text_projection", "text.text_projection", same},
		},
	}, {
		name:    "OpenAI",
		signs:   []string{"visual.", "token_embedding.", "transformer."},
		surplus: []string{"*position_ids", "logit_bias", "n_averaged", "input_resolution", "context_length", "vocab_size", "attn_mask", "*.num_batches_tracked"},
	}}
}

// samLayouts are the layouts of a SAM.
// Sources: facebookresearch/segment-anything segment_anything/modeling;
// ChaoningZhang/MobileSAM mobile_sam/modeling; huggingface/transformers
// models/sam/modeling_sam.py.
func samLayouts() []layout {
	return []layout{{
		name:    "Hugging Face",
		signs:   []string{"vision_encoder.", "shared_image_embedding."},
		surplus: []string{"prompt_encoder.shared_embedding.positional_embedding"}, // once more
		table: []row{
			{"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding", same},
			{"prompt_encoder.point_embeddings.#.*", "prompt_encoder.point_embed.#.*", same},
			{"prompt_encoder.mask_downscaling.0.*", "prompt_encoder.mask_embed.conv1.*", same},
			{"prompt_encoder.mask_downscaling.1.*", "prompt_encoder.mask_embed.layer_norm1.*", same},
			{"prompt_encoder.mask_downscaling.3.*", "prompt_encoder.mask_embed.conv2.*", same},
			{"prompt_encoder.mask_downscaling.4.*", "prompt_encoder.mask_embed.layer_norm2.*", same},
			{"prompt_encoder.mask_downscaling.6.*", "prompt_encoder.mask_embed.conv3.*", same},
			{"image_encoder.pos_embed", "vision_encoder.pos_embed", same},
			{"image_encoder.patch_embed.proj.*", "vision_encoder.patch_embed.projection.*", same},
			{"image_encoder.blocks.#.norm#.*", "vision_encoder.layers.#.layer_norm#.*", same},
			{"image_encoder.blocks.#.*", "vision_encoder.layers.#.*", same},
			{"image_encoder.neck.0.*", "vision_encoder.neck.conv1.*", same},
			{"image_encoder.neck.1.*", "vision_encoder.neck.layer_norm1.*", same},
			{"image_encoder.neck.2.*", "vision_encoder.neck.conv2.*", same},
			{"image_encoder.neck.3.*", "vision_encoder.neck.layer_norm2.*", same},
			{"mask_decoder.transformer.layers.#.norm#.*", "mask_decoder.transformer.layers.#.layer_norm#.*", same},
			{"mask_decoder.transformer.norm_final_attn.*", "mask_decoder.transformer.layer_norm_final_attn.*", same},
			{"mask_decoder.output_upscaling.0.*", "mask_decoder.upscale_conv1.*", same},
			{"mask_decoder.output_upscaling.1.*", "mask_decoder.upscale_layer_norm.*", same},
			{"mask_decoder.output_upscaling.3.*", "mask_decoder.upscale_conv2.*", same},
			// Heads of three layers, as all published models have them.
			{"mask_decoder.output_hypernetworks_mlps.#.layers.0.*", "mask_decoder.output_hypernetworks_mlps.#.proj_in.*", same},
			{"mask_decoder.output_hypernetworks_mlps.#.layers.1.*", "mask_decoder.output_hypernetworks_mlps.#.layers.0.*", same},
			{"mask_decoder.output_hypernetworks_mlps.#.layers.2.*", "mask_decoder.output_hypernetworks_mlps.#.proj_out.*", same},
			{"mask_decoder.iou_prediction_head.layers.0.*", "mask_decoder.iou_prediction_head.proj_in.*", same},
			{"mask_decoder.iou_prediction_head.layers.1.*", "mask_decoder.iou_prediction_head.layers.0.*", same},
			{"mask_decoder.iou_prediction_head.layers.2.*", "mask_decoder.iou_prediction_head.proj_out.*", same},
		},
	}, {
		name:    "Meta",
		signs:   []string{"image_encoder.", "prompt_encoder.", "mask_decoder."},
		surplus: []string{"*.num_batches_tracked"},
	}}
}

// signed reports whether a file's name tells this layout.
func (l *layout) signed(name string) bool {
	for _, sign := range l.signs {
		if strings.HasPrefix(name, sign) {
			return true
		}
	}
	return false
}

// known reports whether a file's name is of a tensor that no model uses.
func (l *layout) known(name string) bool {
	for _, pattern := range l.surplus {
		if suffix, ok := strings.CutPrefix(pattern, "*"); ok && strings.HasSuffix(name, suffix) || pattern == name {
			return true
		}
	}
	return false
}

// nameOf returns the view's name of a file's tensor.
func (l *layout) nameOf(file string) string {
	for _, r := range l.table {
		for _, pattern := range r.files() {
			if name, ok := translate(pattern, r.name, file); ok {
				return name
			}
		}
	}
	return file
}

// partsOf returns the file's names of a view's tensor, and whether it is
// stored transposed.
func (l *layout) partsOf(name string) (parts []string, turned bool) {
	for _, r := range l.table {
		for _, pattern := range r.files() {
			if part, ok := translate(r.name, pattern, name); ok {
				parts = append(parts, part)
			}
		}
		if parts != nil {
			return parts, r.how == transposed
		}
	}
	return []string{name}, false
}

// files are the patterns of the file's names.
func (r *row) files() []string {
	if r.how != qkv {
		return []string{r.file}
	}
	return []string{
		strings.Replace(r.file, "@", "q", 1),
		strings.Replace(r.file, "@", "k", 1),
		strings.Replace(r.file, "@", "v", 1),
	}
}

// translate matches a name with a pattern and puts what # and * stand for into
// another.
func translate(from, to, name string) (string, bool) {
	var out strings.Builder
	for {
		at := strings.IndexAny(from, "#*")
		if at < 0 {
			out.WriteString(to)
			return out.String(), from == name
		}
		if !strings.HasPrefix(name, from[:at]) {
			return "", false
		}
		wild := from[at]
		name = name[at:]
		n := len(name)
		if wild == '#' {
			n -= len(strings.TrimLeft(name, "0123456789"))
		}
		if n == 0 {
			return "", false
		}
		place := strings.IndexByte(to, wild)
		out.WriteString(to[:place])
		out.WriteString(name[:n])
		from, to, name = from[at+1:], to[place+1:], name[n:]
	}
}
