package sam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/weights"
	"gonum.org/v1/gonum/blas/blas32"
)

// Model is a Segment Anything model: an image encoder, a prompt encoder and a
// mask decoder. It is immutable and safe for concurrent use. All calls share
// its workers.
type Model struct {
	config   Config
	encoder  imageEncoder
	prompts  *promptEncoder
	decoder  *decoder
	kernel   simd.Kernel
	workers  *simd.Workers
	encoding scratch.Pool[nn.Workspace]
	decoding scratch.Pool[nn.Workspace]
	pictures scratch.Pool[pix.Scratch]

	// Of the input size given at loading:
	geometry      *geometry
	cellPositions blas32.General // position encoding of the grid's cells
}

// Open loads a checkpoint from a file, a shard index, or a directory in
// Hugging Face layout. Errors are those of [weights.Open] and [Load].
func Open(path string, opts ...Option) (*Model, error) {
	f, err := weights.OpenModel(path, names())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Load(f, opts...)
}

// Load makes a model from the tensors of f, which may have the names of Meta's
// checkpoints or of Hugging Face's SamModel. f may be closed afterwards. At its
// peak Load holds the packed weights and one more tensor.
//
// One error lists all missing, surplus and misshapen tensors; it wraps
// [weights.ErrMissing], [weights.ErrSurplus] or [weights.ErrShape]; settings
// that do not fit the tensors are [ErrConfig].
func Load(f *weights.File, opts ...Option) (*Model, error) {
	if f == nil {
		return nil, fmt.Errorf("sam: %w: the file is nil", ErrConfig)
	}
	o, err := optionsOf(opts)
	if err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	own := names()
	if isSAM2(f) {
		own = names2()
	}
	view, err := weights.NewView(f, own)
	if err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	m := &Model{config: *configOf(view), kernel: o.kernel, workers: simd.NewWorkers(o.workers)}
	if err := m.config.checkMasks(); err != nil { // tensors are listed by it
		return nil, fmt.Errorf("sam: %w", err)
	}
	// Only once the tensors are known to be complete do settings mean anything.
	list := m.config.listing()
	for _, t := range list.extra {
		if view.Has(t.Name) {
			list.Listed = append(list.Listed, t)
		}
	}
	if err := view.Check(list.Listed); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	if err := m.config.settings(view.Config(), f.Metadata()); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	if err := cmp.Or(
		compare("config.json", view.Config(), m.config.configKeys()),
		compare("preprocessor_config.json", f.PreprocessorConfig(), m.config.preprocessorKeys()),
	); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	if o.heads != 0 {
		m.config.DecoderHeads = o.heads
	}
	if o.eps != 0 {
		m.config.DecoderEps = o.eps
	}
	if h := m.config.Hiera; h != nil {
		o.hiera(h)
	}
	if err := m.config.check(); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	read := &loader{Loader: nn.Loader{View: view, Kernel: o.kernel}}
	m.build(read)
	if read.Err != nil {
		return nil, fmt.Errorf("sam: %w", read.Err)
	}
	if o.side == 0 {
		o.side = m.config.ImageSize
	}
	if m.geometry, err = m.geometryOf(o.side); err != nil {
		return nil, fmt.Errorf("sam: %w", err)
	}
	m.cellPositions = m.prompts.positions(nil, m.geometry.grid)
	return m, nil
}

// build makes the network of what l reads.
func (m *Model) build(l *loader) {
	c := &m.config
	l.second = c.Hiera != nil
	if c.Hiera != nil {
		m.encoder = loadHiera(l, c.Hiera, c.PromptWidth)
	} else if c.Tiny != nil {
		m.encoder = loadTinyViT(l, c.Tiny, c.PromptWidth)
	} else {
		m.encoder = loadViT(l, c.ViT, c.PatchSize, c.ImageSize/max(c.PatchSize, 1), c.PromptWidth)
	}
	m.prompts = loadPromptEncoder(l, c)
	m.decoder = loadDecoder(l, c)
}

// geometryOf prepares the encoder for inputs of side × side pixels.
func (m *Model) geometryOf(side int) (*geometry, error) {
	cell := m.config.PatchSize
	if m.config.Hiera != nil {
		cell = 2 * hieraCell // whole cells of all stages
	}
	if side < cell || side > maxSide {
		return nil, fmt.Errorf("%w: input of %d pixels, want %d to %d", ErrSize, side, cell, maxSide)
	}
	side = side / cell * cell
	if m.geometry != nil && m.geometry.side == side {
		return m.geometry, nil
	}
	if !m.config.fits(side / cell) {
		return nil, fmt.Errorf("%w: input of %d pixels, %d×%d cells are too many for this model", ErrSize, side, side/cell, side/cell)
	}
	return m.encoder.geometry(m.kernel, side), nil
}

// Config returns the architecture of the model; the caller may change it.
func (m *Model) Config() Config {
	if m == nil {
		return Config{}
	}
	c := m.config
	if c.ViT != nil {
		v := *c.ViT
		v.Windows, v.Tables = slices.Clone(v.Windows), slices.Clone(v.Tables)
		c.ViT = &v
	}
	if c.Tiny != nil {
		t := *c.Tiny
		c.Tiny = &t
	}
	if c.Hiera != nil {
		h := *c.Hiera
		h.Globals = slices.Clone(h.Globals)
		c.Hiera = &h
	}
	return c
}

// ready reports a model that was not loaded.
func (m *Model) ready() error {
	if m == nil || m.geometry == nil {
		return fmt.Errorf("sam: %w: the model is nil or was not loaded", ErrConfig)
	}
	return nil
}

// begin starts a call with a workspace of the pool: encoding takes a hundred
// times the memory that decoding does.
func (m *Model) begin(ctx context.Context, pool *scratch.Pool[nn.Workspace]) (*nn.Call, error) {
	return nn.Begin(ctx, m.kernel, m.workers, pool)
}

// checkFinite reports values that became too large.
func checkFinite(k simd.Kernel, what string, m blas32.General) error {
	if nn.NotFinite(k, m) >= 0 {
		return fmt.Errorf("%w: %s are not finite: weights or input are too large", ErrOverflow, what)
	}
	return nil
}

// ErrOverflow reports a result beyond the range of float32, although weights
// and input were finite.
var ErrOverflow = errors.New("overflow")

// ErrSize reports a picture, or a requested size, that is empty or too large.
var ErrSize = errors.New("size")
