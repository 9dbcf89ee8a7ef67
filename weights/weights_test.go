package weights

import (
	"bytes"
	"embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
)

func formats(t testing.TB, name string) string {
	return filepath.Join(golden.Root(t), "formats", name)
}

func mustOpen(t testing.TB, path string, opts ...Option) *File {
	f, err := Open(path, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// safetensor is a safetensors file of F32 tensors; header overrides what is
// made of them.
func safetensor(t testing.TB, tensors map[string][]float32, shapes map[string][]int) []byte {
	header := map[string]any{}
	var data []byte
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		shape := shapes[name]
		if shape == nil {
			shape = []int{len(tensors[name])}
		}
		start := len(data)
		for _, v := range tensors[name] {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		header[name] = map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{start, len(data)}}
	}
	text, err := json.Marshal(header)
	require.NoError(t, err)
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return append(append(out, text...), data...)
}

func TestFloat32(t *testing.T) {
	f, err := FromBytes(safetensor(t, map[string][]float32{"a": {1, 2, 3, 4, 5, 6}, "s": {7}, "e": {}},
		map[string][]int{"a": {2, 3}, "s": {}, "e": {0, 3}}))
	require.NoError(t, err)
	require.Equal(t, []string{"a", "e", "s"}, f.Names())
	for _, shape := range [][]int{nil, {2, 3}, {-1, 3}, {-1, -1}} {
		got, err := f.Float32("a", shape...)
		require.NoError(t, err)
		require.Equal(t, []float32{1, 2, 3, 4, 5, 6}, got)
	}
	for _, shape := range [][]int{{6}, {3, 2}, {-1}, {2, 3, 1}, {}} {
		_, err := f.Float32("a", shape...)
		if len(shape) == 0 {
			require.ErrorIs(t, err, ErrShape, "an empty shape is a scalar's")
			continue
		}
		require.ErrorIs(t, err, ErrShape)
		require.ErrorContains(t, err, fmt.Sprint(shape))
		require.ErrorContains(t, err, "[2 3]")
	}
	scalar, err := f.Float32("s")
	require.NoError(t, err)
	require.Equal(t, []float32{7}, scalar)
	shape, ok := f.Shape("s")
	require.True(t, ok)
	require.Empty(t, shape)
	empty, err := f.Float32("e", 0, 3)
	require.NoError(t, err)
	require.Empty(t, empty)
	_, err = f.Float32("b")
	require.ErrorIs(t, err, ErrMissing)
	_, ok = f.Shape("b")
	require.False(t, ok)
	require.ErrorIs(t, f.Read("a", make([]float32, 5)), ErrShape)

	require.NoError(t, f.Close())
	require.NoError(t, f.Close())
	_, err = f.Float32("a")
	require.ErrorIs(t, err, fs.ErrClosed)
}

func TestHalfToFloat(t *testing.T) {
	for h := range 1 << 16 {
		sign, exponent, fraction := float64(1-h>>15*2), h>>10&31, float64(h&1023)
		var want float64
		switch exponent {
		case 0:
			want = sign * fraction * 0x1p-24
		case 31:
			want = sign * math.Inf(1)
			if fraction != 0 {
				want = math.NaN()
			}
		default:
			want = sign * (1 + fraction/1024) * math.Exp2(float64(exponent-15))
		}
		got := float64(halfToFloat(uint16(h)))
		if math.IsNaN(want) != math.IsNaN(got) || !math.IsNaN(want) && math.Float64bits(want) != math.Float64bits(got) {
			t.Fatalf("%#04x: want %v, got %v", h, want, got)
		}
	}
}

func TestDecode(t *testing.T) {
	le := binary.LittleEndian
	for dtype, c := range map[DType]struct {
		bytes []byte
		want  float32
	}{
		F32:  {le.AppendUint32(nil, math.Float32bits(-1.5)), -1.5},
		F64:  {le.AppendUint64(nil, math.Float64bits(1+0x1p-30)), 1},
		F16:  {[]byte{0x00, 0xc2}, -3},
		BF16: {[]byte{0x40, 0xc0}, -3},
		I64:  {le.AppendUint64(nil, 1<<64-5), -5},
		I32:  {le.AppendUint32(nil, 1<<32-5), -5},
		I16:  {le.AppendUint16(nil, 1<<16-5), -5},
		I8:   {[]byte{256 - 5}, -5},
		U64:  {le.AppendUint64(nil, 1<<63), 1 << 63},
		U32:  {le.AppendUint32(nil, 1<<31), 1 << 31},
		U16:  {le.AppendUint16(nil, 1<<15), 1 << 15},
		U8:   {[]byte{200}, 200},
		Bool: {[]byte{1}, 1},
	} {
		dst := make([]float32, 2)
		dtype.decode(dst, slices.Concat(c.bytes, c.bytes), le)
		require.Equal(t, []float32{c.want, c.want}, dst, dtype)
		clear(dst)
		slices.Reverse(c.bytes)
		dtype.decode(dst, slices.Concat(c.bytes, c.bytes), binary.BigEndian)
		require.Equal(t, []float32{c.want, c.want}, dst, "%v, big-endian", dtype)
		require.Equal(t, len(c.bytes), dtype.Size())
	}
}

func TestNotFinite(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, at := range []int{0, 1, chunk - 1, chunk, chunk + 5} {
			x := make([]float32, chunk+6)
			for i := range x {
				x[i] = math.MaxFloat32
			}
			x[at] = float32(bad)
			f, err := FromBytes(safetensor(t, map[string][]float32{"w": x}, nil))
			require.NoError(t, err)
			_, err = f.Float32("w")
			require.ErrorIs(t, err, ErrNotFinite)
			require.ErrorContains(t, err, fmt.Sprintf("element %d is", at))
		}
	}
}

