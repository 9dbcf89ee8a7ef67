package vit

import (
	"fmt"
	"image"
	"math"
	"slices"
	"strings"

	"github.com/clipsurgery/clipsurgery/simd"
)

// maxConfigSize bounds the sizes that a configuration may claim.
const maxConfigSize = 1 << 24

// notTold is what the tensors say of a size that they do not have.
const notTold = -1

// claimed adds a size, to be compared with the tensors, if the key has a value.
func (s *settings) claimed(o object, key string, of func(c *Config) int) {
	var n float64
	if o.get(key, &n) {
		s.claims = append(s.claims, claim{key: o.where + key, says: n, of: of})
	}
}

// claimedRatio adds the width of an MLP, as a multiple of its tower's.
func (s *settings) claimedRatio(o object, width, hidden func(c *Config) int) {
	const key = "mlp_ratio"
	var ratio float64
	if o.get(key, &ratio) {
		s.claims = append(s.claims, claim{o.where + key, ratio, width, hidden})
	}
}

// sides reads one number, for a square, or two: height and width.
func (o object) sides(key string) (size image.Point, ok bool) {
	var side int
	var sides []int
	switch {
	case !o.has(key):
		return size, false
	case strings.HasPrefix(string(o.values[key]), "["):
		if !o.get(key, &sides) {
			return size, false
		}
	default:
		if !o.get(key, &side) {
			return size, false
		}
		sides = []int{side, side}
	}
	if len(sides) != 2 || min(sides[0], sides[1]) < 1 || max(sides[0], sides[1]) > maxConfigSize {
		o.fail(key, "%.60s is not a side, or height and width, in pixels", o.values[key])
		return size, false
	}
	return image.Pt(sides[1], sides[0]), true
}

// pictures reads the sizes of the image tower's input and of its patches.
func (s *settings) pictures(o object) {
	if size, ok := o.sides("image_size"); ok {
		s.image = &size
	}
	if patch, ok := o.sides("patch_size"); ok {
		of := func(c *Config) int {
			if c.Vision.resNet() {
				return notTold
			}
			return c.Vision.Patch
		}
		for _, side := range []int{patch.X, patch.Y} {
			s.claims = append(s.claims, claim{key: o.where + "patch_size", says: float64(side), of: of})
		}
	}
}

// openCLIPSettings reads open_clip_config.json. What it leaves out has
// OpenCLIP's defaults.
func openCLIPSettings(root, model object) (s settings) {
	vision, text := model.section("vision_cfg", openCLIPVision), model.section("text_cfg", openCLIPText)
	s.claimed(model, "embed_dim", func(c *Config) int { return c.Embed })
	s.pictures(vision)
	s.claimed(vision, "width", func(c *Config) int { return c.Vision.Width })
	s.openCLIPLayers(vision)
	s.claimedRatio(vision, func(c *Config) int { return c.Vision.Width }, func(c *Config) int {
		if c.Vision.resNet() {
			return notTold
		}
		return c.Vision.Hidden
	})
	s.claimed(text, "context_length", func(c *Config) int { return c.Text.Context })
	s.claimed(text, "vocab_size", func(c *Config) int { return c.Text.Vocabulary })
	s.claimed(text, "width", func(c *Config) int { return c.Text.Width })
	s.claimed(text, "layers", func(c *Config) int { return c.Text.Layers })
	s.claimedRatio(text, func(c *Config) int { return c.Text.Width }, func(c *Config) int { return c.Text.Hidden })

	s.visionHeadDim, s.textHeads = openAIHeadDim, 8
	vision.get("head_width", &s.visionHeadDim)
	text.get("heads", &s.textHeads)
	if s.visionHeadDim < 1 || s.textHeads < 1 {
		model.fail("", "head_width %d, heads %d", s.visionHeadDim, s.textHeads)
	}
	quick := false
	model.get("quick_gelu", &quick)
	s.visionAct, s.textAct = vision.openCLIPActivation(quick), text.openCLIPActivation(quick)
	s.visionEps, s.textEps = vision.section("norm_kwargs", openCLIPNorm).eps("eps"), text.section("norm_kwargs", openCLIPNorm).eps("eps")
	s.causal, s.processor = true, &processor{}
	s.openCLIPText(text)
	s.openCLIPPreprocess(root.section("preprocess_cfg", openCLIPPreprocess))
	return s
}

