package simd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"image"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas/blas32"
)

// operands are the arguments of an operation that lie in memory, by name. The
// destination, if there is one, is dst.
type operands struct {
	matrix map[string]blas32.General
	vector map[string][]float32
	spaced map[string]Spaced
	bytes  map[string][]byte
	size   map[string]int
}

// checkedOperation is an exported operation with operands that fit and not a
// float more.
type checkedOperation struct {
	matrices map[string][2]int // rows and columns
	vectors  map[string]int    // lengths
	spaced   map[string][3]int // vectors, floats, items
	bytes    map[string]int
	sizes    map[string]int // numbers that may not be negative
	call     func(k Kernel, o *operands)
}

var checkedOperations = map[string]checkedOperation{
	"Pack": {
		matrices: map[string][2]int{"b": {5, 7}},
		call:     func(k Kernel, o *operands) { Pack(k, o.matrix["b"]) },
	},
	"PackTransposed": {
		matrices: map[string][2]int{"b": {5, 7}},
		call:     func(k Kernel, o *operands) { PackTransposed(k, o.matrix["b"]) },
	},
	"Kernel.MatMul": {
		matrices: map[string][2]int{"dst": {17, 37}, "a": {17, 9}, "residual": {17, 37}},
		vectors:  map[string]int{"bias": 37},
		call: func(k Kernel, o *operands) {
			b := Pack(k, filledMatrix(37, 9))
			k.MatMul(nil, o.matrix["dst"], o.matrix["a"], b, Epilogue{Bias: o.vector["bias"], Residual: o.matrix["residual"]})
		},
	},
	"Kernel.Attend": {
		matrices: map[string][2]int{"dst": {14, 6}, "q": {14, 6}, "k": {24, 6}, "v": {24, 6}, "mask": {7, 12},
			"row": {14, 6}, "col": {14, 8}},
		sizes: map[string]int{"batch": 2, "heads": 2, "dim": 3, "columns": 4, "rows": 3},
		call: func(k Kernel, o *operands) {
			k.Attend(nil, o.matrix["dst"], &Attention{Batch: o.size["batch"], Heads: o.size["heads"], HeadDim: o.size["dim"], Scale: 1,
				Q: o.matrix["q"], K: o.matrix["k"], V: o.matrix["v"], Mask: o.matrix["mask"], RelRow: o.matrix["row"], RelCol: o.matrix["col"],
				Grid: image.Pt(o.size["columns"], o.size["rows"])})
		},
	},
	"Kernel.LayerNorm": {
		matrices: map[string][2]int{"dst": {5, 19}, "x": {5, 19}},
		vectors:  map[string]int{"weight": 19, "bias": 19},
		call: func(k Kernel, o *operands) {
			k.LayerNorm(nil, o.matrix["dst"], o.matrix["x"], o.vector["weight"], o.vector["bias"], 1e-5)
		},
	},
	"Kernel.Add": {
		vectors: map[string]int{"dst": 19, "a": 19, "b": 19},
		call:    func(k Kernel, o *operands) { k.Add(o.vector["dst"], o.vector["a"], o.vector["b"]) },
	},
	"Kernel.Dot": {
		vectors: map[string]int{"a": 19, "b": 19},
		call:    func(k Kernel, o *operands) { k.Dot(o.vector["a"], o.vector["b"]) },
	},
	"Kernel.Lerp": {
		vectors: map[string]int{"dst": 19, "a": 19, "b": 19},
		call:    func(k Kernel, o *operands) { k.Lerp(o.vector["dst"], o.vector["a"], o.vector["b"], 0.25, 0.75) },
	},
	"Kernel.FromF16": {
		vectors: map[string]int{"dst": 19},
		bytes:   map[string]int{"src": 38},
		call:    func(k Kernel, o *operands) { k.FromF16(o.vector["dst"], o.bytes["src"]) },
	},
	"Kernel.FromBF16": {
		vectors: map[string]int{"dst": 19},
		bytes:   map[string]int{"src": 38},
		call:    func(k Kernel, o *operands) { k.FromBF16(o.vector["dst"], o.bytes["src"]) },
	},
	"Kernel.WinogradInput": {
		spaced: map[string][3]int{"dst": {4, 11, 3}, "src": {4, 11, 3}},
		sizes:  map[string]int{"n": 11, "count": 3},
		call: func(k Kernel, o *operands) {
			k.WinogradInput(2, o.spaced["dst"], o.spaced["src"], o.size["n"], o.size["count"])
		},
	},
	"Kernel.WinogradOutput": {
		spaced: map[string][3]int{"dst": {4, 11, 3}, "src": {6, 11, 3}},
		sizes:  map[string]int{"n": 11, "count": 3},
		call: func(k Kernel, o *operands) {
			k.WinogradOutput(4, o.spaced["dst"], o.spaced["src"], o.size["n"], o.size["count"], ReLU)
		},
	},
}

