package weights

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// check reads all of a file and reports anything but a known error, a tensor
// that is much larger than the file, and what is not the same after it was
// written and read again.
func check(t *testing.T, size int, f *File, err error) {
	known := func(err error) {
		for _, kind := range []error{ErrFormat, ErrMissing, ErrNotFinite} {
			if errors.Is(err, kind) {
				return
			}
		}
		t.Fatalf("untyped error: %v", err)
	}
	if err != nil {
		known(err)
		return
	}
	values := make(map[string][]float32)
	unreadable := f.Unreadable()
	for name, err := range unreadable {
		_, got := f.Float32(name)
		require.ErrorIs(t, got, err)
		require.True(t, errors.Is(err, ErrDType) || errors.Is(err, ErrGlobal), "%v", err)
	}
	for _, name := range f.Names() {
		if unreadable[name] != nil {
			continue
		}
		shape, _ := f.Shape(name)
		if n, ok := volume(shape); !ok || n > size {
			t.Fatalf("%s: %v in %d bytes", name, shape, size)
		}
		x, err := f.Float32(name, append([]int{}, shape...)...)
		if err != nil {
			known(err)
			return
		}
		values[name] = x
		f.Release(name)
	}
	var b bytes.Buffer
	if err := Write(t.Context(), &b, f, F32); err != nil {
		require.ErrorIs(t, err, ErrDType) // a large integer
		return
	}
	again, err := FromBytes(b.Bytes())
	require.NoError(t, err)
	require.Equal(t, f.Names(), again.Names())
	for name, want := range values {
		got, err := again.Float32(name)
		require.NoError(t, err)
		require.True(t, slices.Equal(want, got), name)
	}
	require.NoError(t, f.Close())
}

// fuzzFiles begins with seeds and with the malformed files of the fixtures that
// have the given ending.
func fuzzFiles(f *testing.F, ending string, seeds ...[]byte) {
	for _, seed := range seeds {
		f.Add(seed)
	}
	files, err := filepath.Glob("../testdata/golden/formats/malformed/*" + ending)
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		if len(data) <= 4096 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := FromBytes(data)
		check(t, len(data), file, err)
	})
}

func FuzzSafetensors(f *testing.F) {
	fuzzFiles(f, ".safetensors",
		safetensor(f, map[string][]float32{"a": {1, 2}, "b": {3}}, map[string][]int{"b": {}}),
		safetensor(f, map[string][]float32{"e": {}}, map[string][]int{"e": {0, 3}}),
		[]byte("\x35\x00\x00\x00\x00\x00\x00\x00"+`{"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}`+"\x00\x3c\x00\xbc"),
		[]byte("\x1e\x00\x00\x00\x00\x00\x00\x00"+`{"__metadata__":{"a":"b"}}    `))
}

// The index fuzzed lies beside two files.
func FuzzIndex(f *testing.F) {
	shard := func(name string) *fstest.MapFile {
		return &fstest.MapFile{Data: safetensor(f, map[string][]float32{name: {1}}, nil)}
	}
	a, b := shard("a"), shard("b")
	f.Add([]byte(`{"metadata": {"total_size": 8}, "weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}`))
	f.Add([]byte(`{"weight_map": {"a": "../a.safetensors"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := fstest.MapFS{"a.safetensors": a, "b.safetensors": b, "model.safetensors.index.json": {Data: data}}
		file, err := OpenFS(fsys, "model.safetensors.index.json")
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		check(t, len(data)+16, file, err)
	})
}

func FuzzArchive(f *testing.F) {
	transposed := torchTensor{name: "b", kind: "Half", key: "1", count: 6, shape: []int64{2, 3}, strides: []int64{1, 2}}
	data := newPickle().dict(vector("a", "0", 2), transposed).stop()
	storages := []record{{"a/data/0", make([]byte, 8)}, {"a/data/1", make([]byte, 12)}}
	fuzzFiles(f, ".pth",
		archive(f, data, storages...),
		archive(f, data, append(storages, record{"a/byteorder", []byte("big")})...),
		archive(f, newPickle().global("__torch__.m", "Net").raw(")\x81").dict(vector("a", "0", 2)).raw("b").stop(),
			append(storages, record{"a/constants.pkl", []byte("\x80\x02).")})...))
}

func FuzzLegacy(f *testing.F) {
	a, b := vector("a", "0", 2), vector("b", "0", 2)
	a.legacy, b.legacy = true, true
	b.shape, b.strides = []int64{1, 1}, []int64{0, 1}
	fuzzFiles(f, "legacy.pth", legacy(newPickle().dict(a, b).stop(), record{"0", make([]byte, 8)}))
}

// FuzzPickle puts pickles into an archive that is as it should be.
func FuzzPickle(f *testing.F) {
	a := vector("a", "0", 2)
	for _, p := range []*pickled{
		newPickle().dict(a),
		newPickle().raw("}").text("state_dict").dict(a).raw("s"),
		newPickle().global("collections", "OrderedDict").raw(")R(").text("a").tensor(a).raw("u}b"),
		newPickle().raw("}").text("a").global("torch._utils", "_rebuild_parameter").raw("(").tensor(a).raw("\x88}tRs"),
		newPickle().raw("\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94").tensor(a).raw("u"),
		newPickle().global("__torch__.m", "Net").raw(")\x81").dict(a).raw("b"),
		newPickle().raw("(S'x'\nios\nsystem\n"),
		newPickle().raw("\x8c\x02os\x8c\x06system\x93"),
		newPickle().raw("}q\x00(K\x01M\x02\x00J\x03\x00\x00\x00G\x00\x00\x00\x00\x00\x00\x00\x00\x8f(\x90Nh\x002eu"),
	} {
		f.Add(p.stop())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		whole := archive(t, data, record{"a/data/0", make([]byte, 8)}, record{"a/constants.pkl", nil})
		file, err := FromBytes(whole)
		check(t, len(whole), file, err)
	})
}