// openCLIPLayers reads the depth of a ViT, or the stages of a ResNet.
func (s *settings) openCLIPLayers(vision object) {
	if !strings.HasPrefix(string(vision.values["layers"]), "[") {
		s.claimed(vision, "layers", func(c *Config) int { return c.Vision.Layers })
		return
	}
	var stages []float64
	if vision.get("layers", &stages) && len(stages) != 4 {
		vision.fail("layers", "%d stages, want 4", len(stages))
	}
	for i, n := range stages {
		s.claims = append(s.claims, claim{key: vision.where + "layers", says: n, of: func(c *Config) int {
			if !c.Vision.resNet() || i > 3 {
				return 0
			}
			return c.Vision.Stages[i]
		}})
	}
}

// openCLIPActivation is a tower's activation, to which act_kwargs are passed.
func (o object) openCLIPActivation(quick bool) *simd.Activation {
	act, approximate := simd.GELU, "none"
	kwargs := o.section("act_kwargs", openCLIPActivation)
	if quick {
		act = simd.QuickGELU
		if kwargs.has("approximate") {
			kwargs.fail("approximate", "QuickGELU takes none")
		}
		return &act
	}
	kwargs.get("approximate", &approximate)
	switch approximate {
	case "none":
	case "tanh":
		act = simd.GELUTanh
	default:
		kwargs.fail("approximate", "%.60q (none, tanh)", approximate)
	}
	return &act
}

// eps is an epsilon of layer norms, 1e-5 by default.
func (o object) eps(key string) *float32 {
	eps := float32(openAIEps)
	o.get(key, &eps)
	return &eps
}

// openCLIPText reads how texts become tokens and are pooled.
func (s *settings) openCLIPText(text object) {
	pool, end := "argmax", int32(2)
	text.get("pool_type", &pool)
	text.get("eos_id", &end)
	switch pool {
	case "argmax":
		s.pooling = &pooling{}
	case "eos":
		s.pooling = &pooling{PoolEndToken, end}
	default:
		text.fail("pool_type", "%.60q (argmax, eos)", pool)
	}
	var name, mode string
	var kwargs map[string]any
	text.get("hf_tokenizer_name", &name)
	text.get("tokenizer_mode", &mode)
	text.get("tokenizer_kwargs", &kwargs)
	if strings.HasPrefix(name, "openai/clip-vit-") {
		name = ""
	}
	switch {
	case name != "":
		name = fmt.Sprintf("%.100q (hf_tokenizer_name)", name)
	case mode != "":
		name = fmt.Sprintf("of mode %.100q (tokenizer_mode)", mode)
	case len(kwargs) > 0:
		name = "with options of its own (tokenizer_kwargs)"
	}
	s.tokenizer = &name
}

func (s *settings) openCLIPPreprocess(o object) {
	s.mean, s.std = o.channels("mean"), o.channels("std")
	o.get("interpolation", &s.interpolation)
	if s.interpolation == "random" { // of training alone
		s.interpolation = "bicubic"
	}
}

// channels reads a number for all channels, or one for each.
func (o object) channels(key string) *[3]float32 {
	var all []float32
	var one float32
	switch {
	case !o.has(key):
		return nil
	case !strings.HasPrefix(string(o.values[key]), "["):
		if o.get(key, &one) {
			return &[3]float32{one, one, one}
		}
	case o.get(key, &all):
		if len(all) == 3 {
			return (*[3]float32)(all)
		}
		o.fail(key, "%d channels, want 3", len(all))
	}
	return nil
}

