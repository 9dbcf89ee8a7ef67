package vit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/simd"
)

// ErrConfig reports a setting that the checkpoint does not tell, or tells
// wrongly, or that no model of this package has. The message names the option
// that supplies it, where one does.
var ErrConfig = errors.New("configuration")

// Config is the architecture of a CLIP model and what its pictures go through
// before the tower.
type Config struct {
	Embed  int // columns of image and text features
	Vision VisionConfig
	Text   TextConfig

	// Mean and Std normalise RGB values of 0–1, channel by channel.
	Mean, Std [3]float32
	// Interpolation is the filter of the resize: "bicubic" or "bilinear".
	Interpolation string

	// Assumed tells which settings neither the checkpoint nor an option gave.
	Assumed Assumed
}

// VisionConfig is the architecture of the image tower, a ViT or a
// ModifiedResNet.
type VisionConfig struct {
	Patch  int         // pixels per cell of the grid: side of a patch; 32 of a ResNet
	Grid   image.Point // columns and rows of the model's own grid
	Width  int         // of a ResNet, channels after the stem
	Layers int         // blocks
	Heads  int         // of a ResNet, those of the attention pool
	Hidden int         // width inside the MLP; 0 of a ResNet

	// Stages are the blocks of each stage of a ResNet, Layers in all; zero of a
	// ViT.
	Stages [4]int

	Activation simd.Activation
	Eps        float32 // of the layer norms; of a ResNet, of the batch norms
}

// resNet says whether the tower is a ModifiedResNet.
func (c *VisionConfig) resNet() bool { return c.Stages != [4]int{} }

// attentionWidth is the columns that the heads divide.
func (c *VisionConfig) attentionWidth() int {
	if c.resNet() {
		return resNetPool * c.Width
	}
	return c.Width
}

// Size is the side in pixels of the pictures that the model was trained on.
func (c VisionConfig) Size() int { return c.Patch * c.Grid.X }

// TextConfig is the architecture of the text tower.
type TextConfig struct {
	Context    int // tokens of the longest text
	Vocabulary int
	Width      int
	Layers     int
	Heads      int
	Hidden     int // width inside the MLP

	Activation simd.Activation
	Eps        float32 // of the layer norms
}

// Assumed tells which settings of a [Config] are guesses: no shape tells them,
// and neither a configuration file, nor metadata, nor an option did.
type Assumed struct {
	Heads         bool // width/64 per tower, as in OpenAI's models
	Activation    bool // QuickGELU, as in OpenAI's models
	Normalisation bool // OpenAI's mean and standard deviation
	Interpolation bool // bicubic
}

// Settings of OpenAI's models, which most others share.
// Source: openai/CLIP clip/model.py, clip/clip.py:_transform.
const (
	openAIHeadDim = 64
	openAIEps     = 1e-5
)

var (
	openAIMean = [3]float32{0.48145466, 0.4578275, 0.40821073}
	openAIStd  = [3]float32{0.26862954, 0.26130258, 0.27577711}
)

// settings are what no shape tells; a zero field is not known.
type settings struct {
	visionHeads, visionHeadDim int
	textHeads                  int
	visionAct, textAct         *simd.Activation
	visionEps, textEps         float32
	mean, std                  *[3]float32
	interpolation              string
}

// fill takes from other what s does not know.
func (s *settings) fill(other settings) {
	if s.visionHeads == 0 && s.visionHeadDim == 0 {
		s.visionHeads, s.visionHeadDim = other.visionHeads, other.visionHeadDim
	}
	if s.textHeads == 0 {
		s.textHeads = other.textHeads
	}
	if s.visionAct == nil {
		s.visionAct = other.visionAct
	}
	if s.textAct == nil {
		s.textAct = other.textAct
	}
	if s.visionEps == 0 {
		s.visionEps = other.visionEps
	}
	if s.textEps == 0 {
		s.textEps = other.textEps
	}
	if s.mean == nil || s.std == nil {
		s.mean, s.std = other.mean, other.std
	}
	if s.interpolation == "" {
		s.interpolation = other.interpolation
	}
}