func TestFromFunc(t *testing.T) {
	fill := func(name string, dst []float32) error {
		for i := range dst {
			dst[i] = float32(i)
		}
		return nil
	}
	f, err := FromFunc([]TensorInfo{{Name: "b", Shape: []int{2, 2}}, {Name: "a"}}, fill)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, f.Names())
	got, err := f.Float32("b", 2, -1)
	require.NoError(t, err)
	require.Equal(t, []float32{0, 1, 2, 3}, got)
	for _, bad := range [][]TensorInfo{
		{{Name: "a"}, {Name: "a"}},
		{{Name: "a", Shape: []int{-1}}},
		{{Name: "a", Shape: []int{math.MaxInt, 2}}},
		{{Name: "a", Shape: []int{math.MaxInt / 4, 3}}},
	} {
		_, err := FromFunc(bad, fill)
		require.ErrorIs(t, err, ErrFormat)
	}
	boom := errors.New("boom")
	f, err = FromFunc([]TensorInfo{{Name: "a"}}, func(string, []float32) error { return boom })
	require.NoError(t, err)
	_, err = f.Float32("a")
	require.ErrorIs(t, err, boom)
	f, err = FromFunc([]TensorInfo{{Name: "a"}}, func(_ string, dst []float32) error { dst[0] = float32(math.NaN()); return nil })
	require.NoError(t, err)
	_, err = f.Float32("a")
	require.ErrorIs(t, err, ErrNotFinite)
}

//go:embed testdata
var embedded embed.FS

// wholeOnly hides every access but reading from the start.
type wholeOnly struct{ fs.FS }

func (w wholeOnly) Open(name string) (fs.File, error) {
	f, err := w.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return struct{ fs.File }{f}, nil
}

func TestOpenFS(t *testing.T) {
	data := safetensor(t, map[string][]float32{"a": {1, 2, 3}}, nil)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), data, 0o600))
	memory := fstest.MapFS{"model.safetensors": {Data: data}}
	for name, fsys := range map[string]fs.FS{
		"mapped": os.DirFS(dir), "memory": memory, "whole": wholeOnly{memory},
	} {
		for _, path := range []string{"model.safetensors", "."} {
			t.Run(name+" "+path, func(t *testing.T) {
				f, err := OpenFS(fsys, path)
				require.NoError(t, err)
				defer f.Close()
				got, err := f.Float32("a", 3)
				require.NoError(t, err)
				require.Equal(t, []float32{1, 2, 3}, got)
			})
		}
	}
	f, err := OpenFS(embedded, "testdata/tiny.safetensors")
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, f.Names())
	require.NoError(t, f.Close())

	_, err = OpenFS(memory, "other.safetensors")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Open(filepath.Join(dir, "other.safetensors"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Open(t.TempDir())
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, "model.safetensors")
}