// huggingFaceSettings reads config.json of a CLIPModel.
func huggingFaceSettings(root object) (s settings) {
	huggingFaceRoot.check(root)
	model := "clip"
	root.get("model_type", &model)
	if model != "clip" && model != "metaclip_2" {
		root.fail("model_type", "%.60q is another architecture (clip, metaclip_2)", model)
	}
	vision, text := root.tower("vision_config", huggingFaceVision), root.tower("text_config", huggingFaceText)
	s.claimed(root, "projection_dim", func(c *Config) int { return c.Embed })
	s.pictures(vision)
	s.claimed(vision, "num_channels", func(*Config) int { return 3 })
	s.claimed(vision, "hidden_size", func(c *Config) int { return c.Vision.Width })
	s.claimed(vision, "intermediate_size", func(c *Config) int { return c.Vision.Hidden })
	s.claimed(vision, "num_hidden_layers", func(c *Config) int { return c.Vision.Layers })
	s.claimed(text, "max_position_embeddings", func(c *Config) int { return c.Text.Context })
	s.claimed(text, "vocab_size", func(c *Config) int { return c.Text.Vocabulary })
	s.claimed(text, "hidden_size", func(c *Config) int { return c.Text.Width })
	s.claimed(text, "intermediate_size", func(c *Config) int { return c.Text.Hidden })
	s.claimed(text, "num_hidden_layers", func(c *Config) int { return c.Text.Layers })
	s.visionHeads, s.visionAct, s.visionEps = vision.huggingFaceTower(12)
	s.textHeads, s.textAct, s.textEps = text.huggingFaceTower(8)
	s.causal = true

	name := ""
	if model != "clip" {
		name = fmt.Sprintf("of the model_type %s", model)
	}
	s.tokenizer = &name
	s.pooling = text.endToken(model == "clip")
	return s
}

// tower is the section that transformers would use: the older name, where it
// is there, replaces the other altogether.
func (o object) tower(key string, s configSection) object {
	if old := key + "_dict"; o.has(old) {
		key = old
	}
	t := o.section(key, s)
	model, kind := "", "clip"
	o.get("model_type", &kind)
	if t.get("model_type", &model) && model != "clip" && model != kind &&
		model != kind+"_"+strings.Replace(strings.TrimSuffix(key, "_dict"), "config", "model", 1) {
		t.fail("model_type", "%.60q is another architecture", model)
	}
	return t
}

func (o object) huggingFaceTower(heads int) (int, *simd.Activation, *float32) {
	name := "quick_gelu"
	o.get("num_attention_heads", &heads)
	if heads < 1 {
		o.fail("num_attention_heads", "%d", heads)
	}
	o.get("hidden_act", &name)
	act, err := activationNamed(name)
	if err != nil {
		o.fail("hidden_act", "%w", err)
	}
	return heads, &act, o.eps("layer_norm_eps")
}

// endToken is where texts are pooled. Files of before transformers 4.31 have an
// id of 2 that stands for the largest one. nil: the file leaves it open.
// Source: huggingface/transformers models/clip/modeling_clip.py:CLIPTextTransformer.
func (o object) endToken(legacy bool) *pooling {
	const key = "eos_token_id"
	if !o.has(key) {
		return nil
	}
	var id int32
	if ids := []int32(nil); strings.HasPrefix(string(o.values[key]), "[") {
		if o.get(key, &ids); len(ids) != 1 {
			o.fail(key, "%d end tokens, want 1", len(ids))
			return nil
		}
		id = ids[0]
	} else if !o.get(key, &id) {
		return nil
	}
	if id == 2 && legacy {
		return &pooling{}
	}
	return &pooling{PoolEndToken, id}
}

// activationNamed knows the names of Hugging Face and of safetensors metadata.
// Source: huggingface/transformers activations.py:ACT2CLS.
func activationNamed(name string) (simd.Activation, error) {
	switch name {
	case "quick_gelu":
		return simd.QuickGELU, nil
	case "gelu", "gelu_python":
		return simd.GELU, nil
	case "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_python_tanh":
		return simd.GELUTanh, nil
	case "relu":
		return simd.ReLU, nil
	}
	return 0, fmt.Errorf("activation %.60q is not known (quick_gelu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu)", name)
}

// configSettings reads the configuration file beside the weights, of either
// kind. A file of another kind gives no settings.
func configSettings(data []byte) (s settings, err error) {
	root := huggingFaceRoot.parse(data, &err)
	switch {
	case err != nil:
	case root.has("model_cfg"):
		s = openCLIPSettings(root, openCLIPRoot.check(root).section("model_cfg", openCLIPModel))
	case root.has("vision_cfg") && root.has("text_cfg"): // OpenCLIP's model_cfg alone
		s = openCLIPSettings(object{err: &err}, openCLIPModel.check(root))
	case slices.ContainsFunc([]string{"model_type", "vision_config", "text_config", "vision_config_dict", "text_config_dict"}, root.has):
		s = huggingFaceSettings(root)
	}
	return s, err
}