// openCLIPConfig is open_clip_config.json.
// Source: mlfoundations/open_clip src/open_clip/model.py:CLIPVisionCfg,
// CLIPTextCfg; transform.py:PreprocessCfg.
type openCLIPConfig struct {
	Model *struct {
		QuickGELU bool `json:"quick_gelu"`
		Vision    struct {
			HeadWidth int    `json:"head_width"`
			PoolType  string `json:"pool_type"`
			Norm      struct {
				Eps float32 `json:"eps"`
			} `json:"norm_kwargs"`
		} `json:"vision_cfg"`
		Text struct {
			Heads    int    `json:"heads"`
			PoolType string `json:"pool_type"`
			NoCausal bool   `json:"no_causal_mask"`
			Norm     struct {
				Eps float32 `json:"eps"`
			} `json:"norm_kwargs"`
		} `json:"text_cfg"`
	} `json:"model_cfg"`
	Preprocess struct {
		Mean          *[3]float32 `json:"mean"`
		Std           *[3]float32 `json:"std"`
		Interpolation string      `json:"interpolation"`
	} `json:"preprocess_cfg"`
}

func (c *openCLIPConfig) settings() (settings, error) {
	m := c.Model
	if p := m.Vision.PoolType; p != "" && p != "tok" {
		return settings{}, fmt.Errorf("%w: image tower pools by %q", ErrConfig, p)
	}
	if p := m.Text.PoolType; p != "" && p != "argmax" {
		return settings{}, fmt.Errorf("%w: text tower pools by %q", ErrConfig, p)
	}
	if m.Text.NoCausal {
		return settings{}, fmt.Errorf("%w: text tower without causal mask", ErrConfig)
	}
	act := simd.GELU
	if m.QuickGELU {
		act = simd.QuickGELU
	}
	return settings{
		visionHeadDim: cmp.Or(m.Vision.HeadWidth, 64),
		textHeads:     cmp.Or(m.Text.Heads, 8),
		visionAct:     &act, textAct: &act,
		visionEps: m.Vision.Norm.Eps, textEps: m.Text.Norm.Eps,
		mean: c.Preprocess.Mean, std: c.Preprocess.Std,
		interpolation: c.Preprocess.Interpolation,
	}, nil
}

// huggingFaceConfig is config.json of a CLIPModel. The *_config_dict of older
// files override the others, as transformers has it.
// Source: huggingface/transformers models/clip/configuration_clip.py.
type huggingFaceConfig struct {
	Vision     *huggingFaceTower `json:"vision_config"`
	Text       *huggingFaceTower `json:"text_config"`
	VisionDict *huggingFaceTower `json:"vision_config_dict"`
	TextDict   *huggingFaceTower `json:"text_config_dict"`
}

type huggingFaceTower struct {
	Heads int     `json:"num_attention_heads"`
	Act   string  `json:"hidden_act"`
	Eps   float32 `json:"layer_norm_eps"`
}

func (c *huggingFaceConfig) settings() (settings, error) {
	tower := func(name string, base, override *huggingFaceTower, heads int) (int, *simd.Activation, float32, error) {
		t := huggingFaceTower{heads, "quick_gelu", openAIEps}
		for _, o := range []*huggingFaceTower{base, override} {
			if o != nil {
				t = huggingFaceTower{cmp.Or(o.Heads, t.Heads), cmp.Or(o.Act, t.Act), cmp.Or(o.Eps, t.Eps)}
			}
		}
		act, err := activationNamed(t.Act)
		if err != nil {
			err = fmt.Errorf("%w: %s.hidden_act: %w", ErrConfig, name, err)
		}
		return t.Heads, &act, t.Eps, err
	}
	var s settings
	var err, err2 error
	s.visionHeads, s.visionAct, s.visionEps, err = tower("vision_config", c.Vision, c.VisionDict, 12)
	s.textHeads, s.textAct, s.textEps, err2 = tower("text_config", c.Text, c.TextDict, 8)
	return s, errors.Join(err, err2)
}

// activationNamed knows the names of Hugging Face and of safetensors metadata.
func activationNamed(name string) (simd.Activation, error) {
	switch name {
	case "quick_gelu":
		return simd.QuickGELU, nil
	case "gelu":
		return simd.GELU, nil
	case "relu":
		return simd.ReLU, nil
	}
	return 0, fmt.Errorf("activation %q is not known (quick_gelu, gelu, relu)", name)
}

