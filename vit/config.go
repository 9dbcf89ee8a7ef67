package vit

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
)

// ErrConfig reports a setting that is missing from the checkpoint, contradicts
// it, or is beyond what this package supports. The message names the option
// that supplies it, if there is one.
var ErrConfig = errors.New("configuration")

// Config is the architecture of a CLIP model and the preprocessing of its
// pictures.
type Config struct {
	Embed  int // columns of image and text features
	Vision VisionConfig
	Text   TextConfig

	// Mean and Std normalize RGB values of 0–1, channel by channel.
	Mean, Std [3]float32
	// Interpolation is the filter of the resize: "bicubic" or "bilinear".
	Interpolation string

	processor processor

	// Assumed says which settings were guessed, because neither the checkpoint
	// nor an option gave them.
	Assumed Assumed
}

// VisionConfig is the architecture of the image tower, a ViT or a
// ModifiedResNet.
type VisionConfig struct {
	Patch  int         // pixels per cell of the grid: side of a patch; 32 of a ResNet
	Grid   image.Point // columns and rows of the model's own grid
	Image  image.Point // width and height in pixels of the pictures that the model was trained on
	Width  int         // of a ResNet, channels after the stem
	Layers int         // blocks
	Heads  int         // of a ResNet, those of the attention pool
	Hidden int         // width inside the MLP; 0 of a ResNet

	// Stages is the number of blocks in each stage of a ResNet, Layers in all;
	// zero for a ViT.
	Stages [4]int

	Activation simd.Activation
	Eps        float32 // of the layer norms; of a ResNet, of the batch norms
}

// resNet reports whether the tower is a ModifiedResNet.
func (c *VisionConfig) resNet() bool { return c.Stages != [4]int{} }

// attentionWidth is the columns that the heads divide.
func (c *VisionConfig) attentionWidth() int {
	if c.resNet() {
		return resNetPool * c.Width
	}
	return c.Width
}

// Size is the size in pixels of the pictures that the model was trained on: its
// cells, and any remaining pixels that a configuration gives.
func (c VisionConfig) Size() image.Point {
	if c.Image != (image.Point{}) {
		return c.Image
	}
	return c.Grid.Mul(c.Patch)
}

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

	// Pooling says which token's row is the feature of a text. EndToken is the
	// id that PoolEndToken looks for.
	Pooling  Pooling
	EndToken int32
	// Tokenizer is "" for CLIP's tokenizer. Otherwise it names one that this
	// package does not have; the tower then takes token ids only.
	Tokenizer string
}

// Pooling says which row of the text tower is the feature of a text.
type Pooling uint8

const (
	// PoolLargest is the first place of the largest id, which is that of the end
	// token in CLIP's vocabulary.
	PoolLargest Pooling = iota
	// PoolEndToken is the first place of the end token.
	PoolEndToken
)