// free are the exported functions and methods without operands whose sizes
// could disagree.
var free = []string{"All", "BLAS", "Best", "Info", "Kernel.Activate", "Kernel.MinMax", "Kernel.Name", "Kernel.Softmax", "Kernel.String",
	"NewTeam", "NewWorkers", "Packed.K", "Packed.N", "Select",
	"Team.Close", "Team.Do", "Team.Ended", "Team.Outside", "Team.Size", "Team.Until", "Workers.Team"}

// TestOperationsListed: every exported function of the package is in the table
// above, or is known to have nothing to check. The methods of BLAS have
// gonum's checks.
func TestOperationsListed(t *testing.T) {
	files, err := os.ReadDir(".")
	require.NoError(t, err)
	found := map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				of := f.Recv.List[0].Type
				if star, ok := of.(*ast.StarExpr); ok {
					of = star.X
				}
				if !of.(*ast.Ident).IsExported() {
					continue
				}
				name = of.(*ast.Ident).Name + "." + name
			}
			found[name] = true
		}
	}
	want := append(slices.Sorted(maps.Keys(checkedOperations)), free...)
	slices.Sort(want)
	require.Equal(t, want, slices.Sorted(maps.Keys(found)))
}

// filled returns n floats, all different.
func filled(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1 + float32(i)/64
	}
	return x
}

func filledMatrix(rows, cols int) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: filled(rows * cols)}
}

// operands are arguments that fit: the last row of a matrix and the last vector
// end with the memory.
func (c checkedOperation) operands() *operands {
	o := &operands{map[string]blas32.General{}, map[string][]float32{}, map[string]Spaced{}, map[string][]byte{}, maps.Clone(c.sizes)}
	for name, size := range c.matrices {
		stride := size[1] + 3
		o.matrix[name] = blas32.General{Rows: size[0], Cols: size[1], Stride: stride, Data: exact(filled((size[0]-1)*stride + size[1]))}
	}
	for name, n := range c.vectors {
		o.vector[name] = exact(filled(n))
	}
	for name, s := range c.spaced {
		stride := s[1] + 2
		step := s[0]*stride + 1
		o.spaced[name] = Spaced{exact(filled((s[2]-1)*step + (s[0]-1)*stride + s[1])), stride, step}
	}
	for name, n := range c.bytes {
		o.bytes[name] = make([]byte, n)
	}
	return o
}

// exact is x, of no more capacity than length.
func exact(x []float32) []float32 { return slices.Clip(x) }

// dst is the memory of the destination.
func (o *operands) dst() []float32 {
	if m, ok := o.matrix["dst"]; ok {
		return m.Data
	}
	if s, ok := o.spaced["dst"]; ok {
		return s.Data
	}
	return o.vector["dst"]
}

