package vit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// keyUse says how a key of a configuration file is treated.
type keyUse uint8

const (
	keyUsed     keyUse = iota // honored: it sets something, or is compared with the tensors
	keyHarmless               // changes no number of a trained model
	keyRefused                // ErrConfig, unless its value is the one without effect
)

func (u keyUse) String() string { return [...]string{"used", "harmless", "refused"}[u] }

// configKey is a key of a section. null is without effect for every key.
type configKey struct {
	name   string
	use    keyUse
	except []any // values of a refused key that have no effect, as encoding/json decodes them
}

// configSection is an object of a configuration file and all of its known keys.
type configSection struct {
	name string // as docs/configuration.md has it
	keys []configKey
	// open says that other keys are bookkeeping, as those that begin with _ are
	// everywhere. Elsewhere they are refused: they might change numbers.
	open bool
}

func keys(use keyUse, names string) (all []configKey) {
	for _, name := range strings.Fields(names) {
		all = append(all, configKey{name: name, use: use})
	}
	return all
}

func refusedExcept(names string, values ...any) []configKey {
	all := keys(keyRefused, names)
	for i := range all {
		all[i].except = values
	}
	return all
}

// Sections of open_clip_config.json.
// Source: mlfoundations/open_clip src/open_clip/model.py:CLIPVisionCfg,
// CLIPTextCfg, CLIP; transform.py:PreprocessCfg.
var (
	openCLIPRoot = configSection{"open_clip_config.json", keys(keyUsed, "model_cfg preprocess_cfg"), true}

	openCLIPModel = configSection{"open_clip_config.json: model_cfg", slices.Concat(
		keys(keyUsed, "embed_dim quick_gelu vision_cfg text_cfg"),
		keys(keyHarmless, "init_logit_scale init_logit_bias nonscalar_logit_scale cast_dtype output_dict custom_text"),
		refusedExcept("multimodal_cfg"),
	), false}

	// Of the custom attention block only the switches change anything.
	customBlock = slices.Concat(
		refusedExcept("qk_norm scaled_cosine_attn scale_heads scale_attn_inner scale_attn scale_fc", false),
		refusedExcept("block_type", "default", "custom"),
		refusedExcept("ls_init_value"),
	)

	openCLIPVision = configSection{"open_clip_config.json: model_cfg.vision_cfg", slices.Concat(
		keys(keyUsed, "layers width head_width mlp_ratio patch_size image_size act_kwargs norm_kwargs"),
		keys(keyHarmless, `patch_dropout output_tokens attn_pooler_queries n_queries attn_pooler_heads
			final_ln_after_pool timm_model_pretrained timm_pool timm_proj timm_proj_bias timm_drop timm_drop_path`),
		refusedExcept("pool_type", "tok"),
		refusedExcept("pos_embed_type", "learnable", "sin_cos_2d"),
		refusedExcept("attentional_pool no_ln_pre input_patchnorm global_average_pool", false),
		refusedExcept("timm_model_name", ""),
		customBlock,
	), false}

	openCLIPText = configSection{"open_clip_config.json: model_cfg.text_cfg", slices.Concat(
		keys(keyUsed, `context_length vocab_size width heads layers mlp_ratio act_kwargs norm_kwargs pool_type eos_id
			hf_tokenizer_name tokenizer_mode tokenizer_kwargs`),
		keys(keyHarmless, "output_tokens pad_id final_ln_after_pool hf_model_pretrained hf_proj_type hf_pooler_type"),
		refusedExcept("no_causal_mask embed_cls proj_bias", false),
		refusedExcept("proj_type", "linear"),
		refusedExcept("hf_model_name", ""),
		customBlock,
	), false}

	openCLIPActivation = configSection{"open_clip_config.json: act_kwargs", keys(keyUsed, "approximate"), false}

	openCLIPNorm = configSection{"open_clip_config.json: norm_kwargs", slices.Concat(
		keys(keyUsed, "eps"), refusedExcept("elementwise_affine bias", true)), false}

	openCLIPPreprocess = configSection{"open_clip_config.json: preprocess_cfg", slices.Concat(
		keys(keyUsed, "mean std interpolation"),
		keys(keyHarmless, "size fill_color"), // the model's image_size overrides; longest alone fills
		refusedExcept("mode", "RGB"),
		refusedExcept("resize_mode", "shortest", "squash"),
	), false}
)

