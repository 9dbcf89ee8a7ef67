package pix_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/clipsurgery/clipsurgery"

// The models take pictures that are decoded: importing them registers no format
// and compiles no reader of files.
func TestModelsImportNoDecoders(t *testing.T) {
	seen := make(map[string]string) // who imports it
	var visit func(path string)
	visit = func(path string) {
		rest, own := strings.CutPrefix(path, module)
		if !own {
			return
		}
		for _, imported := range imports(t, filepath.Join("..", "..", filepath.FromSlash(rest))) {
			if _, known := seen[imported]; !known {
				seen[imported] = path
				visit(imported)
			}
		}
	}
	for _, root := range []string{"/vit", "/sam", "/surgery"} {
		visit(module + root)
	}
	require.Contains(t, seen, module+"/internal/pix")
	for path, by := range seen {
		decoder := path == module+"/internal/picturefile" || path == module+"/internal/jpeg" ||
			strings.HasPrefix(path, "image/") && path != "image/color" && path != "image/draw" ||
			strings.HasPrefix(path, "golang.org/x/image")
		require.False(t, decoder, "%s imports %s", by, path)
	}
}

// imports lists what the files of a folder import, tests left out.
func imports(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	files, err := fs.Glob(os.DirFS(dir), "*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files, dir)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			all = append(all, path)
		}
	}
	return all
}
