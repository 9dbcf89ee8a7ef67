package golden

import (
	"cmp"
	"encoding/json"
	"flag"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"
)

var long = flag.Bool("long", false, "also test the full-size architectures")

// Long skips the test unless the flag -long is set: it builds a full-size
// architecture.
func Long(t testing.TB) {
	t.Helper()
	if !*long {
		t.Skip("full-size architecture: run with -long")
	}
}

// Root returns the folder of the fixtures. They are a module of their own, so
// whoever tests from a downloaded module does not have them: then it skips.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		root := filepath.Join(dir, "testdata", "golden")
		if _, err := os.Stat(filepath.Join(root, "index.json")); err == nil {
			return root
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skip("testdata/golden is absent: fixtures come with a clone of the repository")
		}
		dir = up
	}
}

// Fixture is one entry of the index with its stored tensors.
type Fixture struct {
	File         string          `json:"file"`
	Group        string          `json:"group"`
	Reference    string          `json:"reference"`
	Architecture json.RawMessage `json:"architecture"`
	Weights      struct {
		Procedural bool       `json:"procedural"`
		Prefix     string     `json:"prefix"`
		Overrides  []Override `json:"overrides"`
	} `json:"weights"`
	Description string                     `json:"description"`
	InputsRaw   map[string]json.RawMessage `json:"inputs"`
	OutputsRaw  map[string]Output          `json:"outputs"`
	Tolerance   json.RawMessage            `json:"tolerance"`

	root    string
	tensors map[string]Tensor
}

// Override changes a procedural weight: op is fill, fill_index, scale or tie_taps.
type Override struct {
	Key   string  `json:"key"`
	Op    string  `json:"op"`
	Value float32 `json:"value"`
	Index []*int  `json:"index"`
}

// Output describes an expected tensor.
type Output struct {
	Shape     []int           `json:"shape"`
	Stored    string          `json:"stored"` // full, strided, or absent
	Stride    int             `json:"stride"`
	Rows      []string        `json:"rows"`
	Sum       *float64        `json:"sum"`
	SumSq     *float64        `json:"sumsq"`
	SHA256    string          `json:"sha256"`
	Tolerance json.RawMessage `json:"tolerance"`
	Note      string          `json:"note"`
}

// Abs returns the largest difference that the fixture suggests, or 0 for
// exact.
func (o Output) Abs() float64 {
	var t struct {
		Abs float64 `json:"abs"`
	}
	_ = json.Unmarshal(o.Tolerance, &t) // the string "exact" leaves 0
	return t.Abs
}

func index(t testing.TB) []*Fixture {
	t.Helper()
	root := Root(t)
	var all []*Fixture
	for _, folder := range []string{"", "sam2"} { // the second has an index of its own
		data, err := os.ReadFile(filepath.Join(root, folder, "index.json"))
		if err != nil {
			t.Fatal(err)
		}
		var own struct {
			Fixtures []*Fixture `json:"fixtures"`
		}
		if err := json.Unmarshal(data, &own); err != nil {
			t.Fatal(err)
		}
		for _, f := range own.Fixtures {
			f.root, f.File = root, path.Join(folder, f.File)
			f.Group = cmp.Or(folder, f.Group)
		}
		all = append(all, own.Fixtures...)
	}
	return all
}

// Load returns the fixture of that file, such as clip_vit/cs_tiny_48.safetensors.
func Load(t testing.TB, file string) *Fixture {
	t.Helper()
	for _, f := range index(t) {
		if f.File == file {
			f.read(t)
			return f
		}
	}
	t.Fatalf("golden: no fixture %s", file)
	return nil
}

