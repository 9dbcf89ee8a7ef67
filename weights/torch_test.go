package weights

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOddTensors: views of one storage and elements of all types.
func TestOddTensors(t *testing.T) {
	want := mustOpen(t, formats(t, "odd_tensors_expected.safetensors"))
	for _, file := range []string{"odd_tensors.pth", "odd_tensors_legacy.pth"} {
		path := formats(t, file)
		mapped := mustOpen(t, path)
		read, err := OpenFS(wholeOnly{os.DirFS(filepath.Dir(path))}, file)
		require.NoError(t, err)
		pieces, err := OpenFS(handles{os.DirFS(filepath.Dir(path))}, file)
		require.NoError(t, err)
		defer pieces.Close()
		for _, f := range []*File{mapped, read, pieces} {
			require.Equal(t, want.Names(), f.Names())
			for _, name := range want.Names() {
				shape, _ := want.Shape(name)
				a, err := want.Float32(name)
				require.NoError(t, err)
				for range 2 {
					b, err := f.Float32(name, append([]int{}, shape...)...)
					require.NoError(t, err)
					require.Equal(t, a, b, "%s: %s", file, name)
					f.Release(name)
				}
				info, _ := f.Info(name)
				if name == "bf16" {
					require.Equal(t, BF16, info.DType)
				}
			}
		}
	}
}

// handles hides that files are the system's, so that they are not mapped.
type handles struct{ fs.FS }

func (h handles) Open(name string) (fs.File, error) {
	f, err := h.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return struct {
		fs.File
		io.ReaderAt
	}{f, f.(io.ReaderAt)}, nil
}

// TestForbiddenGlobals: a pickle that would run something is refused with the
// name of what it asked for.
func TestForbiddenGlobals(t *testing.T) {
	for file, name := range map[string]string{
		"evil_os_system": "posix.system", "evil_os_system_raw": "os.system", "evil_stack_global": "os.system",
		"evil_inst": "os.system", "evil_obj": "os.system", "evil_newobj": "subprocess.Popen", "evil_eval": "builtins.eval",
		"evil_getattr": "builtins.getattr", "evil_legacy": "posix.system",
	} {
		_, err := Open(formats(t, filepath.Join("malformed", file+".pth")))
		require.ErrorIs(t, err, ErrGlobal, file)
		require.ErrorIs(t, err, ErrFormat, file)
		require.ErrorContains(t, err, name, file)
	}
}
