package weights

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clipsurgery/clipsurgery/internal/option"
)

// View presents a [File] under a model's own names and shapes, whoever
// published it. Tensors that the file splits are joined, and those it stores
// transposed are transposed, as they are read. A View is immutable and safe for
// concurrent use.
type View struct {
	file    *File
	fit     fit
	tensors map[string]link // by the model's names
	surplus bool            // allowed
}

// link is where a tensor of the view lies in the file.
type link struct {
	parts   []string // names in the file, joined along the first axis
	turned  bool     // stored with its two axes exchanged
	present bool     // at least one part is in the file
}

// NewView finds a model in a checkpoint: from all names of the file it
// determines the layout and the prefix of the names. Tensors without the
// prefix, such as another head of a network around the model, are ignored.
//
// The error is [ErrMissing] if f holds no such model, and [ErrFormat] if it
// holds two that fit equally well.
func NewView(f *File, m Model, opts ...Option) (*View, error) {
	o := options{surplus: f.surplus}
	if err := option.Apply(&o, opts, Option.open); err != nil {
		return nil, err
	}
	names := f.Names()
	fit, err := m.fits(names)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", f.path, err)
	}
	v := &View{f, fit, make(map[string]link), o.surplus}
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, fit.prefix); ok && !fit.layout.known(rest) {
			own := fit.layout.nameOf(rest)
			v.tensors[own] = v.link(own)
		}
	}
	return v, nil
}

// Config returns the configuration file beside the weights that belongs to the
// layout, or nil.
func (v *View) Config() []byte { return v.file.firstConfig(v.fit.layout.Configs) }

// beginning says how many tensors there are and what the first are called, at a
// length that does not grow with the file.
func beginning(names []string) string {
	const most, longest = 3, 80
	text := fmt.Sprintf("%d tensors", len(names))
	for i, name := range names[:min(most, len(names))] {
		text += [...]string{", beginning ", ", ", ", "}[i]
		text += fmt.Sprintf("%.*q", longest, name)
	}
	return text + likeness(names)
}

// likeness says whose names a file has, where they are those of networks that
// users mix up.
func likeness(names []string) string {
	for _, like := range []struct{ part, model string }{
		{"mask_decoder.", "Segment Anything"},
		{"visual.conv1.", "a CLIP"}, {"vision_model.embeddings.", "a CLIP"},
		{"blocks.0.attn.qkv.", "a ViT of timm"},
	} {
		if slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, like.part) }) {
			return "; it has the names of " + like.model
		}
	}
	return ""
}

// link finds a tensor of the view in the file.
func (v *View) link(name string) link {
	parts, turned := v.partsOf(name)
	return link{parts, turned, slices.ContainsFunc(parts, func(p string) bool { return v.file.tensors[p] != nil })}
}

// partsOf returns the file's names of a tensor, and whether it is stored
// transposed.
func (v *View) partsOf(name string) (parts []string, turned bool) {
	parts, turned = v.fit.layout.partsOf(name)
	for i := range parts {
		parts[i] = v.fit.prefix + parts[i]
	}
	return parts, turned
}

// Names returns the view's names of all tensors, sorted, without those that
// published files contain but models do not use.
func (v *View) Names() []string { return slices.Sorted(maps.Keys(v.tensors)) }

// Has reports whether the file holds a tensor, or a part of it.
func (v *View) Has(name string) bool { return v.tensors[name].present }

// Shape returns a tensor's dimensions, empty for a scalar, and whether the
// tensor exists. If parts of it are missing or disagree, the first part that
// exists decides.
func (v *View) Shape(name string) ([]int, bool) {
	l, ok := v.tensors[name]
	if !ok {
		return nil, false
	}
	for _, part := range l.parts {
		if shape, ok := v.file.Shape(part); ok {
			if len(l.parts) > 1 && len(shape) > 0 {
				shape[0] *= len(l.parts)
			}
			if l.turned {
				slices.Reverse(shape)
			}
			return shape, true
		}
	}
	return nil, false
}

// Float32 returns the elements of a tensor as [File.Float32] does.
func (v *View) Float32(name string, shape ...int) ([]float32, error) {
	got, ok := v.Shape(name)
	if !ok {
		return nil, v.file.missing(v.Called(name))
	}
	if shape != nil && !matches(got, shape) {
		return nil, fmt.Errorf("weights: %s: %w: %s: want %v, got %v", v.file.path, ErrShape, v.Called(name), shape, got)
	}
	for _, part := range v.tensors[name].parts {
		if t := v.file.tensors[part]; t != nil {
			if err := t.lost(); err != nil {
				return nil, err
			}
		}
	}
	n, _ := volume(got)
	dst := make([]float32, n)
	return dst, v.Read(name, dst)
}

