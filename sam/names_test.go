package sam

import (
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// under returns the tensors of f behind a prefix, and others beside it.
func under(t testing.TB, f *weights.File, prefix string) *weights.File {
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

// open opens a checkpoint of the fixtures.
func open(t testing.TB, name string) *weights.File {
	f, err := weights.Open(filepath.Join(golden.Root(t), "formats", filepath.FromSlash(name)))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// Every layout and container gives the same tensors under the model's own names.
func TestNames(t *testing.T) {
	base, err := weights.NewView(open(t, "sam_f16.safetensors"), names())
	require.NoError(t, err)
	var want []weights.TensorInfo
	for _, name := range base.Names() {
		shape, ok := base.Shape(name)
		require.True(t, ok)
		want = append(want, weights.TensorInfo{Name: name, Shape: shape})
	}
	for _, file := range []string{"sam_hf", "sam_f32.pth"} {
		t.Run(file, func(t *testing.T) {
			v, err := weights.NewView(open(t, file), names())
			require.NoError(t, err)
			require.Equal(t, base.Names(), v.Names())
			require.NoError(t, v.Check(want))
			for _, w := range want {
				a, err := base.Float32(w.Name, w.Shape...)
				require.NoError(t, err)
				b, err := v.Float32(w.Name, w.Shape...)
				require.NoError(t, err)
				require.Equal(t, a, b, w.Name)
				v.Release(w.Name)
				again := make([]float32, len(b))
				require.NoError(t, v.Read(w.Name, again))
				require.Equal(t, b, again, "%s after its release", w.Name)
			}
			for _, prefix := range []string{"module.", "model.net.", "_orig_mod.ema."} {
				v, err := weights.NewView(under(t, open(t, file), prefix), names())
				require.NoError(t, err)
				require.NoError(t, v.Check(want), prefix)
				for _, w := range want {
					a, err := base.Float32(w.Name)
					require.NoError(t, err)
					b, err := v.Float32(w.Name)
					require.NoError(t, err)
					require.Equal(t, a, b, "%s behind %s", w.Name, prefix)
				}
			}
		})
	}
}