// Assumed says which settings of a [Config] are guesses: they do not follow
// from shapes, and no configuration file, metadata or option gave them. The
// comments say what was assumed.
type Assumed struct {
	Heads         bool // width/64 per tower, as in OpenAI's models
	Activation    bool // QuickGELU, as in OpenAI's models
	Normalization bool // OpenAI's mean and standard deviation
	Interpolation bool // bicubic
	Pooling       bool // of texts at their largest id
	Mask          bool // causal in the text tower, none in the image tower
	Eps           bool // 1e-5 in all layer norms
	Tokenizer     bool // CLIP's, for a vocabulary of at least 49,408
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

// settings are those that do not follow from shapes; a zero field is unknown.
type settings struct {
	visionHeads, visionHeadDim int
	textHeads                  int
	visionAct, textAct         *simd.Activation
	visionEps, textEps         *float32
	mean, std                  *[3]float32
	interpolation              string
	pooling                    *pooling
	tokenizer                  *string // "" is CLIP's
	causal                     bool    // the attention mask is known to be
	processor                  *processor
	image                      *image.Point
	claims                     []claim
}

// processor is where the preprocessors of Hugging Face and torchvision, which is
// the zero value, differ.
type processor struct {
	// short is the short side that CenterCrop resizes to, per pixel of the crop
	// that follows; 0 means 1.
	short     float64
	floorCrop bool // the crop's corner is rounded down, not half to even
	rgbFirst  bool // pictures are converted to RGB before they are resized
}

// pooling is where the feature of a text stands.
type pooling struct {
	kind Pooling
	end  int32
}

// claim is a size in a configuration, to be compared with the tensors.
type claim struct {
	key   string
	says  float64
	times func(c *Config) int // the claim's unit, or nil
	of    func(c *Config) int
}

// fill takes the settings from other that s lacks.
func (s *settings) fill(other settings) {
	if s.visionHeads == 0 && s.visionHeadDim == 0 {
		s.visionHeads, s.visionHeadDim = other.visionHeads, other.visionHeadDim
	}
	if s.mean == nil || s.std == nil {
		s.mean, s.std = other.mean, other.std
	}
	s.textHeads = cmp.Or(s.textHeads, other.textHeads)
	s.visionAct, s.textAct = cmp.Or(s.visionAct, other.visionAct), cmp.Or(s.textAct, other.textAct)
	s.visionEps, s.textEps = cmp.Or(s.visionEps, other.visionEps), cmp.Or(s.textEps, other.textEps)
	s.interpolation = cmp.Or(s.interpolation, other.interpolation)
	s.pooling = cmp.Or(s.pooling, other.pooling)
	s.tokenizer = cmp.Or(s.tokenizer, other.tokenizer)
	s.causal = s.causal || other.causal
	s.processor = cmp.Or(s.processor, other.processor)
	s.image = cmp.Or(s.image, other.image)
	s.claims = append(s.claims, other.claims...)
}

// metadataSettings reads the settings in the metadata of a safetensors file.
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

// resolve completes a configuration of sizes by known settings, and by OpenAI's
// settings where there are none; openAI says that the file is certainly one of
// theirs.
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
	c.Assumed.Eps = !openAI && (s.visionEps == nil || s.textEps == nil)
	eps := float32(openAIEps)
	c.Vision.Eps, c.Text.Eps = *cmp.Or(s.visionEps, &eps), *cmp.Or(s.textEps, &eps)
	if c.Vision.resNet() { // PyTorch's default for batch norm, which no configuration changes
		c.Vision.Activation, c.Vision.Eps = simd.ReLU, openAIEps
	}
	for _, act := range []simd.Activation{c.Vision.Activation, c.Text.Activation} {
		if act > simd.GELUTanh {
			return fmt.Errorf("%w: activation %d (the constants of package simd end at %d)", ErrConfig, act, simd.GELUTanh)
		}
	}
	for _, eps := range []float32{c.Vision.Eps, c.Text.Eps} {
		if !nn.Finite(eps) || eps < 0 {
			return fmt.Errorf("%w: layer norm epsilon %v", ErrConfig, eps)
		}
	}

	if s.mean == nil || s.std == nil {
		c.Assumed.Normalization = !openAI
		s.mean, s.std = &openAIMean, &openAIStd
	}
	c.Mean, c.Std = *s.mean, *s.std
	for i := range c.Std {
		if !nn.Finite(c.Mean[i]) || !nn.Finite(c.Std[i]) || c.Std[i] <= 0 {
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
	if s.processor != nil {
		c.processor = *s.processor
	}
	return c.resolveText(s, openAI)
}

// resolveText completes the settings of tokenizer and pooling.
func (c *Config) resolveText(s settings, openAI bool) error {
	t := &c.Text
	c.Assumed.Mask = !openAI && !s.causal
	c.Assumed.Pooling = !openAI && s.pooling == nil
	c.Assumed.Tokenizer = !openAI && s.tokenizer == nil && t.Vocabulary >= clipVocabulary
	if s.pooling != nil {
		t.Pooling, t.EndToken = s.pooling.kind, s.pooling.end
	}
	if t.Pooling == PoolEndToken && (t.EndToken < 0 || int64(t.EndToken) >= int64(t.Vocabulary)) {
		return fmt.Errorf("%w: the end token %d is not in the vocabulary of %d", ErrConfig, t.EndToken, t.Vocabulary)
	}
	switch {
	case s.tokenizer != nil && *s.tokenizer != "":
		t.Tokenizer = *s.tokenizer
	case t.Vocabulary < clipVocabulary:
		t.Tokenizer = fmt.Sprintf("one of %d tokens", t.Vocabulary)
	case t.Pooling == PoolEndToken && t.EndToken != clipEndToken:
		t.Tokenizer = fmt.Sprintf("one whose end token is %d", t.EndToken)
	}
	return nil
}

// CLIP's vocabulary. Models may have tokens behind it.
const (
	clipVocabulary = 49408
	clipEndToken   = clipVocabulary - 1
)

// agree compares the sizes of the tensors with those that a configuration
// claims.
func (c *Config) agree(s settings) error {
	var errs []error
	for _, claim := range s.claims {
		says := claim.says
		if claim.times != nil {
			says = math.Trunc(says * float64(claim.times(c)))
		}
		if has := claim.of(c); has != notTold && says != float64(has) {
			errs = append(errs, fmt.Errorf("%w: %s is %v, but the tensors have %d", ErrConfig, claim.key, claim.says, has))
		}
	}
	return errors.Join(errs...)
}
