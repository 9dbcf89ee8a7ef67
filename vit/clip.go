package vit

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"sync"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/tokenizer"
	"github.com/clipsurgery/clipsurgery/weights"
	"gonum.org/v1/gonum/blas/blas32"
)

// CLIP is a model: an image tower, a text tower and the scale of their cosines.
// It is immutable and safe for concurrent use. All calls share its workers.
type CLIP struct {
	config  Config
	vision  imageTower
	text    *textTower
	scale   float32 // exponentiated
	digest  string  // of the text tower
	kernel  simd.Kernel
	workers *simd.Workers
	pool    scratch.Pool[nn.Workspace]

	// tokenizer returns one for all texts, made for the first.
	tokenizer func() *tokenizer.Tokenizer
}

// Open loads a checkpoint from a file, a shard index, or a directory, in which
// it looks for a file that holds a CLIP. Tensors may have OpenAI's, OpenCLIP's
// or Hugging Face's names, after any prefix. Errors are those of
// [weights.OpenModel] and [Load].
func Open(path string, opts ...Option) (*CLIP, error) {
	f, err := weights.OpenModel(path, names())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Load(f, opts...)
}

// Load makes a model from the tensors of f, which may be closed afterwards. At
// its peak it holds the packed weights and one more tensor.
//
// One error lists all missing, surplus and misshapen tensors; it wraps
// [weights.ErrMissing], [weights.ErrSurplus] or [weights.ErrShape]. Settings
// that neither shapes nor configuration give are [ErrConfig].
func Load(f *weights.File, opts ...Option) (*CLIP, error) {
	o, err := optionsOf(opts)
	if err != nil {
		return nil, fmt.Errorf("vit: %w", err)
	}
	if f == nil {
		return nil, fmt.Errorf("vit: %w: the checkpoint is nil", ErrConfig)
	}
	view, err := weights.NewView(f, names())
	if err != nil {
		return nil, fmt.Errorf("vit: %w", err)
	}
	known, unknown := settingsOf(f, view, o.known)
	config, err := sizes(view, known.image)
	if err != nil {
		return nil, fmt.Errorf("vit: %s: %w", f.Path(), err)
	}
	// The tensors are checked before the configuration is.
	if err := view.Check(config.tensors()); err != nil {
		return nil, fmt.Errorf("vit: %w", err)
	}
	if unknown != nil {
		return nil, fmt.Errorf("vit: %s: %w", f.Path(), unknown)
	}
	_, openAI := f.Shape("input_resolution")
	if err := errors.Join(config.agree(known), config.resolve(known, openAI)); err != nil {
		return nil, fmt.Errorf("vit: %s: %w", f.Path(), err)
	}

	c := &CLIP{config: config, kernel: o.kernel, workers: simd.NewWorkers(o.workers), tokenizer: sync.OnceValue(tokenizer.New)}
	l := &loader{nn.Loader{View: view, Kernel: o.kernel}}
	c.vision = l.tower(&config)
	scale := l.Tensor("logit_scale")
	digest := textDigest(config.Text)
	l.Seen = func(name string, shape []int, values []float32) {
		fmt.Fprintf(digest, "%s %v %08x\n", name, shape, checksum(values))
	}
	c.text = l.text(&config)
	if l.Err != nil {
		return nil, fmt.Errorf("vit: %w", l.Err)
	}
	c.digest = digestString(digest)
	c.scale = float32(math.Exp(float64(scale[0])))
	if !nn.Finite(c.scale) {
		return nil, fmt.Errorf("vit: %w: logit_scale %v", weights.ErrNotFinite, scale[0])
	}
	return c, nil
}

// settingsOf completes the settings of options from the configuration files and
// then from the metadata. With an error it returns the settings that it read
// before.
func settingsOf(f *weights.File, view *weights.View, known settings) (settings, error) {
	for _, source := range []struct {
		data []byte
		read func([]byte) (settings, error)
	}{{view.Config(), configSettings}, {f.PreprocessorConfig(), preprocessorSettings}} {
		if source.data == nil {
			continue
		}
		s, err := source.read(source.data)
		known.fill(s)
		if err != nil {
			return known, err
		}
	}
	s, err := metadataSettings(f.Metadata())
	known.fill(s)
	return known, err
}

// Config returns the architecture and which of its settings were assumed.
func (c *CLIP) Config() Config {
	if c == nil {
		return Config{}
	}
	return c.config
}

// LogitScale is the factor by which CLIP's softmax multiplies cosines, already
// exponentiated; about 100 in trained models.
func (c *CLIP) LogitScale() float32 {
	if c == nil {
		return 0
	}
	return c.scale
}

// loaded reports a model that is nil, or was not made by [Load].
func (c *CLIP) loaded() error {
	if c == nil || c.vision == nil {
		return fmt.Errorf("vit: %w: the model is nil, or was not loaded", ErrConfig)
	}
	return nil
}

// Features are the rows of a picture after the image tower.
type Features struct {
	// Tokens is (1+Grid.X·Grid.Y)×D: row 0 the class token, then the cells of
	// the grid row by row from the top left. Rows are projected into the space
	// of texts, not normalized.
	Tokens blas32.General
	// Grid is columns and rows.
	Grid image.Point
	// Size is the original picture's, in pixels.
	Size image.Point
	// Region is the part of the original picture that the grid covers.
	Region image.Rectangle

	kernel *simd.Kernel // nil of features made by hand
}

// Kernel returns the kernel of the model that computed the features, for
// computing further with the same one; [simd.Best] for features made by hand.
func (f *Features) Kernel() simd.Kernel {
	if f == nil || f.kernel == nil {
		return simd.Best()
	}
	return *f.kernel
}

// Workers returns the bound on goroutines that all calls on the model share, so
// that related work can respect it; nil for a nil model.
func (c *CLIP) Workers() *simd.Workers {
	if c == nil {
		return nil
	}
	return c.workers
}

// Pixels is a picture prepared for the image tower: 3×Height×Width, normalized
// red, green, blue planes.
type Pixels struct {
	Width, Height int
	Data          []float32
}

// begin starts a call, whose results count only if ctx has not ended when they
// are complete.
func (c *CLIP) begin(ctx context.Context) (*nn.Call, error) {
	return nn.Begin(ctx, c.kernel, c.workers, &c.pool)
}