// mistakes are ways to make operands not fit.
func (c checkedOperation) mistakes() map[string]func(o *operands) {
	all := map[string]func(o *operands){}
	const huge = math.MaxInt/2 + 1
	for name := range c.matrices {
		change := func(what string, f func(m *blas32.General)) {
			all[name+" "+what] = func(o *operands) {
				m := o.matrix[name]
				f(&m)
				o.matrix[name] = m
			}
		}
		change("short", func(m *blas32.General) { m.Data = exact(m.Data[:len(m.Data)-1]) })
		change("of one row", func(m *blas32.General) { m.Data = exact(m.Data[:m.Cols]) })
		change("empty", func(m *blas32.General) { m.Data = []float32{} })
		change("stride below columns", func(m *blas32.General) { m.Stride = m.Cols - 1 })
		change("stride 0", func(m *blas32.General) { m.Stride = 0 })
		change("stride negative", func(m *blas32.General) { m.Stride = -m.Stride })
		change("stride huge", func(m *blas32.General) { m.Stride = huge })
		change("one row more", func(m *blas32.General) { m.Rows++ })
		change("rows negative", func(m *blas32.General) { m.Rows = -1 })
		change("rows huge", func(m *blas32.General) { m.Rows = huge })
		change("columns negative", func(m *blas32.General) { m.Cols = -1 })
		change("columns huge", func(m *blas32.General) { m.Cols = huge; m.Stride = huge })
		change("columns and rows huge", func(m *blas32.General) { m.Rows, m.Cols, m.Stride = huge, huge, huge })
	}
	for name := range c.vectors {
		all[name+" short"] = func(o *operands) { o.vector[name] = exact(o.vector[name][1:]) }
		all[name+" long"] = func(o *operands) { o.vector[name] = append(o.vector[name], 1) }
		all[name+" empty"] = func(o *operands) { o.vector[name] = []float32{} }
	}
	for name := range c.bytes {
		all[name+" short"] = func(o *operands) { o.bytes[name] = o.bytes[name][1:] }
		all[name+" long"] = func(o *operands) { o.bytes[name] = append(o.bytes[name], 1) }
		all[name+" empty"] = func(o *operands) { o.bytes[name] = nil }
	}
	for name, size := range c.spaced {
		change := func(what string, f func(s *Spaced)) {
			all[name+" "+what] = func(o *operands) {
				s := o.spaced[name]
				f(&s)
				o.spaced[name] = s
			}
		}
		change("short", func(s *Spaced) { s.Data = exact(s.Data[1:]) })
		change("empty", func(s *Spaced) { s.Data = nil })
		change("stride below n", func(s *Spaced) { s.Stride = size[1] - 1 })
		change("stride negative", func(s *Spaced) { s.Stride = -s.Stride })
		change("stride huge", func(s *Spaced) { s.Stride = huge })
		change("step 0", func(s *Spaced) { s.Step = 0 })
		change("step negative", func(s *Spaced) { s.Step = -s.Step })
		change("step huge", func(s *Spaced) { s.Step = huge })
	}
	for name := range c.sizes {
		for what, n := range map[string]int{"negative": -1, "most negative": math.MinInt, "huge": huge} {
			all[name+" "+what] = func(o *operands) { o.size[name] = n }
		}
		all[name+" one more"] = func(o *operands) { o.size[name]++ }
	}
	return all
}

// TestOperandsChecked: operands that fit to the last float are taken, and one
// that does not is a panic before anything is written, with every kernel.
func TestOperandsChecked(t *testing.T) {
	for _, k := range All() {
		for name, c := range checkedOperations {
			require.NotPanics(t, func() { c.call(k, c.operands()) }, "%s: %s", k, name)
			for what, mistake := range c.mistakes() {
				o := c.operands()
				mistake(o)
				before := slices.Clone(o.dst())
				requirePanic(t, func() { c.call(k, o) }, "%s: %s: %s", k, name, what)
				require.Equal(t, before, o.dst(), "%s: %s: %s: the destination has changed", k, name, what)
			}
		}
	}
}

// requirePanic wants a panic of the package's own.
func requirePanic(t *testing.T, f func(), message string, args ...any) {
	t.Helper()
	defer func() {
		t.Helper()
		v, ok := recover().(string)
		require.True(t, ok && strings.HasPrefix(v, "simd: "), append([]any{message + ": %v"}, append(args, v)...)...)
	}()
	f()
}

// TestOtherMistakes are those that are no operand's alone.
func TestOtherMistakes(t *testing.T) {
	dst, a, b := filledMatrix(4, 6), filledMatrix(4, 8), filledMatrix(6, 8)
	all := All()
	for i, k := range all {
		other := all[(i+1)%len(all)]
		v := Spaced{filled(200), 10, 40}
		for name, f := range map[string]func(){
			"MatMul of nothing":          func() { k.MatMul(nil, dst, a, nil, Epilogue{}) },
			"MatMul of another kernel's": func() { k.MatMul(nil, dst, a, Pack(other, b), Epilogue{}) },
			"MatMul of a zero Packed":    func() { k.MatMul(nil, dst, a, new(Packed), Epilogue{}) },
			"MatMul, activation":         func() { k.MatMul(nil, dst, a, Pack(k, b), Epilogue{Act: 99}) },
			"Activate":                   func() { k.Activate(99, dst.Data) },
			"MinMax":                     func() { k.MinMax(nil) },
			"WinogradInput of 3":         func() { k.WinogradInput(3, v, v, 5, 1) },
			"WinogradOutput of 0":        func() { k.WinogradOutput(0, v, v, 5, 1, Identity) },
			"WinogradOutput, activation": func() { k.WinogradOutput(2, v, v, 5, 1, GELU) },
			"Attend, causal": func() {
				q := filledMatrix(5, 4)
				k.Attend(nil, q, &Attention{Heads: 1, HeadDim: 4, Q: q, K: filledMatrix(3, 4), V: filledMatrix(3, 4), Causal: true})
			},
		} {
			before := slices.Clone(dst.Data)
			requirePanic(t, f, "%s: %s", k, name)
			require.Equal(t, before, dst.Data, "%s: %s", k, name)
		}
	}
}
