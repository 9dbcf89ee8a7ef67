package weights

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestViewTellsWhatElseAFileHolds(t *testing.T) {
	require.Equal(t, "0 tensors", beginning(nil))
	require.Equal(t, `4 tensors, beginning "a", "b", "c"`, beginning([]string{"a", "b", "c", "d"}))
	require.Less(t, len(beginning([]string{strings.Repeat("x", 1<<20)})), 120)
}

// toy is a model of two blocks in two layouts, of which the second splits a
// tensor and stores another transposed.
func toy() Model {
	return Model{
		Name:    "toy",
		Tensors: []string{"embed", "blocks.#.*"},
		Layouts: []Layout{{
			Name: "plain", Known: []string{"step", "*.stray"},
		}, {
			Name: "split",
			Rows: []Row{
				{Own: "embed", File: "in.weight", How: Transposed},
				{Own: "blocks.#.qkv_*", File: "layers.#.@_proj.*", How: QKV},
			},
		}},
	}
}

// prefixed returns a file of tensors with shapes of 2 × 3, each filled with its
// index, with names that begin so.
func prefixed(t *testing.T, prefix string, names ...string) *File {
	var infos []TensorInfo
	for _, name := range names {
		infos = append(infos, TensorInfo{Name: strings.ReplaceAll(name, "^", prefix), Shape: []int{2, 3}})
	}
	f, err := FromFunc(infos, func(name string, dst []float32) error {
		for i := range dst {
			dst[i] = float32(len(name)*10 + i)
		}
		return nil
	})
	require.NoError(t, err)
	return f
}

// The names behind a beginning decide what the model's tensors are, wherever
// they lie.
func TestViewFindsBeginnings(t *testing.T) {
	plain := []string{"^embed", "^blocks.0.weight", "^blocks.1.weight"}
	for _, prefix := range []string{"", "module.", "model.", "_orig_mod.module.", "a.b.c.d.", "ema.", "blocks.", "embed."} {
		for _, beside := range [][]string{nil, {"^x.stray"}, {"^step"}, {"zzz", "head.0.weight", "optimizer.embed.m"}} {
			if prefix == "" && len(beside) > 1 {
				continue // there, what is not the model's is surplus
			}
			f := prefixed(t, prefix, append(beside, plain...)...)
			v, err := NewView(f, toy())
			require.NoError(t, err, "%q %q", prefix, beside)
			require.Equal(t, []string{"blocks.0.weight", "blocks.1.weight", "embed"}, v.Names(), "%q %q", prefix, beside)
			require.NoError(t, v.Check([]TensorInfo{{Name: "embed", Shape: []int{2, 3}}, {Name: "blocks.0.weight", Shape: []int{2, 3}}, {Name: "blocks.1.weight", Shape: []int{2, 3}}}))
			want, err := f.Float32(prefix + "embed")
			require.NoError(t, err)
			got, err := v.Float32("embed")
			require.NoError(t, err)
			require.Equal(t, want, got)
			err = v.Check([]TensorInfo{{Name: "blocks.2.weight", Shape: []int{1}}})
			require.ErrorIs(t, err, ErrMissing)
			require.ErrorContains(t, err, " "+prefix+"blocks.2.weight", "messages have the file's names")
		}
	}
}