// Sections of Hugging Face's config.json.
// Source: huggingface/transformers models/clip/configuration_clip.py,
// configuration_utils.py:PretrainedConfig of versions 4 and 5.
var (
	huggingFaceRoot = configSection{"config.json", slices.Concat(
		keys(keyUsed, "model_type projection_dim vision_config text_config vision_config_dict text_config_dict"),
		refusedExcept("quantization_config"),
	), true}

	pretrained = slices.Concat(
		keys(keyHarmless, `attn_implementation name_or_path architectures auto_map
			transformers_version torch_dtype dtype return_dict use_return_dict output_attentions
			output_hidden_states use_cache torchscript use_bfloat16 tf_legacy_loss pruned_heads tie_word_embeddings tie_encoder_decoder
			chunk_size_feed_forward is_encoder_decoder is_decoder add_cross_attention cross_attention_hidden_size
			max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature
			top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size
			bad_words_ids num_return_sequences output_scores return_dict_in_generate forced_bos_token_id
			forced_eos_token_id remove_invalid_values exponential_decay_length_penalty suppress_tokens
			begin_suppress_tokens finetuning_task id2label label2id num_labels tokenizer_class prefix bos_token_id
			pad_token_id sep_token_id decoder_start_token_id task_specific_params problem_type gradient_checkpointing
			initializer_range initializer_factor attention_dropout dropout projection_dim`),
		keys(keyUsed, "model_type hidden_size intermediate_size num_hidden_layers num_attention_heads hidden_act layer_norm_eps"),
	)

	huggingFaceVision = configSection{"config.json: vision_config", slices.Concat(
		keys(keyUsed, "image_size patch_size num_channels"), keys(keyHarmless, "eos_token_id"), pretrained), false}

	huggingFaceText = configSection{"config.json: text_config", slices.Concat(
		keys(keyUsed, "vocab_size max_position_embeddings eos_token_id"), pretrained), false}
)

// preprocessorRoot is Hugging Face's preprocessor_config.json.
// Source: huggingface/transformers models/clip/image_processing_clip.py and
// feature_extraction_clip.py.
var preprocessorRoot = configSection{"preprocessor_config.json", slices.Concat(
	keys(keyUsed, "image_mean image_std resample do_normalize do_rescale rescale_factor size crop_size do_center_crop use_square_size do_convert_rgb"),
	keys(keyHarmless, `image_processor_type feature_extractor_type processor_class
		auto_map default_to_square device data_format input_data_format return_tensors disable_grouping
		num_channels transformers_version pad_size`),
	refusedExcept("do_resize", true),
	refusedExcept("do_pad", false),
), false}

// configSections are all of them, in the order of the documentation.
func configSections() []configSection {
	return []configSection{
		openCLIPRoot, openCLIPModel, openCLIPVision, openCLIPText, openCLIPActivation, openCLIPNorm, openCLIPPreprocess,
		huggingFaceRoot, huggingFaceVision, huggingFaceText, preprocessorRoot,
	}
}

// object is a section of a file being read.
type object struct {
	where  string // "text_cfg." before its keys
	values map[string]json.RawMessage
	err    *error // the first
}

// fail keeps the first error.
func (o object) fail(key, format string, args ...any) {
	if *o.err == nil {
		*o.err = fmt.Errorf("%w: %s%s: %w", ErrConfig, o.where, key, fmt.Errorf(format, args...))
	}
}

// parse reads a file's outermost object.
func (s configSection) parse(data []byte, err *error) object {
	o := object{err: err}
	if e := json.Unmarshal(data, &o.values); e != nil && *err == nil {
		*err = fmt.Errorf("%w: %s: %w", ErrConfig, s.name, e)
	}
	return o
}

// check reports keys that the section does not have, or that are refused.
func (s configSection) check(o object) object {
	var names []string
	for name := range o.values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var value any
		if err := json.Unmarshal(o.values[name], &value); err != nil || value == nil {
			continue // a used key of a wrong type fails where it is read
		}
		i := slices.IndexFunc(s.keys, func(k configKey) bool { return k.name == name })
		switch {
		case i < 0 && !s.open && name[:min(1, len(name))] != "_":
			o.fail("", "unknown key %.60q, which may change results", name)
		case i >= 0 && s.keys[i].use == keyRefused &&
			!slices.ContainsFunc(s.keys[i].except, func(v any) bool { return reflect.DeepEqual(v, value) }):
			o.fail(name, "%.60s is not supported", o.values[name])
		}
	}
	return o
}

// has reports whether a key has a value.
func (o object) has(key string) bool {
	v, ok := o.values[key]
	return ok && string(v) != "null"
}

// get decodes the value of a key, if it has one.
func (o object) get(key string, dst any) bool {
	if !o.has(key) {
		return false
	}
	if err := json.Unmarshal(o.values[key], dst); err != nil {
		o.fail(key, "%w", err)
		return false
	}
	return true
}

// section is the object under a key; empty where there is none.
func (o object) section(key string, s configSection) object {
	part := object{where: o.where + key + ".", err: o.err}
	o.get(key, &part.values)
	return s.check(part)
}
