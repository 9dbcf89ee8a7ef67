package vit

import (
	"fmt"

	"github.com/clipsurgery/clipsurgery/internal/option"
	"github.com/clipsurgery/clipsurgery/simd"
)

// Option is an option of [Open] and [Load]. Of equal options the last counts.
type Option interface{ load(*options) error }

type options struct {
	known   settings
	workers int
	kernel  simd.Kernel
}

type loadOption func(*options) error

func (f loadOption) load(o *options) error { return f(o) }

// Heads sets the attention heads of the image tower and of the text tower,
// which do not follow from shapes. It overrides the checkpoint's configuration.
// Fewer than one is [ErrConfig].
func Heads(vision, text int) Option {
	return loadOption(func(o *options) error {
		if vision < 1 || text < 1 {
			return fmt.Errorf("%w: Heads(%d, %d), want at least 1 each", ErrConfig, vision, text)
		}
		o.known.visionHeads, o.known.textHeads = vision, text
		return nil
	})
}

// Activation sets the activation of both towers, which does not follow from
// shapes: QuickGELU in OpenAI's models, GELU in most of OpenCLIP's. It
// overrides the checkpoint's configuration. A value that package simd does not
// name is [ErrConfig].
func Activation(f simd.Activation) Option {
	return loadOption(func(o *options) error {
		if f > simd.GELUTanh {
			return fmt.Errorf("%w: Activation(%d), want one of package simd's activations", ErrConfig, f)
		}
		o.known.visionAct, o.known.textAct = &f, &f
		return nil
	})
}

// WithWorkers bounds the goroutines that all calls on the model use together.
// The default, 0, means GOMAXPROCS, as does a negative number. Results do not
// depend on it.
func WithWorkers(n int) Option {
	return loadOption(func(o *options) error { o.workers = n; return nil })
}

// WithKernel computes with k instead of the machine's best kernel.
func WithKernel(k simd.Kernel) Option {
	return loadOption(func(o *options) error { o.kernel = k; return nil })
}

func optionsOf(opts []Option) (options, error) {
	o := options{kernel: simd.Best()}
	return o, option.Apply(&o, opts, Option.load)
}

// ImageOption is an option of calls on pictures. Of equal options the last
// counts; so it does of [Resize], [ShortSide] and [CenterCrop].
type ImageOption interface{ image(*imageOptions) error }

type imageOptions struct {
	transform transform
	plan      *Plan
	progress  func(done, total int)
}

// transform is how a picture becomes the tower's input.
type transform struct {
	kind transformKind
	n    int // pixels
}

type transformKind uint8

const (
	native transformKind = iota // of the model's own size
	square
	shortSide
	centerCrop
)

func (t transform) image(o *imageOptions) error {
	if t.n < 1 || t.n > maxPixels {
		return fmt.Errorf("%w: %s(%d), want 1 to %d pixels", ErrSize,
			[...]string{square: "Resize", shortSide: "ShortSide", centerCrop: "CenterCrop"}[t.kind], t.n, maxPixels)
	}
	o.transform = t
	return nil
}

// Resize resizes the picture to n×n pixels, whatever its aspect ratio, as CLIP
// Surgery's demo does with 224 and 512. The default is the model's own size.
func Resize(n int) ImageOption { return transform{square, n} }

// ShortSide resizes the picture's short side to n pixels and keeps its aspect
// ratio, but for rounding: both sides become the nearest multiple of the patch.
func ShortSide(n int) ImageOption { return transform{shortSide, n} }

// CenterCrop resizes the short side to n pixels and cuts the central n×n pixels
// out: CLIP's own transform for classification. If the model's preprocessor
// resizes the short side to more than it crops, the short side is longer than n
// in the same proportion. With a preprocessor_config.json beside the weights,
// Hugging Face's details apply: the picture is converted to RGB before the
// resize, and the corner of the cut is rounded down. Source: openai/CLIP
// clip/clip.py:_transform.
func CenterCrop(n int) ImageOption { return transform{centerCrop, n} }

type planOption Plan

func (p planOption) image(o *imageOptions) error { o.plan = (*Plan)(&p); return nil }

// Operate runs the tower under a plan. A plan that it cannot run is [ErrPlan].
func Operate(p Plan) ImageOption { return planOption(p) }

func imageOptionsOf(opts []ImageOption) (o imageOptions, err error) {
	if err := option.Apply(&o, opts, ImageOption.image); err != nil {
		return o, fmt.Errorf("vit: %w", err)
	}
	return o, nil
}

// TextOption is an option of calls on texts. Of equal options the last counts.
type TextOption interface{ text(*textOptions) error }

type textOptions struct {
	memory   int
	progress func(done, total int)
}

const defaultMemory = 512 << 20

type memoryOption int

func (m memoryOption) text(o *textOptions) error { o.memory = int(m); return nil }

// WithMemory bounds the scratch memory of a call on texts, in bytes; the
// default is 512 MiB. Texts that do not fit together are encoded in parts, of
// at least one text each. The tokens of all texts count against the bound; the
// texts themselves and the result do not.
func WithMemory(bytes int) TextOption { return memoryOption(bytes) }

func textOptionsOf(opts []TextOption) (textOptions, error) {
	o := textOptions{memory: defaultMemory}
	if err := option.Apply(&o, opts, TextOption.text); err != nil {
		return o, fmt.Errorf("vit: %w", err)
	}
	return o, nil
}

// ProgressOption is an option of calls on pictures and on texts.
type ProgressOption func(done, total int)

func (p ProgressOption) text(o *textOptions) error   { o.progress = p; return nil }
func (p ProgressOption) image(o *imageOptions) error { o.progress = p; return nil }

// WithProgress calls f as the work proceeds. Units are labels in EncodeLabels,
// texts in EncodeText and EncodeTokens, and steps of the tower for pictures;
// total is the same in every call, and done equals it in the last. f runs on
// the calling goroutine and may use the model. A nil f means no progress.
func WithProgress(f func(done, total int)) ProgressOption { return f }