// configSettings reads the configuration file beside the weights, of either
// kind.
func configSettings(data []byte) (settings, error) {
	var open openCLIPConfig
	var hf huggingFaceConfig
	if err := errors.Join(json.Unmarshal(data, &open), json.Unmarshal(data, &hf)); err != nil {
		return settings{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	switch {
	case open.Model != nil:
		return open.settings()
	case hf.Vision != nil || hf.Text != nil || hf.VisionDict != nil || hf.TextDict != nil:
		return hf.settings()
	}
	return settings{}, nil // some other file's configuration: it tells nothing
}

// preprocessorSettings reads Hugging Face's preprocessor_config.json.
func preprocessorSettings(data []byte) (settings, error) {
	var c struct {
		Mean     *[3]float32 `json:"image_mean"`
		Std      *[3]float32 `json:"image_std"`
		Resample *int        `json:"resample"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return settings{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s := settings{mean: c.Mean, std: c.Std}
	if c.Resample != nil {
		switch *c.Resample { // Pillow's numbers
		case 2:
			s.interpolation = "bilinear"
		case 3:
			s.interpolation = "bicubic"
		default:
			return settings{}, fmt.Errorf("%w: resample %d (2 is bilinear, 3 bicubic)", ErrConfig, *c.Resample)
		}
	}
	return s, nil
}

// metadataSettings reads what a safetensors file says of itself.
func metadataSettings(meta map[string]string) (settings, error) {
	var s settings
	for key, dst := range map[string]*int{"vision_heads": &s.visionHeads, "text_heads": &s.textHeads} {
		if text, ok := meta[key]; ok {
			if _, err := fmt.Sscan(text, dst); err != nil || *dst < 1 {
				return s, fmt.Errorf("%w: metadata %s is %q", ErrConfig, key, text)
			}
		}
	}
	if name, ok := meta["activation"]; ok {
		act, err := activationNamed(name)
		if err != nil {
			return s, fmt.Errorf("%w: metadata: %w", ErrConfig, err)
		}
		s.visionAct, s.textAct = &act, &act
	}
	return s, nil
}

// resolve completes a configuration of sizes by what is known, and by OpenAI's
// settings where nothing is; openAI says that the file is surely one of theirs.
func (c *Config) resolve(s settings, openAI bool) error {
	width := c.Vision.attentionWidth()
	if s.visionHeadDim != 0 && s.visionHeads == 0 {
		s.visionHeads = width / s.visionHeadDim
	}
	if s.visionHeads == 0 || s.textHeads == 0 {
		// OpenCLIP's H, g and bigG have other heads than width/64.
		if width > 1024 && !openAI && !c.Vision.resNet() {
			return fmt.Errorf("%w: the checkpoint does not tell the attention heads, and a width of %d may have other than %d columns each: give vit.Heads(vision, text)",
				ErrConfig, width, openAIHeadDim)
		}
		c.Assumed.Heads = !openAI
		s.visionHeads = cmp.Or(s.visionHeads, width/openAIHeadDim)
		s.textHeads = cmp.Or(s.textHeads, c.Text.Width/openAIHeadDim)
	}
	c.Vision.Heads, c.Text.Heads = s.visionHeads, s.textHeads
	if h := c.Vision.Heads; h < 1 || width%h != 0 {
		return fmt.Errorf("%w: %d heads do not divide the image tower's width %d: give vit.Heads(vision, text)", ErrConfig, h, width)
	}
	if h := c.Text.Heads; h < 1 || c.Text.Width%h != 0 {
		return fmt.Errorf("%w: %d heads do not divide the text tower's width %d: give vit.Heads(vision, text)", ErrConfig, h, c.Text.Width)
	}

	quick := simd.QuickGELU
	if s.visionAct == nil || s.textAct == nil {
		c.Assumed.Activation = !openAI
		s.visionAct, s.textAct = &quick, &quick
	}
	c.Vision.Activation, c.Text.Activation = *s.visionAct, *s.textAct
	c.Vision.Eps, c.Text.Eps = cmp.Or(s.visionEps, openAIEps), cmp.Or(s.textEps, openAIEps)
	if c.Vision.resNet() { // PyTorch's batch norm has that default, and no configuration another
		c.Vision.Activation, c.Vision.Eps = simd.ReLU, openAIEps
	}
	for _, eps := range []float32{c.Vision.Eps, c.Text.Eps} {
		if !finite(eps) || eps < 0 {
			return fmt.Errorf("%w: layer norm epsilon %v", ErrConfig, eps)
		}
	}

	if s.mean == nil || s.std == nil {
		c.Assumed.Normalisation = !openAI
		s.mean, s.std = &openAIMean, &openAIStd
	}
	c.Mean, c.Std = *s.mean, *s.std
	for i := range c.Std {
		if !finite(c.Mean[i]) || !finite(c.Std[i]) || c.Std[i] <= 0 {
			return fmt.Errorf("%w: mean %v, standard deviation %v", ErrConfig, c.Mean, c.Std)
		}
	}
	if s.interpolation == "" {
		c.Assumed.Interpolation = !openAI
		s.interpolation = "bicubic"
	}
	if s.interpolation != "bicubic" && s.interpolation != "bilinear" {
		return fmt.Errorf("%w: interpolation %q (bicubic, bilinear)", ErrConfig, s.interpolation)
	}
	c.Interpolation = s.interpolation
	return nil
}