// All returns the fixtures of a group in the order of the index.
func All(t testing.TB, group string) []*Fixture {
	t.Helper()
	var out []*Fixture
	for _, f := range index(t) {
		if f.Group == group {
			f.read(t)
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		t.Fatalf("golden: no fixtures in group %s", group)
	}
	return out
}

func (f *Fixture) read(t testing.TB) {
	t.Helper()
	if filepath.Ext(f.File) != ".safetensors" {
		return
	}
	var err error
	if f.tensors, err = ReadFile(f.Path(f.File)); err != nil {
		t.Fatal(err)
	}
}

// Path returns where a file of the set lies.
func (f *Fixture) Path(file string) string { return filepath.Join(f.root, filepath.FromSlash(file)) }

// Arch decodes the architecture's parameters into v.
func (f *Fixture) Arch(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(f.Architecture, v); err != nil {
		t.Fatalf("golden: %s: architecture: %v", f.File, err)
	}
}

// Weight returns a procedural weight of this fixture, overrides applied.
func (f *Fixture) Weight(key string, shape []int) []float32 {
	w := Weight(key, f.Weights.Prefix, shape)
	for _, o := range f.Weights.Overrides {
		if o.Key == key {
			o.apply(w, shape)
		}
	}
	return w
}

func (o Override) apply(w []float32, shape []int) {
	switch o.Op {
	case "fill":
		for i := range w {
			w[i] = o.Value
		}
	case "fill_index":
		for i := range w {
			if o.selects(i, shape) {
				w[i] = o.Value
			}
		}
	case "scale":
		for i := range w {
			w[i] *= o.Value
		}
	case "tie_taps": // t[:, :, i, j] = t[:, :, 0, 0]
		taps := shape[2] * shape[3]
		for i := range w {
			w[i] = w[i/taps*taps]
		}
	default:
		panic("golden: override " + o.Op)
	}
}

// selects reports whether element i lies under the index; null takes a whole axis.
func (o Override) selects(i int, shape []int) bool {
	for axis := len(shape) - 1; axis >= 0; axis-- {
		at := i % shape[axis]
		i /= shape[axis]
		if axis < len(o.Index) && o.Index[axis] != nil && *o.Index[axis] != at {
			return false
		}
	}
	return true
}

// Inputs and Outputs return names in sorted order.
func (f *Fixture) Inputs() []string { return sorted(f.InputsRaw) }

// Outputs returns the names of the expected tensors in sorted order.
func (f *Fixture) Outputs() []string { return sorted(f.OutputsRaw) }

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Stored returns a tensor of the file as it is stored.
func (f *Fixture) Stored(name string) (Tensor, bool) {
	x, ok := f.tensors[name]
	return x, ok
}

// Value decodes the literal input of that name into v.
func (f *Fixture) Value(t testing.TB, name string, v any) {
	t.Helper()
	var in struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(f.InputsRaw[name], &in); err == nil && in.Value != nil {
		if err := json.Unmarshal(in.Value, v); err != nil {
			t.Fatalf("golden: %s: input %s: %v", f.File, name, err)
		}
		return
	}
	t.Fatalf("golden: %s: input %s is no literal", f.File, name)
}

// Input returns the stored or procedural input of that name.
func (f *Fixture) Input(t testing.TB, name string) Tensor {
	t.Helper()
	var in struct {
		Tensor     string `json:"tensor"`
		Procedural *struct {
			Formula string  `json:"formula"`
			Name    string  `json:"name"`
			Shape   []int   `json:"shape"`
			Cell    int     `json:"cell"`
			BBlock  float32 `json:"b_block"`
			BNoise  float32 `json:"b_noise"`
			A       float32 `json:"a"`
			B       float32 `json:"b"`
			Common  struct {
				Name string  `json:"name"`
				B    float32 `json:"b"`
			} `json:"common"`
		} `json:"procedural"`
	}
	if err := json.Unmarshal(f.InputsRaw[name], &in); err != nil {
		t.Fatalf("golden: %s: input %s: %v", f.File, name, err)
	}
	if in.Tensor != "" {
		x, ok := f.tensors[in.Tensor]
		if !ok {
			t.Fatalf("golden: %s: tensor %s is not stored", f.File, in.Tensor)
		}
		return x
	}
	p := in.Procedural
	if p == nil {
		t.Fatalf("golden: %s: input %s is neither stored nor procedural", f.File, name)
		return Tensor{}
	}
	switch p.Formula {
	case "blocky":
		return Tensor{Shape: p.Shape, F32: Blocky(p.Name, p.Shape, p.Cell, p.BBlock, p.BNoise)}
	case "u8image":
		return Tensor{Shape: p.Shape, U8: U8Image(p.Name, p.Shape[0], p.Shape[1], p.Cell, p.BBlock, p.BNoise)}
	case "unit_rows":
		return Tensor{Shape: p.Shape, F32: UnitRows(p.Name, p.Shape, p.B, p.Common.Name, p.Common.B)}
	case "":
		return Tensor{Shape: p.Shape, F32: Procedural(p.Name, p.Shape, p.A, p.B)}
	}
	t.Fatalf("golden: %s: input %s: formula %s", f.File, name, p.Formula)
	return Tensor{}
}
