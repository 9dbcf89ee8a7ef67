package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/clipsurgery/clipsurgery"

// layer says which packages of the module a package may import. A pattern of
// packages ends in "/...".
type layer struct {
	importer string
	imports  []string
}

// allowed is all layers. Imports point down this list: a package stands below
// all that import it. Tests are free.
var allowed = []layer{
	{"simd", []string{"internal/scratch"}},
	{"simd/internal/...", nil},
	{"weights", []string{"internal/option", "simd"}},
	{"weights/hub", []string{"internal/option", "weights"}},
	{"weights/shapes", []string{"weights"}},
	{"tokenizer", []string{"internal/option"}},

	{"internal/option", nil},
	{"internal/scratch", nil},
	{"internal/chroma", nil},
	{"internal/runs", nil},
	{"internal/jpeg", []string{"internal/chroma"}},
	{"internal/pix", []string{"internal/chroma", "internal/scratch"}},
	{"internal/picturefile", []string{"internal/jpeg", "internal/pix"}},
	{"internal/nn", []string{"internal/scratch", "simd", "weights"}},

	{"vit", []string{"internal/nn", "internal/option", "internal/pix", "internal/scratch", "simd", "tokenizer", "weights"}},
	{"sam", []string{"internal/nn", "internal/option", "internal/pix", "internal/runs", "internal/scratch", "simd", "weights"}},
	// surgery and sam do not know each other: they meet through image.Point.
	{"surgery", []string{"internal/option", "internal/pix", "simd", "vit"}},
	{"surgery/eval", []string{"internal/picturefile", "internal/runs", "surgery"}},
	{"surgery/draw", []string{"internal/option", "internal/pix", "sam", "surgery", "vit"}},
	{"", []string{"internal/option", "internal/picturefile", "internal/pix", "sam", "surgery", "vit"}},

	// Programs and the helpers of tests stand above the library.
	{"internal/golden", nil},
	{"internal/house", nil},
	{"internal/hostile", []string{"internal/golden", "weights"}},
	{"internal/untrained", []string{"vit", "sam", "weights"}},
	{"internal/cli/...", []string{"", "internal/cli", "sam", "surgery", "surgery/draw", "vit", "weights", "weights/hub", "weights/shapes", "simd"}},
	{"internal/figure", []string{"", "internal/cli", "sam", "surgery", "surgery/draw", "vit", "weights/shapes"}},
	{"examples/...", []string{"", "internal/cli", "sam", "simd", "surgery", "surgery/draw", "surgery/eval", "vit", "weights", "weights/hub", "weights/shapes"}},
	{"tools/...", []string{"internal/untrained", "sam", "simd", "surgery", "vit", "weights"}},
}

// file is a parsed file of the module.
type file struct {
	pkg  string // path below the module, "" for the root
	name string
	test bool
	*ast.File
}

// parse reads all Go files of the root module, whatever they are built for.
func parse(t *testing.T) (*token.FileSet, []file) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	set := token.NewFileSet()
	var all []file
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "out") {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != root {
				return fs.SkipDir // a module of its own
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		all = append(all, file{strings.TrimPrefix(filepath.ToSlash(pkg), "."), name, strings.HasSuffix(name, "_test.go"), f})
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, len(all), 100)
	return set, all
}

func TestImports(t *testing.T) {
	_, files := parse(t)
	for _, f := range files {
		if f.test {
			continue
		}
		i := slices.IndexFunc(allowed, func(l layer) bool {
			base, tree := strings.CutSuffix(l.importer, "/...")
			return f.pkg == l.importer || tree && (f.pkg == base || strings.HasPrefix(f.pkg, base+"/"))
		})
		require.NotEqual(t, -1, i, "package %q is in no layer: add it to the table", f.pkg)
		for _, spec := range f.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if path == "C" || path == "log" || path == "log/slog" {
				t.Errorf("%s/%s imports %s", f.pkg, f.name, path)
			}
			if path != module && !strings.HasPrefix(path, module+"/") {
				continue
			}
			path = strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
			if path != f.pkg && !slices.Contains(allowed[i].imports, path) {
				t.Errorf("%s/%s imports %q: the table allows %q", f.pkg, f.name, path, allowed[i].imports)
			}
		}
	}
}

// Every package, and every exported name, has a comment.
func TestDocumented(t *testing.T) {
	set, files := parse(t)
	documented := map[string]bool{}
	for _, f := range files {
		if !f.test && f.Doc != nil {
			documented[f.pkg] = true
		}
	}
	for _, f := range files {
		if f.test {
			continue
		}
		require.True(t, documented[f.pkg], "package %q has no comment", f.pkg)
		for _, d := range f.Decls {
			for name, doc := range exported(d) {
				if doc == "" {
					t.Errorf("%s: %s has no comment", set.Position(d.Pos()), name)
				}
			}
		}
	}
}