// Read fills dst, whose length must be the number of the tensor's elements,
// row by row. The errors are those of [File.Read].
func (v *View) Read(name string, dst []float32) error {
	l, ok := v.tensors[name]
	if !ok {
		return v.file.missing(v.Called(name))
	}
	if len(dst)%len(l.parts) != 0 {
		return fmt.Errorf("weights: %s: %w: %s: %d elements are not %d parts", v.file.path, ErrShape, v.Called(name), len(dst), len(l.parts))
	}
	if l.turned {
		return v.readTurned(l, dst)
	}
	n := len(dst) / len(l.parts)
	for i, part := range l.parts {
		if err := v.file.Read(part, dst[i*n:(i+1)*n]); err != nil {
			return err
		}
	}
	return nil
}

// readTurned reads a matrix that the file stores transposed.
func (v *View) readTurned(l link, dst []float32) error {
	stored, err := v.file.Float32(l.parts[0], -1, -1)
	if err != nil {
		return err
	}
	t := v.file.tensors[l.parts[0]]
	rows, cols := t.Shape[0], t.Shape[1]
	if len(dst) != len(stored) {
		return t.fail(ErrShape, "want %d elements, got %v", len(dst), t.Shape)
	}
	for i := range rows {
		for j := range cols {
			dst[j*rows+i] = stored[i*cols+j]
		}
	}
	return nil
}

// Release is [File.Release] for the named tensors.
func (v *View) Release(names ...string) {
	for _, name := range names {
		v.file.Release(v.tensors[name].parts...)
	}
}

// Called returns the file's name of a tensor, or the name that it would have;
// the names of several parts are joined by " + ".
func (v *View) Called(name string) string {
	return strings.Join(v.link(name).parts, " + ")
}

// Check compares the tensors with those that a model wants, by the view's
// names, and reports in one error all that are missing, misshapen, not
// floating point or surplus, by the file's names. A scalar may have the shape
// [1]. The error wraps [ErrMissing],
// [ErrShape], [ErrDType] and [ErrSurplus], as far as they apply.
func (v *View) Check(want []TensorInfo) error {
	var e mismatch
	wanted := make(map[string]bool)
	for _, w := range want {
		parts, turned := v.partsOf(w.Name)
		shape := slices.Clone(w.Shape)
		if turned {
			slices.Reverse(shape)
		}
		if len(parts) > 1 && len(shape) > 0 && shape[0] > 0 {
			shape[0] /= len(parts)
		}
		for _, part := range parts {
			wanted[part] = true
			t := v.file.tensors[part]
			switch {
			case t == nil && v.file.opaque[part] != nil:
				e.add(ErrMissing, "%s %v: %v", part, shape, v.file.opaque[part])
				e.kinds = append(e.kinds, v.file.opaque[part])
			case t == nil:
				e.add(ErrMissing, "%s %v", part, shape)
			case !matches(t.Shape, shape) && !(len(shape) == 0 && slices.Equal(t.Shape, []int{1})):
				e.add(ErrShape, "%s: want %v, got %v", part, shape, t.Shape)
			case t.DType == Other:
				e.add(ErrDType, "%s: %v", part, t.values.(unreadable).err)
			case !t.DType.Float():
				e.add(ErrDType, "%s: want F32, F64, F16 or BF16, got %v", part, t.DType)
			}
		}
	}
	if !v.surplus {
		for _, name := range v.file.Names() {
			if rest, ok := strings.CutPrefix(name, v.fit.prefix); ok && !wanted[name] && !v.fit.layout.known(rest) {
				e.add(ErrSurplus, "%s %v", name, v.file.tensors[name].Shape)
			}
		}
	}
	if e.lines == nil {
		return nil
	}
	e.file, e.layout = v.file.path, v.fit.layout.Name
	return &e
}

// mismatch is all that is wrong with a checkpoint's tensors.
type mismatch struct {
	file, layout string
	lines        []string
	more         int // lines left out
	kinds        []error
}

// maxLines bounds the message: more than any model has tensors that its users
// would read about.
const maxLines = 1000

func (e *mismatch) add(kind error, format string, args ...any) {
	if len(e.lines) < maxLines {
		e.lines = append(e.lines, kind.Error()+": "+fmt.Sprintf(format, args...))
	} else {
		e.more++
	}
	if !slices.Contains(e.kinds, kind) {
		e.kinds = append(e.kinds, kind)
	}
}

func (e *mismatch) Error() string {
	text := fmt.Sprintf("weights: %s, in the layout of %s: %s", e.file, e.layout, strings.Join(e.lines, "\n\t"))
	if e.more > 0 {
		text += fmt.Sprintf("\n\tand %d more", e.more)
	}
	return text
}

func (e *mismatch) Unwrap() []error { return e.kinds }
