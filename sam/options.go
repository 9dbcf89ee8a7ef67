package sam

import (
	"errors"
	"fmt"
	"image"
	"math"

	"github.com/clipsurgery/clipsurgery/internal/option"
	"github.com/clipsurgery/clipsurgery/simd"
)

// ErrOption reports a meaningless option of everything mode.
var ErrOption = errors.New("option")

// Option is an option of [Open] and [Load]. Of equal options the last counts.
type Option interface{ load(*options) error }

type options struct {
	workers int
	kernel  simd.Kernel
	heads   int
	eps     float32
	side    int

	hieraHeads, hieraWindows *[4]int
	globals                  []int
}

// hiera changes the settings of SAM 2's encoder that were given.
func (o *options) hiera(c *HieraConfig) {
	if o.hieraHeads != nil {
		c.Heads = *o.hieraHeads
	}
	if o.hieraWindows != nil {
		c.Windows = *o.hieraWindows
	}
	if o.globals != nil {
		c.Globals = o.globals
	}
}

type loadOption func(*options) error

func (f loadOption) load(o *options) error { return f(o) }

// DecoderHeads sets the attention heads of the decoder, which do not follow
// from shapes. It overrides the checkpoint's config.json
// (mask_decoder_config.num_attention_heads) and metadata (decoder_num_heads).
// By default, or with 0, these decide; if they say nothing, the decoder has 8
// heads, as all published models have. A negative number, or one that does not
// divide the width, is [ErrConfig].
func DecoderHeads(n int) Option {
	return loadOption(func(o *options) error {
		if n < 0 {
			return fmt.Errorf("%w: DecoderHeads(%d), want at least 0", ErrConfig, n)
		}
		o.heads = n
		return nil
	})
}

// DecoderEpsilon sets the epsilon of the layer norms in the decoder's two-way
// layers. By default, or with 0, it is 1e-5 as in Meta's code, or what
// config.json says: Hugging Face's SamModel usually has 1e-6. The difference
// moves logits by about 4e-4. An epsilon that is negative or not finite is
// [ErrConfig].
func DecoderEpsilon(eps float64) Option {
	return loadOption(func(o *options) error {
		if !(eps >= 0 && eps < math.MaxFloat32) {
			return fmt.Errorf("%w: DecoderEpsilon(%v), want a number of at least 0", ErrConfig, eps)
		}
		o.eps = float32(eps)
		return nil
	})
}

// Heads sets the attention heads of the four stages of SAM 2's encoder, which do
// not follow from shapes. It overrides config.json and the table of the published
// models. SAM 1 ignores it.
func Heads(stages [4]int) Option {
	return loadOption(func(o *options) error { o.hieraHeads = &stages; return nil })
}

// Windows sets the sides of the windows of the four stages of SAM 2's encoder, in
// cells, of which shapes give the first only. It overrides config.json and the
// table of the published models. SAM 1 ignores it.
func Windows(stages [4]int) Option {
	return loadOption(func(o *options) error { o.hieraWindows = &stages; return nil })
}