// preprocessorSettings reads Hugging Face's preprocessor_config.json. What it
// leaves out has CLIPImageProcessor's defaults, except for the normalization,
// which is [Assumed].
func preprocessorSettings(data []byte) (s settings, err error) {
	o := preprocessorRoot.check(preprocessorRoot.parse(data, &err))
	normalize, rescale, factor := true, true, 1/255.
	o.get("do_normalize", &normalize)
	o.get("do_rescale", &rescale)
	o.get("rescale_factor", &factor)
	s.mean, s.std = o.channels("image_mean"), o.channels("image_std")
	if !normalize {
		s.mean, s.std = &[3]float32{}, &[3]float32{1, 1, 1}
	}
	if !rescale {
		factor = 1
	}
	// The tower's input is (v·factor - mean)/std of bytes v; Config's are those
	// of v/255.
	if scale := 255 * factor; math.Abs(scale-1) > 1e-9 {
		if !(factor > 0) {
			o.fail("rescale_factor", "%v", factor)
		}
		if s.mean == nil || s.std == nil {
			s.mean, s.std = &openAIMean, &openAIStd
		}
		mean, std := *s.mean, *s.std
		for i := range mean {
			mean[i], std[i] = float32(float64(mean[i])/scale), float32(float64(std[i])/scale)
		}
		s.mean, s.std = &mean, &std
	}
	s.interpolation = o.resample()
	s.processor = &processor{short: o.shortSide(), floorCrop: true, rgbFirst: true}
	o.get("do_convert_rgb", &s.processor.rgbFirst)
	return s, err
}

// resample is the filter, by Pillow's number or name.
func (o object) resample() string {
	if !o.has("resample") {
		return ""
	}
	switch name := strings.ToLower(strings.Trim(string(o.values["resample"]), `"`)); name {
	case "2", "bilinear":
		return "bilinear"
	case "3", "bicubic":
		return "bicubic"
	}
	o.fail("resample", "%.60s (2 is bilinear, 3 bicubic)", o.values["resample"])
	return ""
}

// processorSize is a size of a preprocessor: a number, or an object.
type processorSize struct{ short, height, width int }

func (o object) processorSize(key string) (s processorSize) {
	if !o.has(key) {
		return s
	}
	if !strings.HasPrefix(string(o.values[key]), "{") {
		size, _ := o.sides(key)
		if s = (processorSize{height: size.Y, width: size.X}); key == "size" && s.height == s.width {
			s = processorSize{short: s.height}
		}
		return s
	}
	var sides map[string]int
	o.get(key, &sides)
	for name, side := range sides {
		if side < 1 || side > maxConfigSize {
			o.fail(key, "%s of %d pixels", name, side)
		}
		switch name {
		case "shortest_edge":
			s.short = side
		case "height":
			s.height = side
		case "width":
			s.width = side
		default:
			o.fail(key, "%.60q (shortest_edge, or height and width)", name)
		}
	}
	if s.short > 0 && s.height+s.width > 0 || (s.height > 0) != (s.width > 0) || s == (processorSize{}) {
		o.fail(key, "%.60s is neither a shortest_edge nor height and width", o.values[key])
	}
	return s
}

// shortSide is what the short side is resized to per pixel of the crop that
// follows; 0 where the file does not tell both.
func (o object) shortSide() float64 {
	size, crop := o.processorSize("size"), o.processorSize("crop_size")
	cropped := true
	o.get("do_center_crop", &cropped)
	if o.get("use_square_size", new(bool)) && string(o.values["use_square_size"]) == "true" {
		size = processorSize{height: max(size.short, size.height), width: max(size.short, size.height)}
	}
	if !cropped || crop.height+crop.short == 0 || size == (processorSize{}) {
		return 0
	}
	if crop.short > 0 {
		crop.height, crop.width = crop.short, crop.short
	}
	short := size.short
	if short == 0 {
		if size.height != crop.height || size.width != crop.width {
			o.fail("size", "%d×%d pixels, not in the picture's shape, of which a crop_size of %d×%d is cut", size.width, size.height, crop.width, crop.height)
		}
		return 0
	}
	if crop.width != crop.height || short < crop.height {
		o.fail("crop_size", "%d×%d pixels of a short side of %d", crop.width, crop.height, short)
		return 0
	}
	return float64(short) / float64(crop.height)
}
