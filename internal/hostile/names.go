package hostile

import (
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// Open opens a checkpoint of the fixtures' formats.
func Open(t testing.TB, name string) *weights.File {
	f, err := weights.Open(filepath.Join(golden.Root(t), "formats", filepath.FromSlash(name)))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// CheckNames requires that files in any layout and container have the tensors of
// the base under the model's own names, and so have they behind beginnings of
// names and beside other tensors.
func CheckNames(t *testing.T, model weights.Model, base string, files ...string) {
	own, err := weights.NewView(Open(t, base), model)
	require.NoError(t, err)
	var want []weights.TensorInfo
	for _, name := range own.Names() {
		shape, ok := own.Shape(name)
		require.True(t, ok)
		want = append(want, weights.TensorInfo{Name: name, Shape: shape})
	}
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			f := Open(t, file)
			for _, prefix := range []string{"", "module.", "model.net.", "clip.", "state_dict.", "_orig_mod.ema."} {
				v, err := weights.NewView(under(t, f, prefix), model)
				require.NoError(t, err)
				require.Equal(t, own.Names(), v.Names(), prefix)
				require.NoError(t, v.Check(want), prefix)
				for _, w := range want {
					a, err := own.Float32(w.Name, w.Shape...)
					require.NoError(t, err)
					b, err := v.Float32(w.Name, w.Shape...)
					require.NoError(t, err)
					require.Equal(t, a, b, "%s behind %q", w.Name, prefix)
					v.Release(w.Name)
					again := make([]float32, len(b))
					require.NoError(t, v.Read(w.Name, again))
					require.Equal(t, b, again, "%s after its release", w.Name)
				}
			}
		})
	}
}

// under returns the tensors of f behind a prefix, and others beside it; f itself
// without one.
func under(t testing.TB, f *weights.File, prefix string) *weights.File {
	if prefix == "" {
		return f
	}
	infos := []weights.TensorInfo{{Name: "head.weight", Shape: []int{3}}, {Name: "n_averaged"}, {Name: "zzz.transformer.weight", Shape: []int{2}}}
	source := map[string]string{}
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		info.Name = prefix + name
		source[info.Name] = name
		infos = append(infos, info)
	}
	out, err := weights.FromFunc(infos, func(name string, dst []float32) error {
		if source[name] == "" {
			clear(dst)
			return nil
		}
		return f.Read(source[name], dst)
	})
	require.NoError(t, err)
	return out
}
