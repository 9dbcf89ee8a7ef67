package weights

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/clipsurgery/clipsurgery/internal/option"
)

// TensorInfo describes a tensor. In a list of wanted tensors, a dimension of -1
// matches any extent and DType is ignored.
type TensorInfo struct {
	Name  string
	Shape []int // row-major; empty for a scalar
	DType DType
}

// File is an open checkpoint: the tensors of one file, or of several that an
// index joins. It is immutable and safe for concurrent use.
type File struct {
	path         string
	tensors      map[string]*tensor
	order        []string // names, as they were added
	metadata     map[string]string
	configs      map[string][]byte // by the names of their files
	preprocessor []byte
	sources      []source
	surplus      bool             // allowed
	opaque       map[string]error // entries that are no tensors, and why

	mu     sync.RWMutex // readers against Close
	closed bool
}

// tensor is what a file says of a tensor, and where its values come from.
type tensor struct {
	TensorInfo
	values
	path string // of the file that holds it
}

// values supplies the elements of one tensor.
type values interface {
	// read fills dst, which has room for exactly all of them, and reports the
	// first that is not finite.
	read(dst []float32) error
	release()
}

// unreadable stands for values that cannot be had.
type unreadable struct{ err error }

func (u unreadable) read([]float32) error { return u.err }

func (unreadable) release() {}

// lost is why the tensor cannot be read; nil if it can. No data vouch for the
// shape of one that cannot: it is asked before memory is taken.
func (t *tensor) lost() error {
	if u, ok := t.values.(unreadable); ok {
		return fmt.Errorf("weights: %s: %s: %w", t.path, t.Name, u.err)
	}
	return nil
}

// Unreadable returns the entries that cannot be read, with the reasons: tensors
// of types that are not converted ([ErrDType]), which [File.Names] lists as
// well, and entries of pickles that are Python objects instead of tensors
// ([ErrGlobal]), which it does not list. The other entries can be read.
func (f *File) Unreadable() map[string]error {
	all := make(map[string]error)
	for name, err := range f.opaque {
		if f.tensors[name] == nil { // which another shard may hold
			all[name] = err
		}
	}
	for name, t := range f.tensors {
		if u, ok := t.values.(unreadable); ok {
			all[name] = u.err
		}
	}
	return all
}

// Option is an option of the functions that open a checkpoint, and of
// [NewView].
type Option interface{ open(*options) error }

type options struct{ surplus bool }

type surplusOption struct{}

func (surplusOption) open(o *options) error { o.surplus = true; return nil }

// AllowSurplus accepts tensors that the model does not use, beyond those that
// published files are known to contain. By default they are errors, as they
// suggest another architecture.
func AllowSurplus() Option { return surplusOption{} }

func (f *File) apply(opts []Option) error {
	o := options{surplus: f.surplus}
	err := option.Apply(&o, opts, Option.open)
	f.surplus = o.surplus
	return err
}

// FromFunc makes a File of tensors that a function supplies on request, such as
// converted or computed weights; nothing is held. read fills dst with all
// elements of the named tensor, row by row, and must be safe for concurrent
// use. [ErrFormat] reports a name that is used twice, is longer than 1,024
// bytes or has control characters, and a shape that no memory holds; [ErrDType]
// an unknown type.
func FromFunc(tensors []TensorInfo, read func(name string, dst []float32) error, opts ...Option) (*File, error) {
	f := &File{path: "tensors", tensors: make(map[string]*tensor, len(tensors))}
	if err := f.apply(opts); err != nil {
		return nil, err
	}
	for _, t := range tensors {
		if !t.DType.valid() || t.DType == Other {
			return nil, fmt.Errorf("weights: %w: %s: %v", ErrDType, t.Name, t.DType)
		}
		t.Shape = slices.Clone(t.Shape)
		if err := f.add(&tensor{t, function{t.Name, read}, f.path}); err != nil {
			return nil, err
		}
	}
	return f, nil
}

type function struct {
	name string
	fill func(name string, dst []float32) error
}

func (v function) read(dst []float32) error {
	if err := v.fill(v.name, dst); err != nil {
		return err
	}
	return finite(dst, 0)
}

func (function) release() {}

// add registers a tensor. A name that safetensors cannot hold, or that would
// garble messages, is no tensor's.
func (f *File) add(t *tensor) error {
	if len(t.Name) > maxName || !utf8.ValidString(t.Name) || strings.ContainsFunc(t.Name, unicode.IsControl) || t.Name == metadataKey {
		return fmt.Errorf("weights: %s: %w: a tensor named %.80q", t.path, ErrFormat, t.Name)
	}
	if _, ok := f.tensors[t.Name]; ok {
		return t.fail(ErrFormat, "named twice")
	}
	if _, ok := volume(t.Shape); !ok {
		return t.fail(ErrFormat, "impossible shape %v", t.Shape)
	}
	f.tensors[t.Name] = t
	f.order = append(f.order, t.Name)
	return nil
}

// volume is the number of elements of a shape, and whether it is possible:
// their bytes as float32 or in the file must be countable by an int.
func volume(shape []int) (n int, ok bool) {
	n = 1
	empty := false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, false
		case d == 0:
			empty = true
		case n > math.MaxInt/8/d:
			return 0, false
		default:
			n *= d
		}
	}
	if empty {
		n = 0
	}
	return n, true
}

// fail makes an error that names file and tensor.
func (t *tensor) fail(kind error, format string, args ...any) error {
	return fmt.Errorf("weights: %s: %w: %s: %w", t.path, kind, t.Name, fmt.Errorf(format, args...))
}

