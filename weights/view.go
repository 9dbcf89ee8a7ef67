package weights

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// View is a File seen through one layout: OpenAI's names for CLIP, Meta's for
// SAM. Tensors that the published layout splits or transposes are joined and
// turned as they are read.
type View struct {
	file    *File
	tensors map[string]origin
}

// origin is where a tensor of the layout lies in the file.
type origin struct {
	parts     []string // joined along the first axis
	transpose bool     // stored as [columns, rows]
}

// rename maps a file's name to the layout's.
type rename struct {
	from *regexp.Regexp
	to   string // "" for a tensor that the layout does not need
	part int    // of several that are joined
	turn bool
}

func renames(lines ...string) []rename {
	var all []rename
	for _, line := range lines {
		f := strings.Fields(line)
		r := rename{from: regexp.MustCompile("^" + f[0] + "$")}
		for _, w := range f[1:] {
			switch w {
			case "->", "-":
			case "part0", "part1", "part2":
				r.part = int(w[4] - '0')
			case "transposed":
				r.turn = true
			default:
				r.to = w
			}
		}
		all = append(all, r)
	}
	return all
}

// apply returns the layout's name; names that no rule knows stay as they are.
func apply(table []rename, name string) (to string, part int, turn bool) {
	for _, r := range table {
		if r.from.MatchString(name) {
			if r.to == "" {
				return "", 0, false
			}
			return r.from.ReplaceAllString(name, r.to), r.part, r.turn
		}
	}
	return name, 0, false
}

// CLIP sees a checkpoint in OpenAI's layout: that of openai/CLIP, of OpenCLIP
// (with the text tower at the top or under text.), or of Hugging Face's
// CLIPModel.
func CLIP(f *File) (*View, error) {
	return view(f, "CLIP", clipLayouts())
}

// SAM sees a checkpoint in Meta's layout: that of segment-anything and
// MobileSAM, or of Hugging Face's SamModel.
func SAM(f *File) (*View, error) {
	return view(f, "SAM", samLayouts())
}

// layout is a published way of naming a model's tensors.
type layout struct {
	name  string
	sign  []string // one of these tensors tells it
	table []rename
}

func view(f *File, model string, layouts []layout) (*View, error) {
	var signs []string
	for _, l := range layouts {
		for _, s := range l.sign {
			if _, ok := f.tensors[s]; ok {
				return viewAs(f, l.table)
			}
		}
		signs = append(signs, fmt.Sprintf("%s (%s)", l.sign[0], l.name))
	}
	return nil, fmt.Errorf("weights: %s: %w: no layout of %s: none of %s", f.path, ErrMissing, model, strings.Join(signs, ", "))
}

func viewAs(f *File, table []rename) (*View, error) {
	v := &View{file: f, tensors: make(map[string]origin)}
	for _, name := range f.Names() {
		to, part, turn := apply(table, name)
		if to == "" {
			continue
		}
		s := v.tensors[to]
		for len(s.parts) <= part {
			s.parts = append(s.parts, "")
		}
		if s.parts[part] != "" {
			return nil, fmt.Errorf("weights: %s: %w: %s and %s are the same tensor", f.path, ErrFormat, s.parts[part], name)
		}
		s.parts[part], s.transpose = name, turn
		v.tensors[to] = s
	}
	return v, nil
}

// Names returns the layout's names of all tensors, sorted.
func (v *View) Names() []string { return slices.Sorted(maps.Keys(v.tensors)) }

// Has tells whether the view has the tensor.
func (v *View) Has(name string) bool {
	_, ok := v.tensors[name]
	return ok
}

// Shape returns the extents of a tensor in the layout.
func (v *View) Shape(name string) ([]int, bool) {
	s, ok := v.tensors[name]
	if !ok {
		return nil, false
	}
	shape, err := v.shape(s)
	return shape, err == nil
}

func (v *View) shape(s origin) ([]int, error) {
	var shape []int
	for i, p := range s.parts {
		own, ok := v.file.Shape(p)
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: part %d of %d", ErrMissing, i+1, len(s.parts))
		case i == 0:
			shape = own
		case len(own) == 0 || !slices.Equal(own[1:], shape[1:]):
			return nil, fmt.Errorf("%w: %s is %v, its neighbour %v", ErrShape, p, own, shape)
		default:
			shape[0] += own[0]
		}
	}
	if s.transpose {
		if len(shape) != 2 {
			return nil, fmt.Errorf("%w: %s: want 2 axes, got %v", ErrShape, s.parts[0], shape)
		}
		shape[0], shape[1] = shape[1], shape[0]
	}
	return shape, nil
}