func TestShards(t *testing.T) {
	shard := func(values map[string][]float32) *fstest.MapFile {
		return &fstest.MapFile{Data: safetensor(t, values, nil)}
	}
	a, b := shard(map[string][]float32{"a": {1}}), shard(map[string][]float32{"b": {2}})
	open := func(index string) error {
		f, err := OpenFS(fstest.MapFS{"1.safetensors": a, "2.safetensors": b,
			"model.safetensors.index.json": {Data: []byte(index)}}, ".")
		if err == nil {
			_, err = f.Float32("b")
		}
		return err
	}
	require.NoError(t, open(`{"metadata": {"total_size": 8}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}`))
	for index, kind := range map[string]error{
		`{"weight_map": {"a": "1.safetensors"`: ErrFormat,
		`{"weight_map": {}}`:                   ErrFormat,
		`{"metadata": {}}`:                     ErrFormat,
		`{"weight_map": []}`:                   ErrFormat,
		`{"weight_map": {"a": 1}}`:             ErrFormat,
		`{"weight_map": {"a": "1.safetensors", "a": "2.safetensors"}}`:                       ErrFormat,
		`{"weight_map": {"a": "2.safetensors", "b": "2.safetensors"}}`:                       ErrMissing,
		`{"weight_map": {"a": "2.safetensors", "b": "1.safetensors"}}`:                       ErrFormat,
		`{"weight_map": {"a": "1.safetensors", "b": "../2.safetensors"}}`:                    ErrFormat,
		`{"weight_map": {"a": "1.safetensors", "b": "/etc/passwd"}}`:                         ErrFormat,
		`{"weight_map": {"a": "1.safetensors", "b": "..\\2.safetensors"}}`:                   ErrFormat,
		`{"weight_map": {"a": "1.safetensors", "b": "."}}`:                                   ErrFormat,
		`{"weight_map": {"a": "1.safetensors", "b": "model.safetensors.index.json"}}`:        ErrFormat,
		`{"weight_map": {"a": "1.safetensors", "b": "3.safetensors"}}`:                       fs.ErrNotExist,
		`{"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "2.safetensors"}}`: ErrMissing,
	} {
		require.ErrorIs(t, open(index), kind, index)
	}
}

func TestConfig(t *testing.T) {
	openAI := safetensor(t, map[string][]float32{"visual.proj": {1}}, nil)
	hf := safetensor(t, map[string][]float32{"vision_model.x": {1}}, nil)
	for _, c := range []struct {
		data  []byte
		files []string
		want  string
	}{
		{openAI, nil, ""},
		{openAI, []string{"config.json"}, "config.json"},
		{openAI, []string{"config.json", "open_clip_config.json"}, "open_clip_config.json"},
		{hf, []string{"config.json", "open_clip_config.json"}, "config.json"},
		{hf, []string{"open_clip_config.json"}, "open_clip_config.json"},
	} {
		fsys := fstest.MapFS{"m/model.safetensors": {Data: c.data}, "m/preprocessor_config.json": {Data: []byte("{}")}}
		for _, name := range c.files {
			fsys["m/"+name] = &fstest.MapFile{Data: []byte(name)}
		}
		for _, path := range []string{"m", "m/model.safetensors"} {
			f, err := OpenFS(fsys, path)
			require.NoError(t, err)
			require.Equal(t, c.want, string(f.Config()))
			require.Equal(t, c.want == "", f.Config() == nil)
			require.Equal(t, "{}", string(f.PreprocessorConfig()))
		}
	}
	f := mustOpen(t, filepath.Join(golden.Root(t), "formats", "malformed", "ok_metadata.safetensors"))
	require.NotEmpty(t, f.Metadata())
	require.Nil(t, f.PreprocessorConfig())
}

// TestShortened: a file cut short while it is mapped is an error, not a crash.
func TestShortened(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // a mapped file cannot be cut there
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, os.WriteFile(path, safetensor(t, map[string][]float32{"a": make([]float32, 1<<16)}, nil), 0o600))
	f := mustOpen(t, path)
	require.NoError(t, os.Truncate(path, 4096))
	_, err := f.Float32("a")
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, "changed")
}

func TestConcurrentUse(t *testing.T) {
	f := mustOpen(t, formats(t, "clip_f16.safetensors"))
	want, err := f.Float32("visual.proj")
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				got, err := f.Float32("visual.proj")
				if errors.Is(err, fs.ErrClosed) {
					return
				}
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("differs: %v", err)
				}
				f.Release("visual.proj")
			}
		})
	}
	require.NoError(t, f.Close())
	wg.Wait()
}

// withHeader is a safetensors file without data.
func withHeader(header string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
}

// A header of the largest size is read in one pass: the strings that are kept
// are the only copy of it.
func TestMemoryOfTheLargestHeader(t *testing.T) {
	data := withHeader(`{"__metadata__":{"a":"` + strings.Repeat("n", 32<<20) + `"}}`)
	var err error
	growth := allocated(func() { _, err = FromBytes(data) }) / float64(len(data))
	require.NoError(t, err)
	require.Less(t, growth, 1.5)
}