// GlobalBlocks sets the blocks of SAM 2's encoder that attend globally, counted
// from 0, which do not follow from shapes. It overrides config.json and the table
// of the published models. SAM 1 ignores it.
func GlobalBlocks(blocks ...int) Option {
	return loadOption(func(o *options) error { o.globals = append([]int{}, blocks...); return nil })
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

// SizeOption is an option of [Load] and of [Model.Encode].
type SizeOption int

func (n SizeOption) check() error {
	if n < 0 || n > maxSide {
		return fmt.Errorf("%w: InputSize(%d), want up to %d pixels", ErrSize, n, maxSide)
	}
	return nil
}

func (n SizeOption) load(o *options) error         { o.side = int(n); return n.check() }
func (n SizeOption) encode(o *encodeOptions) error { o.side = int(n); return n.check() }

// InputSize makes the longest side of the encoder's input n pixels, rounded
// down to whole cells of the grid: fewer pixels cost less time and some
// quality. Positions are interpolated. Given to [Load], n is the model's
// default; given to [Model.Encode], it holds for one picture. The default, 0,
// is the size that the model was trained at. A size of less than one cell, or
// beyond 4096 pixels, is [ErrSize].
//
// On the 24 held-out scenes of package shapes, 128 pixels like its demo model,
// masks from boxes have a mean IoU of 0.917 at that size, 0.859 at 96 pixels,
// 0.727 at 64 and 0.949 at 192.
func InputSize(n int) SizeOption { return SizeOption(n) }

// EncodeOption is an option of [Model.Encode]. Of equal options the last counts.
type EncodeOption interface{ encode(*encodeOptions) error }

type encodeOptions struct {
	side     int
	progress func(done, total int)
}

// PredictOption is an option of [Model.Predict]. Of equal options the last
// counts.
type PredictOption interface{ predict(*predictOptions) error }

type predictOptions struct {
	stable   bool
	progress func(done, total int)
}

type stableOption bool

func (on stableOption) predict(o *predictOptions) error { o.stable = bool(on); return nil }

// StableSingle makes SAM 2 answer a prompt for a single mask with that mask only
// if it is stable, and else with the best of the three others, as the reference
// does. It is on by default. SAM 1 ignores it.
func StableSingle(on bool) PredictOption { return stableOption(on) }

// ProgressOption is an option of all calls that take long.
type ProgressOption func(done, total int)

func (p ProgressOption) encode(o *encodeOptions) error         { o.progress = p; return nil }
func (p ProgressOption) predict(o *predictOptions) error       { o.progress = p; return nil }
func (p ProgressOption) everything(o *everythingOptions) error { o.progress = p; return nil }

// WithProgress calls f as the work proceeds; total is the same in every call,
// and done equals it in the last. f runs on the calling goroutine and may use
// the model, whose workers are free meanwhile. A nil f means no progress.
func WithProgress(f func(done, total int)) ProgressOption { return f }

// EverythingOption is an option of [Model.Everything]. Of equal options the
// last counts. A meaningless value is [ErrOption].
type EverythingOption interface {
	everything(*everythingOptions) error
}

type everythingOptions struct {
	perSide, perBatch       int
	minIoU, minStability    float32
	offset                  float32
	boxNMS, cropNMS         float64
	layers, downscale, area int
	overlap                 float64
	grids                   [][][2]float64
	gridsGiven              bool
	single, refine          bool
	progress                func(done, total int)
}

type everythingOption func(*everythingOptions) error

func (f everythingOption) everything(o *everythingOptions) error { return f(o) }

// count makes an option that sets a whole number from least to most.
func count(name string, n, least, most int, set func(*everythingOptions)) EverythingOption {
	return everythingOption(func(o *everythingOptions) error {
		switch {
		case n > most:
			return fmt.Errorf("%w: %s(%d), want %d to %d", ErrOption, name, n, least, most)
		case n < least:
			return fmt.Errorf("%w: %s(%d), want at least %d", ErrOption, name, n, least)
		}
		set(o)
		return nil
	})
}

// threshold makes an option that sets a number other than NaN.
func threshold(name string, x float64, set func(*everythingOptions)) EverythingOption {
	return everythingOption(func(o *everythingOptions) error {
		if math.IsNaN(x) {
			return fmt.Errorf("%w: %s(%v), want a number", ErrOption, name, x)
		}
		set(o)
		return nil
	})
}

// Limits beyond which a number of points or crops is a mistake.
const (
	maxPointsPerSide = 1 << 12
	maxCropLayers    = 6
)

// PointsPerSide clicks on n × n points, evenly spread over the picture; 32 by
// default, 4096 at most. 0 needs [PointGrids], which replaces these points.
func PointsPerSide(n int) EverythingOption {
	return count("PointsPerSide", n, 0, maxPointsPerSide, func(o *everythingOptions) { o.perSide = n })
}

// PointsPerBatch bounds how many points pass through the decoder together; 64
// by default. The model takes fewer where more would not be faster. Masks do
// not depend on it.
func PointsPerBatch(n int) EverythingOption {
	return count("PointsPerBatch", n, 1, math.MaxInt, func(o *everythingOptions) { o.perBatch = n })
}

// SingleMasks takes one mask for each point instead of three.
func SingleMasks() EverythingOption {
	return everythingOption(func(o *everythingOptions) error { o.single = true; return nil })
}

// RefineMasks asks once more for each mask, with its point and its logits, and
// takes the answer, before any mask is dropped. It costs many times as much
// (sam2/automatic_mask_generator.py, use_m2m).
func RefineMasks() EverythingOption {
	return everythingOption(func(o *everythingOptions) error { o.refine = true; return nil })
}

// MinIoU keeps masks whose predicted IoU is above x; 0.88 by default, 0.8 for
// SAM 2. An x of 0 or less keeps all.
func MinIoU(x float64) EverythingOption {
	return threshold("MinIoU", x, func(o *everythingOptions) { o.minIoU = float32(x) })
}

// MinStability keeps masks whose [Mask.Stability] is x or more; 0.95 by
// default. An x of 0 or less keeps all.
func MinStability(x float64) EverythingOption {
	return threshold("MinStability", x, func(o *everythingOptions) { o.minStability = float32(x) })
}

// StabilityOffset is how far the threshold is moved up and down to see how
// stable a mask is, as a difference of logits of at least 0; 1 by default.
func StabilityOffset(x float64) EverythingOption {
	return everythingOption(func(o *everythingOptions) error {
		if !(x >= 0 && x <= math.MaxFloat32) {
			return fmt.Errorf("%w: StabilityOffset(%v), want a number of at least 0", ErrOption, x)
		}
		o.offset = float32(x)
		return nil
	})
}

// BoxNMS drops masks of one crop whose bounding box has an IoU above x with
// that of a better one; 0.7 by default. At 1 or more it drops none.
func BoxNMS(x float64) EverythingOption {
	return threshold("BoxNMS", x, func(o *everythingOptions) { o.boxNMS = x })
}

// CropLayers also clicks on points of overlapping crops of the picture, each of
// which is encoded by itself: 2ⁱ × 2ⁱ crops in layer i, for i from 1 to n. 0 by
// default, 6 at most.
func CropLayers(n int) EverythingOption {
	return count("CropLayers", n, 0, maxCropLayers, func(o *everythingOptions) { o.layers = n })
}

// CropNMS is [BoxNMS] between masks of different crops, where the mask of the
// smaller crop is the better one; 0.7 by default. It matters with [CropLayers]
// only.
func CropNMS(x float64) EverythingOption {
	return threshold("CropNMS", x, func(o *everythingOptions) { o.cropNMS = x })
}

// CropOverlap is the overlap of the first layer's crops as a fraction of the
// picture's shorter side, at least 0 and less than 1; it halves with every
// further layer. 512/1500 by default. It matters with [CropLayers] only.
func CropOverlap(x float64) EverythingOption {
	return everythingOption(func(o *everythingOptions) error {
		if !(x >= 0 && x < 1) {
			return fmt.Errorf("%w: CropOverlap(%v), want at least 0 and less than 1", ErrOption, x)
		}
		o.overlap = x
		return nil
	})
}

// CropPointsDownscale divides the number of points per side by n from layer to
// layer; 1 by default. If it leaves a layer of [CropLayers] without points,
// that is [ErrOption].
func CropPointsDownscale(n int) EverythingOption {
	return count("CropPointsDownscale", n, 1, math.MaxInt, func(o *everythingOptions) { o.downscale = n })
}

// MinRegionArea removes holes and islands of fewer than n pixels from the
// masks, and then masks that have become nearly the same as others. The
// default, 0, removes nothing.
//
// For SAM 2 it removes holes and islands of up to n cells of the low-resolution
// logits, connected by sides or corners, as masks are made. The reference does
// so on a GPU alone and ignores the option elsewhere.
func MinRegionArea(n int) EverythingOption {
	return count("MinRegionArea", n, 0, math.MaxInt, func(o *everythingOptions) { o.area = n })
}

// PointGrids clicks on the given points instead of those of [PointsPerSide] and
// [CropPointsDownscale]. There is one list for the picture and one for each
// layer of [CropLayers]; x and y are fractions of the picture's or the crop's
// width and height. Missing lists, a list without points and a point that is
// not finite are [ErrOption].
func PointGrids(grids ...[][2]float64) EverythingOption {
	return everythingOption(func(o *everythingOptions) error {
		for i, grid := range grids {
			if len(grid) == 0 {
				return fmt.Errorf("%w: PointGrids has no points for layer %d", ErrOption, i)
			}
			for _, p := range grid {
				if s := p[0] + p[1]; math.IsNaN(s) || math.IsInf(s, 0) {
					return fmt.Errorf("%w: PointGrids has (%v, %v) in layer %d, want finite fractions", ErrOption, p[0], p[1], i)
				}
			}
		}
		o.grids, o.gridsGiven = grids, true
		return nil
	})
}

func everythingOptionsOf(opts []EverythingOption, second bool) (everythingOptions, error) {
	o := everythingOptions{
		perSide: 32, perBatch: 64,
		minIoU: 0.88, minStability: 0.95, offset: 1,
		boxNMS: 0.7, cropNMS: 0.7,
		downscale: 1, overlap: 512. / 1500,
	}
	if second {
		o.minIoU = 0.8
	}
	if err := option.Apply(&o, opts, EverythingOption.everything); err != nil {
		return o, fmt.Errorf("sam: %w", err)
	}
	if !o.gridsGiven {
		o.grids = pointGrids(o.perSide, o.layers, o.downscale)
	}
	if len(o.grids) <= o.layers {
		return o, fmt.Errorf("sam: %w: PointGrids of %d layers, CropLayers wants %d", ErrOption, len(o.grids), o.layers+1)
	}
	for i, grid := range o.grids {
		if len(grid) == 0 {
			return o, fmt.Errorf("sam: %w: PointsPerSide(%d) and CropPointsDownscale(%d) leave no points for layer %d", ErrOption, o.perSide, o.downscale, i)
		}
	}
	return o, nil
}

// COCOOption is an option of [WriteCOCO]. Of equal options the last counts.
type COCOOption interface{ coco(*cocoOptions) error }

type cocoOptions struct {
	size image.Point
}

type pictureSize image.Point

func (s pictureSize) coco(o *cocoOptions) error {
	o.size = image.Point(s)
	if err := checkSize(o.size); err != nil {
		return fmt.Errorf("PictureSize: %w", err)
	}
	return nil
}

// PictureSize gives [WriteCOCO] the size of the picture in pixels, which it
// otherwise takes from the masks. An impossible size is [ErrSize].
func PictureSize(size image.Point) COCOOption { return pictureSize(size) }