// Float32 returns a tensor of the layout. With a shape the tensor must have it;
// -1 matches any extent.
func (v *View) Float32(name string, shape ...int) ([]float32, error) {
	got, err := v.checked(name)
	if err != nil {
		return nil, err
	}
	if len(shape) > 0 && !matches(got, shape) {
		return nil, fmt.Errorf("weights: %s: %w: %s: want %v, got %v", v.file.path, ErrShape, v.called(name), shape, got)
	}
	n, ok := volume(got)
	if !ok {
		return nil, fmt.Errorf("weights: %s: %w: %s: impossible shape %v", v.file.path, ErrFormat, v.called(name), got)
	}
	dst := make([]float32, n)
	return dst, v.Read(name, dst)
}

func (v *View) checked(name string) ([]int, error) {
	s, ok := v.tensors[name]
	if !ok {
		return nil, fmt.Errorf("weights: %s: %w: %s", v.file.path, ErrMissing, name)
	}
	shape, err := v.shape(s)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %s: %w", v.file.path, v.called(name), err)
	}
	return shape, nil
}

// called is what the file calls a tensor.
func (v *View) called(name string) string {
	if s, ok := v.tensors[name]; ok {
		return strings.Join(s.parts, "+")
	}
	return name
}

// Read converts a tensor of the layout into dst, which has its size.
func (v *View) Read(name string, dst []float32) error {
	shape, err := v.checked(name)
	if err != nil {
		return err
	}
	if n, ok := volume(shape); !ok || n != len(dst) {
		return fmt.Errorf("weights: %s: %w: %s: %v into %d values", v.file.path, ErrShape, v.called(name), shape, len(dst))
	}
	s := v.tensors[name]
	if s.transpose {
		rows, cols := shape[0], shape[1]
		stored := make([]float32, len(dst))
		if err := v.file.Read(s.parts[0], stored); err != nil {
			return err
		}
		for i := range rows {
			for j := range cols {
				dst[i*cols+j] = stored[j*rows+i]
			}
		}
		return nil
	}
	for _, p := range s.parts {
		own, _ := v.file.Shape(p)
		n, _ := volume(own)
		if err := v.file.Read(p, dst[:n]); err != nil {
			return err
		}
		dst = dst[n:]
	}
	return nil
}

// Release lets the mapped pages of tensors go that were read.
func (v *View) Release(names ...string) {
	for _, name := range names {
		v.file.Release(v.tensors[name].parts...)
	}
}

// Metadata and Config are the file's.
func (v *View) Metadata() map[string]string { return v.file.Metadata() }

// Config is the file's [File.Config].
func (v *View) Config() []byte { return v.file.Config() }

// Check compares the tensors with those that a model wants and reports all that
// are missing, misshapen, of a type that is no weight, or surplus, in one
// error.
func (v *View) Check(want []TensorInfo) error {
	var problems []string
	var kinds []error
	note := func(kind error, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%v: ", kind)+fmt.Sprintf(format, args...))
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	known := make(map[string]bool)
	for _, w := range want {
		known[w.Name] = true
		s, ok := v.tensors[w.Name]
		if !ok {
			note(ErrMissing, "%s, %v", w.Name, w.Shape)
			continue
		}
		shape, err := v.shape(s)
		switch {
		case err != nil:
			note(ErrShape, "%s: %v", v.called(w.Name), err)
		case !matches(shape, w.Shape):
			note(ErrShape, "%s: want %v, got %v", v.called(w.Name), w.Shape, shape)
		default:
			for _, p := range s.parts {
				if info, _ := v.file.Info(p); !info.DType.Float() {
					note(ErrDType, "%s: want F32, F16, BF16 or F64, got %v", p, info.DType)
				}
			}
		}
	}
	if !v.file.surplus {
		for _, name := range v.Names() {
			if !known[name] {
				note(ErrSurplus, "%s", v.called(name))
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	sort.Strings(problems)
	return &mismatch{file: v.file.path, problems: problems, kinds: kinds}
}

// mismatch lists all that is wrong with a checkpoint's tensors.
type mismatch struct {
	file     string
	problems []string
	kinds    []error
}

func (m *mismatch) Error() string {
	return fmt.Sprintf("weights: %s: %d problems:\n%s", m.file, len(m.problems), strings.Join(m.problems, "\n"))
}

func (m *mismatch) Unwrap() []error { return m.kinds }