// Many shards are looked at once each.
func TestManyShards(t *testing.T) {
	const shards = 2000
	fsys := fstest.MapFS{}
	index := map[string]string{}
	for i := range shards {
		name := fmt.Sprintf("t%d", i)
		file := fmt.Sprintf("s%d.safetensors", i)
		index[name] = file
		fsys[file] = &fstest.MapFile{Data: withHeader(`{"` + name + `":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`)}
	}
	text, err := json.Marshal(map[string]any{"weight_map": index})
	require.NoError(t, err)
	fsys["model.safetensors.index.json"] = &fstest.MapFile{Data: text}
	f, err := OpenFS(fsys, ".")
	require.NoError(t, err)
	require.Len(t, f.Names(), shards)
	require.Len(t, f.order, shards, "the check of a shard goes through its own names")
	require.NoError(t, f.Close())
}

func TestHeaderLimits(t *testing.T) {
	many := func(n int, entry func(i int) string) string {
		var b bytes.Buffer
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(entry(i))
		}
		return b.String()
	}
	zeros := many(maxDimensions, func(int) string { return "0" })
	for header, ok := range map[string]bool{
		`{"a":{"dtype":"F32","shape":[` + zeros + `],"data_offsets":[0,0]}}`:                          true,
		`{"a":{"dtype":"F32","shape":[` + zeros + `,0],"data_offsets":[0,0]}}`:                        false,
		`{"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}`:                        false,
		`{"a":{"dtype":"F32","shape":[[0]],"data_offsets":[0,0]}}`:                                    false,
		`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0],"more":1}}`:                             false,
		`{"a":{"dtype":"F32","DTYPE":"F16","shape":[0],"data_offsets":[0,0]}}`:                        false,
		`{"__metadata__":{"a":{"b":"c"}}}`:                                                            false,
		`{"` + strings.Repeat("a", maxName) + `":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`:   true,
		`{"` + strings.Repeat("a", maxName+1) + `":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`: false,
		`{"a\n":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`:                                    false,
		`{"a":null}`: false,
		`{"a":3}`:    false,
		`{` + many(maxTensors+1, func(i int) string { return fmt.Sprintf(`"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`, i) }) + `}`: false,
		`{"__metadata__":{` + many(maxTensors+1, func(i int) string { return fmt.Sprintf(`"%d":""`, i) }) + `}}`:                              false,
		// The second escape is the first letter: two keys, one name.
		`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"\u0061":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`: false,
	} {
		_, err := FromBytes(withHeader(header))
		if ok {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, ErrFormat, header[:min(len(header), 100)])
		}
	}
}

// TestMemoryOfHostileHeaders: headers made of what takes most memory for a
// byte.
func TestMemoryOfHostileHeaders(t *testing.T) {
	const size = 4 << 20
	zeros := strings.TrimSuffix(strings.Repeat("0,", maxDimensions), ",")
	entries := func(format string) string {
		var b strings.Builder
		for i := range maxTensors {
			if b.Len() < size {
				fmt.Fprintf(&b, format, i)
			}
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	for kind, header := range map[string]string{
		"tensors":    "{" + entries(`"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`) + "}",
		"dimensions": "{" + entries(`"%x":{"dtype":"U8","shape":[`+zeros+`],"data_offsets":[0,0]},`) + "}",
		"metadata":   `{"__metadata__":{` + entries(`"%x":"",`) + "}}",
		"one string": `{"__metadata__":{"a":"` + strings.Repeat("n", size) + `"}}`,
		"one name":   `{"` + strings.Repeat("n", size) + `":{}}`,
		"spaces":     strings.Repeat(" ", size),
		"brackets":   strings.Repeat(`{"":`, size/4),
		"escapes":    `{"__metadata__":{"a":"` + strings.Repeat(`\u0041`, size/6) + `"}}`,
		"a number":   `{"a":{"dtype":"U8","shape":[` + strings.Repeat("1", size) + `]}}`,
	} {
		data := withHeader(header)
		var err error
		growth := allocated(func() { _, err = FromBytes(data) }) / float64(len(data))
		t.Logf("%s: %.0f bytes for each", kind, growth)
		require.Less(t, growth, 128.0, kind)
		if err != nil {
			require.ErrorIs(t, err, ErrFormat, kind)
			require.Less(t, len(err.Error()), 2000, kind)
		}
	}
}

// halfToFloat widens one half.
func halfToFloat(h uint16) float32 {
	var v [1]float32
	F16.decode(v[:], binary.LittleEndian.AppendUint16(nil, h), binary.LittleEndian)
	return v[0]
}