// exported are the names that a declaration exports, with their comments.
func exported(d ast.Decl) map[string]string {
	names := map[string]string{}
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || receiverExported(d.Recv)) && d.Name.Name != "String" && d.Name.Name != "Error" {
			names[d.Name.Name] = d.Doc.Text()
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					names[s.Name.Name] = d.Doc.Text() + s.Doc.Text()
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() {
						names[n.Name] = d.Doc.Text() + s.Doc.Text() + s.Comment.Text()
					}
				}
			}
		}
	}
	return names
}

func receiverExported(r *ast.FieldList) bool {
	x := r.List[0].Type
	for {
		switch v := x.(type) {
		case *ast.StarExpr:
			x = v.X
		case *ast.IndexExpr:
			x = v.X
		case *ast.IndexListExpr:
			x = v.X
		case *ast.Ident:
			return v.IsExported()
		default:
			return false
		}
	}
}

// The library has no state of its own: no function assigns to a variable of a
// package, or takes its address, and there is no init.
func TestNoGlobalState(t *testing.T) {
	set, files := parse(t)
	variables := map[string]map[string]bool{} // by package
	library := func(f file) bool {
		return !f.test && f.Name.Name != "main" && !strings.HasPrefix(f.pkg, "internal/cli") && f.pkg != "internal/golden"
	}
	for _, f := range files {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR || !library(f) {
				continue
			}
			for _, s := range g.Specs {
				for _, n := range s.(*ast.ValueSpec).Names {
					if variables[f.pkg] == nil {
						variables[f.pkg] = map[string]bool{}
					}
					variables[f.pkg][n.Name] = true
				}
			}
		}
	}
	for _, f := range files {
		if !library(f) {
			continue
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init", set.Position(fn.Pos()))
			}
			own := locals(fn)
			changed := func(x ast.Expr) {
				for {
					switch v := x.(type) {
					case *ast.IndexExpr:
						x = v.X
						continue
					case *ast.SelectorExpr:
						x = v.X
						continue
					case *ast.ParenExpr:
						x = v.X
						continue
					case *ast.Ident:
						if variables[f.pkg][v.Name] && !own[v.Name] {
							t.Errorf("%s: %s changes the package's variable %s", set.Position(v.Pos()), fn.Name.Name, v.Name)
						}
					}
					return
				}
			}
			ast.Inspect(fn.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					if n.Tok != token.DEFINE {
						for _, x := range n.Lhs {
							changed(x)
						}
					}
				case *ast.IncDecStmt:
					changed(n.X)
				}
				return true
			})
		}
	}
}

// locals are the names that a function declares, which hide those of the
// package.
func locals(fn *ast.FuncDecl) map[string]bool {
	own := map[string]bool{}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				own[name.Name] = true
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, x := range n.Lhs {
					if id, ok := x.(*ast.Ident); ok {
						own[id.Name] = true
					}
				}
			}
		case *ast.RangeStmt:
			for _, x := range []ast.Expr{n.Key, n.Value} {
				if id, ok := x.(*ast.Ident); ok && n.Tok == token.DEFINE {
					own[id.Name] = true
				}
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				own[name.Name] = true
			}
		}
		return true
	})
	return own
}

// TestOptions: an option's type is an interface of one unexported method, or one
// of the types that several such interfaces share, and "With…" names a resource.
func TestOptions(t *testing.T) {
	set, files := parse(t)
	resources := []string{"WithWorkers", "WithKernel", "WithMemory", "WithProgress"}
	shared := []string{"ProgressOption", "SizeOption"}
	for _, f := range files {
		if f.test || strings.HasPrefix(f.pkg, "internal/") {
			continue
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "With") && !strings.HasPrefix(fn.Name.Name, "Without") {
				require.Contains(t, resources, fn.Name.Name, "%s", set.Position(fn.Pos()))
			}
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, spec := range g.Specs {
				named := spec.(*ast.TypeSpec)
				if !named.Name.IsExported() || !strings.HasSuffix(named.Name.Name, "Option") || slices.Contains(shared, named.Name.Name) {
					continue
				}
				at := set.Position(named.Pos())
				methods, ok := named.Type.(*ast.InterfaceType)
				require.True(t, ok && methods.Methods.NumFields() == 1, "%s is no interface of one method: %s", named.Name.Name, at)
				require.False(t, methods.Methods.List[0].Names[0].IsExported(), "the method of %s is exported: %s", named.Name.Name, at)
			}
		}
	}
}

// Every package of the library has an example that runs: one with its output.
func TestExamples(t *testing.T) {
	_, files := parse(t)
	examples, packages := map[string]bool{}, map[string]bool{}
	for _, f := range files {
		if !f.test && f.Name.Name != "main" && !strings.Contains("/"+f.pkg, "/internal") && !strings.HasPrefix(f.pkg, "examples") {
			packages[f.pkg] = true
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !f.test || !ok || !strings.HasPrefix(fn.Name.Name, "Example") {
				continue
			}
			for _, c := range f.Comments {
				if c.Pos() > fn.Pos() && c.End() < fn.End() && strings.Contains(strings.ToLower(c.Text()), "output:") {
					examples[f.pkg] = true
				}
			}
		}
	}
	for p := range packages {
		if !examples[p] {
			t.Errorf("package %q has no example with output", p)
		}
	}
}