func TestViewChooses(t *testing.T) {
	for name, c := range map[string]struct {
		names  []string
		layout string
		prefix string
		is     error
		says   []string
	}{
		"all names decide":           {[]string{"embed", "net.in.weight", "net.layers.0.q_proj.w", "net.layers.0.k_proj.w", "net.layers.0.v_proj.w"}, "split", "net.", nil, nil},
		"the longer list":            {[]string{"a.embed", "b.embed", "b.blocks.0.w"}, "plain", "b.", nil, nil},
		"averages stand back":        {[]string{"model.embed", "model.blocks.0.w", "model_ema.embed", "model_ema.blocks.0.w"}, "plain", "model.", nil, nil},
		"two alike":                  {[]string{"student.embed", "student.blocks.0.w", "teacher.embed", "teacher.blocks.0.w"}, "", "", ErrFormat, []string{"student.", "teacher."}},
		"a word that ends so":        {[]string{"semantic.embed", "semantic.blocks.0.w", "other.embed", "other.blocks.0.w"}, "", "", ErrFormat, []string{"semantic.", "other."}},
		"a copy beside the root":     {[]string{"embed", "blocks.0.w", "teacher.embed", "teacher.blocks.0.w"}, "", "", ErrFormat, []string{"teacher."}},
		"an average beside the root": {[]string{"embed", "blocks.0.w", "ema.embed", "ema.blocks.0.w"}, "plain", "", nil, nil},
		"another model":              {[]string{"mask_decoder.a", "x"}, "", "", ErrMissing, []string{"Segment Anything"}},
		"nothing of it":              {[]string{"conv.weight", "fc.bias"}, "", "", ErrMissing, []string{"no toy", "2 tensors", "conv.weight"}},
		"a network that uses a word": {[]string{"decoder.embed", "decoder.a", "decoder.b", "decoder.c", "decoder.d"}, "", "", ErrMissing, []string{"no toy"}},
		"an empty file":              {nil, "", "", ErrMissing, []string{"0 tensors"}},
	} {
		v, err := NewView(prefixed(t, "", c.names...), toy())
		if c.is != nil {
			require.ErrorIs(t, err, c.is, name)
			for _, s := range c.says {
				require.ErrorContains(t, err, s, name)
			}
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.layout, v.fit.layout.Name, name)
		require.Equal(t, c.prefix, v.fit.prefix, name)
	}
}

// A directory gives the file that holds the model, whatever lies beside it.
func TestOpenModel(t *testing.T) {
	write := func(dir, name string, names ...string) {
		require.NoError(t, Save(t.Context(), filepath.Join(dir, name), prefixed(t, "", names...), F32))
	}
	for name, c := range map[string]struct {
		files map[string][]string
		want  string
		is    error
		says  []string
	}{
		"another network's first": {map[string][]string{"model.safetensors": {"conv.w"}, "open_clip_model.safetensors": {"embed"}}, "open_clip_model.safetensors", nil, nil},
		"the order of the names":  {map[string][]string{"model.safetensors": {"embed"}, "open_clip_model.safetensors": {"embed"}, "a.pt": {"embed"}}, "model.safetensors", nil, nil},
		"one of other names":      {map[string][]string{"epoch_32.pt": {"embed"}, "optimizer.bin": {"conv.w"}}, "epoch_32.pt", nil, nil},
		"two of other names":      {map[string][]string{"epoch_31.pt": {"embed"}, "epoch_32.pt": {"embed"}}, "", ErrFormat, []string{"epoch_31.pt", "epoch_32.pt"}},
		"none":                    {map[string][]string{"model.safetensors": {"conv.w"}, "x.ckpt": {"fc.b"}}, "", ErrMissing, []string{"model.safetensors", "x.ckpt", "conv.w"}},
		"no file":                 {nil, "", ErrFormat, []string{"no checkpoint"}},
	} {
		dir := t.TempDir()
		for file, names := range c.files {
			write(dir, file, names...)
		}
		f, err := OpenModel(dir, toy())
		if c.is != nil {
			require.ErrorIs(t, err, c.is, name)
			for _, s := range c.says {
				require.ErrorContains(t, err, s, name)
			}
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, filepath.Join(dir, c.want), f.path, name)
		require.NoError(t, f.Close())
	}
}

// A view refuses a tensor that cannot be read before it takes memory for a shape
// that no data vouch for.
func TestViewOfWhatCannotBeRead(t *testing.T) {
	const side = 1 << (strconv.IntSize/2 - 3)
	pickle := newPickle().dict(
		torchTensor{name: "embed", kind: "ComplexFloat", key: "0", count: 4, shape: []int64{side, side}, strides: []int64{0, 0}},
		torchTensor{name: "blocks.0.w", kind: "Float", key: "1", count: 1, shape: []int64{1}, strides: []int64{1}})
	f, err := FromBytes(archive(t, pickle.stop(), record{"a/data/0", make([]byte, 32)}, record{"a/data/1", make([]byte, 4)}))
	require.NoError(t, err)
	v, err := NewView(f, toy())
	require.NoError(t, err)
	shape, ok := v.Shape("embed")
	require.True(t, ok)
	require.Equal(t, []int{side, side}, shape)
	_, err = v.Float32("embed")
	require.ErrorIs(t, err, ErrDType)
	_, err = v.Float32("blocks.0.w", 1)
	require.NoError(t, err)
}