// Path returns the path that the checkpoint was opened from, with which
// messages begin.
func (f *File) Path() string { return f.path }

// Names returns the names of all tensors, sorted.
func (f *File) Names() []string { return slices.Sorted(maps.Keys(f.tensors)) }

// Shape returns a tensor's dimensions, empty for a scalar, and whether the
// tensor exists.
func (f *File) Shape(name string) ([]int, bool) {
	info, ok := f.Info(name)
	return info.Shape, ok
}

// Info describes a tensor and reports whether it exists.
func (f *File) Info(name string) (TensorInfo, bool) {
	t, ok := f.tensors[name]
	if !ok {
		return TensorInfo{}, false
	}
	info := t.TensorInfo
	info.Shape = slices.Clone(info.Shape)
	return info, true
}

// Metadata returns the file's own metadata, the __metadata__ of safetensors. It
// may be empty.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Config returns the configuration file beside the weights:
// open_clip_config.json if the tensors have OpenCLIP's names, config.json
// otherwise, or the other one if only that exists. It is nil if there is none.
func (f *File) Config() []byte {
	names := []string{"config.json", "open_clip_config.json"}
	if slices.ContainsFunc(f.Names(), func(name string) bool { return strings.HasPrefix(name, "visual.") }) {
		slices.Reverse(names)
	}
	return f.firstConfig(names)
}

// firstConfig returns the first of the named configuration files that is there,
// or nil.
func (f *File) firstConfig(names []string) []byte {
	for _, name := range names {
		if data := f.configs[name]; data != nil {
			return slices.Clone(data)
		}
	}
	return nil
}

// PreprocessorConfig returns Hugging Face's preprocessor_config.json beside the
// weights, or nil.
func (f *File) PreprocessorConfig() []byte { return slices.Clone(f.preprocessor) }

// Float32 returns the elements of a tensor, row by row. The shape, if any is
// given, must be the tensor's; -1 matches any extent. Integers and F64 are
// rounded to the nearest float32.
//
// Errors are [ErrMissing], [ErrShape], [ErrNotFinite], those of
// [File.Unreadable] and those of reading.
func (f *File) Float32(name string, shape ...int) ([]float32, error) {
	t, ok := f.tensors[name]
	if !ok {
		return nil, f.missing(name)
	}
	if err := t.lost(); err != nil {
		return nil, err
	}
	if shape != nil && !matches(t.Shape, shape) {
		return nil, t.fail(ErrShape, "want %v, got %v", shape, t.Shape)
	}
	n, _ := volume(t.Shape)
	dst := make([]float32, n)
	return dst, f.read(t, dst)
}

// Read is [File.Float32] into dst. If its length is not the number of the
// tensor's elements, the error is [ErrShape].
func (f *File) Read(name string, dst []float32) error {
	t, ok := f.tensors[name]
	if !ok {
		return f.missing(name)
	}
	if n, _ := volume(t.Shape); n != len(dst) {
		return t.fail(ErrShape, "want %d elements, got %v", len(dst), t.Shape)
	}
	return f.read(t, dst)
}

func (f *File) missing(name string) error {
	if err := f.opaque[name]; err != nil {
		return fmt.Errorf("weights: %s: %w: %s: %w", f.path, ErrMissing, name, err)
	}
	return fmt.Errorf("weights: %s: %w: %s", f.path, ErrMissing, name)
}

// read fills dst with a tensor of its size.
func (f *File) read(t *tensor, dst []float32) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return fmt.Errorf("weights: %s: %w", f.path, fs.ErrClosed)
	}
	if err := guard(func() error { return t.values.read(dst) }); err != nil {
		return fmt.Errorf("weights: %s: %s: %w", t.path, t.Name, err)
	}
	return nil
}

// Release tells the operating system that the mapped memory of the named
// tensors is not needed for now. They can be read again, from the file.
func (f *File) Release(names ...string) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.closed {
		return
	}
	for _, name := range names {
		if t, ok := f.tensors[name]; ok {
			t.values.release()
		}
	}
}

// Close releases the file. It waits for calls that are reading; later calls
// fail with [fs.ErrClosed]. Elements that were read stay valid.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	var errs []error
	for _, s := range f.sources {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// matches reports whether a shape is the wanted one, where -1 is any extent.
func matches(shape, want []int) bool {
	return slices.EqualFunc(shape, want, func(d, w int) bool { return d == w || w == -1 })
}

// contiguous is a tensor whose elements follow each other, row by row.
type contiguous struct {
	source source
	offset int64
	count  int
	dtype  DType
	order  binary.ByteOrder
}

// chunk is how many elements are converted at a time: few enough to stay in
// cache for the second look at them.
const chunk = 4096

func (v *contiguous) read(dst []float32) error {
	size := v.dtype.Size()
	scratch := make([]byte, min(len(dst), chunk)*size)
	for at := 0; at < len(dst); at += chunk {
		part := dst[at:min(at+chunk, len(dst))]
		data, err := v.source.bytes(v.offset+int64(at*size), len(part)*size, scratch)
		if err != nil {
			return err
		}
		v.dtype.decode(part, data, v.order)
		if err := finite(part, at); err != nil {
			return err
		}
	}
	return nil
}

func (v *contiguous) release() {
	v.source.release(v.offset, int64(v.count)*int64(v.dtype.Size()))
}

// finite checks elements, the first of which is element number at.
func finite(x []float32, at int) error {
	if i := notFinite(x); i >= 0 {
		return fmt.Errorf("%w: element %d is %v", ErrNotFinite, at+i, x[i])
	}
	return nil
}
