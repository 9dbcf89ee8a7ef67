package weights

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
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

// TestUnreadable: objects and types that this package does not have spoil
// nothing beside them.
func TestUnreadable(t *testing.T) {
	a := vector("a", "0", 2)
	float8 := func(p *pickled) *pickled { // two elements of an untyped storage
		return p.global("torch._utils", "_rebuild_tensor_v3").raw("((").text("storage").global("torch.storage", "UntypedStorage").
			text("1").text("cpu").integer(4).raw("tQ").integer(0).integers([]int64{2}).integers([]int64{1}).
			raw("\x89").global("collections", "OrderedDict").raw(")R")
	}
	for name, c := range map[string]struct {
		value *pickled // under the key "b", behind it
		is    error    // why it is unreadable; nil if it is not listed so
		names []string
	}{
		"a numpy scalar": {newPickle().global("numpy.core.multiarray", "scalar").raw("(").global("numpy", "dtype").
			raw("(X\x02\x00\x00\x00f8K\x00K\x01tR(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbC\x08........tR"), ErrGlobal, nil},
		"a namespace":        {newPickle().global("argparse", "Namespace").raw(")R}").text("lr").raw("K\x01sb"), ErrGlobal, nil},
		"a path":             {newPickle().global("pathlib", "PosixPath").raw("(").text("a").raw("tR"), ErrGlobal, nil},
		"a set of old":       {newPickle().global("__builtin__", "set").raw("]K\x01a\x85R"), ErrGlobal, nil},
		"a set":              {newPickle().raw("\x8f(K\x01\x90"), nil, nil},
		"a frozen set":       {newPickle().raw("(K\x01\x91"), nil, nil},
		"a call":             {newPickle().global("os", "system").text("true").raw("\x85R"), ErrGlobal, nil},
		"an old instance":    {newPickle().raw("(K\x01ios\nsystem\n"), ErrGlobal, nil},
		"another instance":   {newPickle().raw("(").global("os", "system").raw("K\x01o"), ErrGlobal, nil},
		"keyword arguments":  {newPickle().global("os", "system").raw(")}\x92"), ErrGlobal, nil},
		"items of an object": {newPickle().global("a", "Dict").raw(")R(").text("k").raw("K\x01u"), ErrGlobal, nil},
		"a list of an array": {newPickle().global("a", "List").raw(")R(K\x01e"), ErrGlobal, nil},
		"texts":              {newPickle().raw("(I7\nL8L\nF0.5\nVx\np9\n0g9\nt"), nil, nil},
		"a default dict":     {newPickle().global("collections", "defaultdict").global("builtins", "list").raw("\x85R(").text("k").raw("K\x01u"), nil, nil},
		"complex":            {newPickle().tensor(torchTensor{kind: "ComplexFloat", key: "1", count: 4, shape: []int64{4}, strides: []int64{1}}), ErrDType, []string{"b"}},
		"quantized":          {newPickle().tensor(torchTensor{kind: "QInt8", key: "1", count: 4, shape: []int64{4}, strides: []int64{1}}), ErrDType, []string{"b"}},
		"a type to come":     {newPickle().tensor(torchTensor{kind: "Posit", key: "1", count: 4, shape: []int64{4}, strides: []int64{1}}), ErrDType, []string{"b"}},
		"float8":             {float8(newPickle()).global("torch", "float8_e4m3fn").raw("tR"), ErrDType, []string{"b"}},
		"uint16":             {float8(newPickle()).global("torch", "uint16").raw("tR"), nil, []string{"b"}},
		"a subclass": {newPickle().global("torch._tensor", "_rebuild_from_type_v2").raw("(").global("torch._utils", "_rebuild_tensor_v2").
			global("a", "Tensor").raw("((").text("storage").global("torch", "ByteStorage").text("1").text("cpu").integer(4).raw("tQ").
			integer(0).integers([]int64{4}).integers([]int64{1}).raw("\x89NtNtR"), nil, []string{"b"}},
		"a tensor with attributes": {newPickle().tensor(torchTensor{kind: "Byte", key: "1", count: 4, shape: []int64{4}, strides: []int64{1}}).raw("}").
			text("x").raw("K\x01sb"), nil, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPickle().raw("}(").text("b")
			p.Write(c.value.Bytes()[2:])
			p.text("a").tensor(a).raw("u")
			f, err := FromBytes(archive(t, p.stop(), record{"a/data/0", make([]byte, 8)}, record{"a/data/1", make([]byte, 4)}))
			require.NoError(t, err)
			require.Equal(t, append([]string{"a"}, c.names...), f.Names())
			_, err = f.Float32("a", 2)
			require.NoError(t, err)
			_, err = f.Float32("b")
			if c.is == nil {
				require.Empty(t, f.Unreadable())
				require.Equal(t, len(c.names) == 0, err != nil, "%v", err)
				return
			}
			require.ErrorIs(t, err, c.is)
			require.Len(t, f.Unreadable(), 1)
			require.ErrorIs(t, f.Unreadable()["b"], c.is)
			err = Write(t.Context(), io.Discard, f, F32)
			require.Equal(t, c.is == ErrDType, err != nil, "tensors are written, objects are not: %v", err)
		})
	}
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

// TestUnwrap: weights are found where training programs keep them.
func TestUnwrap(t *testing.T) {
	a := vector("module.a", "0", 2)
	nested := a
	nested.name = "_orig_mod.module.a"
	metadata := func(p *pickled) *pickled { // what a module's state_dict has
		return p.raw("}").text("_metadata").global("collections", "OrderedDict").raw(")Rsb")
	}
	for name, p := range map[string]*pickled{
		"state_dict":      newPickle().dict(a),
		"with metadata":   metadata(newPickle().global("collections", "OrderedDict").raw(")R(").text("a").tensor(a).raw("u")),
		"training":        newPickle().raw("}(").text("epoch").raw("K\x03").text("loss").tensor(vector("", "1", 1)).text("state_dict").dict(a).text("optimizer").dict(vector("m", "1", 1)).raw("u"),
		"model":           newPickle().raw("}").text("model").dict(a).raw("s"),
		"twice":           newPickle().raw("}").text("model").raw("}").text("state_dict").dict(nested).raw("ss"),
		"parameter":       newPickle().raw("}").text("a").global("torch._utils", "_rebuild_parameter").raw("(").tensor(a).raw("\x88}tRs"),
		"names in a dict": newPickle().raw("}").text("module").dict(a).raw("s"),
		"on a device": newPickle().raw("}").text("a").global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor").raw("(").tensor(a).
			global("torch", "float32").global("torch", "device").text("xla").raw("\x85R\x89tRs"),
		"protocol 4":   newPickle().raw("\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94").tensor(a).raw("u"),
		"other values": newPickle().raw("}(").text("a").tensor(a).text("note").raw("U\x02hi").text("rate").raw("G\x3f\xf0\x00\x00\x00\x00\x00\x00").text("list").raw("](K\x01K\x02eu"),
	} {
		f, err := FromBytes(archive(t, p.stop(), record{"a/data/0", make([]byte, 8)}, record{"a/data/1", make([]byte, 4)}))
		require.NoError(t, err, name)
		require.Equal(t, []string{"a"}, f.Names(), name)
		got, err := f.Float32("a", 2)
		require.NoError(t, err)
		require.Equal(t, []float32{0, 0}, got)
	}
}

// TestHuggingFaceBin: a directory with pickled weights, whole or in shards.
func TestHuggingFaceBin(t *testing.T) {
	bin := func(names ...string) *fstest.MapFile {
		var tensors []torchTensor
		for _, name := range names {
			tensors = append(tensors, vector(name, "0", 2))
		}
		return &fstest.MapFile{Data: archive(t, newPickle().dict(tensors...).stop(), record{"a/data/0", make([]byte, 8)})}
	}
	config := &fstest.MapFile{Data: []byte("{}")}
	index := &fstest.MapFile{Data: []byte(`{"weight_map": {"a": "1.bin", "b": "2.bin"}}`)}
	for _, fsys := range []fstest.MapFS{
		{"pytorch_model.bin": bin("a", "b"), "config.json": config},
		{"pytorch_model.bin.index.json": index, "1.bin": bin("a"), "2.bin": bin("b"), "config.json": config},
	} {
		f, err := OpenFS(fsys, ".")
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, f.Names())
		require.Equal(t, "{}", string(f.Config()))
		_, err = f.Float32("b", 2)
		require.NoError(t, err)
	}
}

// TestByteOrder: archives written on big-endian machines.
func TestByteOrder(t *testing.T) {
	data := newPickle().dict(vector("a", "0", 2)).stop()
	for order, want := range map[string][]float32{"little": {2, -1}, "big": {2, -1}, "middle": nil} {
		values := "\x00\x00\x00\x40\x00\x00\x80\xbf"
		if order == "big" {
			values = "\x40\x00\x00\x00\xbf\x80\x00\x00"
		}
		f, err := FromBytes(archive(t, data, record{"a/byteorder", []byte(order)}, record{"a/data/0", []byte(values)}))
		if want == nil {
			require.ErrorIs(t, err, ErrFormat)
			continue
		}
		require.NoError(t, err)
		got, err := f.Float32("a")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestTorchScript: classes and lists of TorchScript exist only in its archives.
func TestTorchScript(t *testing.T) {
	list := func(p *pickled) *pickled { // an attribute that is a list of integers
		return p.text("sizes").global("torch.jit._pickle", "build_intlist").raw("](K\x01e\x85R")
	}
	module := newPickle().global("__torch__.m", "Net").raw(")\x81}(").text("inner").
		global("__torch__", "Linear").raw(")\x81").dict(vector("weight", "0", 2)).raw("b")
	data := list(module).raw("ub").stop()
	storage := record{"a/data/0", make([]byte, 8)}
	f, err := FromBytes(archive(t, data, storage, record{"a/constants.pkl", []byte("\x80\x02).")}))
	require.NoError(t, err)
	require.Equal(t, []string{"inner.weight"}, f.Names())
	_, err = FromBytes(archive(t, data, storage))
	require.ErrorIs(t, err, ErrGlobal)
	require.ErrorContains(t, err, "__torch__.m.Net")
}

// dimensions rebuilds a tensor of 64 dimensions n times from the same arguments.
func dimensions(n int) *pickled {
	wide := torchTensor{name: "a", kind: "Float", key: "0", count: 4, shape: make([]int64, 64), strides: make([]int64, 64)}
	p := newPickle().raw("}(").text("a").tensor(wide).raw("u0")
	p.global("torch._utils", "_rebuild_tensor_v2").raw("q\x000((").text("storage").global("torch", "FloatStorage").
		text("0").text("cpu").integer(4).raw("tQ").integer(0).integers(wide.shape).integers(wide.strides).raw("tq\x010")
	return p.raw(strings.Repeat("h\x00h\x01R0", n)).raw("}")
}

// TestHostilePickles: what no program writes is refused, for the reason given.
func TestHostilePickles(t *testing.T) {
	v := vector("a", "0", 4)
	with := func(change func(*torchTensor)) []byte {
		w := vector("a", "0", 4)
		change(&w)
		return newPickle().dict(w).stop()
	}
	laughs := newPickle().dict(v).raw("q\x00") // each dict holds the last one twice
	for i := range 40 {
		laughs.raw("}(").text("a").raw("h" + string(rune(i))).text("b").raw("h" + string(rune(i)) + "uq" + string(rune(i+1)))
	}
	deep := newPickle()
	for range maxDepth + 1 {
		deep.raw("}").text("a")
	}
	deep.tensor(v).raw(strings.Repeat("s", maxDepth+1))
	long := newPickle().tensor(v).raw("q\x000").text(strings.Repeat("n", 1<<16)).raw("q\x010}h\x01}(")
	for i := range 1000 {
		long.text(fmt.Sprint(i)).raw("h\x00")
	}
	for reason, data := range map[string][]byte{
		"strides [-1]":                  with(func(t *torchTensor) { t.strides[0] = -1 }),
		"strides [2]":                   with(func(t *torchTensor) { t.strides = []int64{2} }),
		"strides [9223372036854775807]": with(func(t *torchTensor) { t.strides = []int64{math.MaxInt64} }),
		"strides []":                    with(func(t *torchTensor) { t.strides = nil }),
		"strides [1]":                   with(func(t *torchTensor) { t.shape = []int64{-4}; t.strides = []int64{1} }),
		"shape [5]":                     with(func(t *torchTensor) { t.shape, t.strides = []int64{5}, []int64{0} }),
		"shape [4611686018427387904 4]": with(func(t *torchTensor) { t.shape, t.strides = []int64{1 << 62, 4}, []int64{0, 0} }),
		"offset 1":                      with(func(t *torchTensor) { t.offset, t.strides = 1, []int64{1} }),
		"offset -1":                     with(func(t *torchTensor) { t.offset = -1 }),
		"offset 9223372036854775807":    with(func(t *torchTensor) { t.offset = math.MaxInt64 }),
		"named \"a\\n\"":                with(func(t *torchTensor) { t.name = "a\n" }),
		"named \"\\x1b[2J\"":            with(func(t *torchTensor) { t.name = "\x1b[2J" }),
		"named \"\\xff\"":               with(func(t *torchTensor) { t.name = "\xff" }),
		"named \"__metadata__\"":        with(func(t *torchTensor) { t.name = "__metadata__" }),
		"named \"nnnnn":                 with(func(t *torchTensor) { t.name = strings.Repeat("n", maxName+1) }),
		"unknown form":                  with(func(t *torchTensor) { t.count = -4 }),
		`storage "0" of 16 bytes`:       with(func(t *torchTensor) { t.count = 5 }),
		"where 9223372036854775807":     with(func(t *torchTensor) { t.count = math.MaxInt64 }),
		"not integers":                  with(func(t *torchTensor) { t.shape = make([]int64, 65); t.strides = make([]int64, 65) }),
		"data/../data.pkl":              with(func(t *torchTensor) { t.key = "../data.pkl" }),
		"4 of F32 and 2 of F64":         newPickle().dict(v, torchTensor{name: "b", kind: "Double", key: "0", count: 2}).stop(),
		"a: named twice":                newPickle().dict(v, v).stop(),
		"too many names":                laughs.stop(),
		"in each other":                 deep.stop(),
		"too many names ":               long.raw("us").stop(),
		"no tensors that have names":    newPickle().tensor(v).stop(),
		"no tensors that have":          newPickle().raw("]").stop(),
		"more than 1048576 operations":  newPickle().raw(strings.Repeat("N0", maxOperations)).stop(),
		"unexpected EOF":                newPickle().raw("X\xff\xff\xff\xff").Bytes(),
		"stack underflow":               newPickle().raw("K\x01(0").stop(),
		"no mark":                       newPickle().raw("t").stop(),
		"memo 7":                        newPickle().raw("h\x07").stop(),
		"protocol 6":                    []byte("\x80\x06."),
		"APPEND: top":                   newPickle().raw("}K\x01a").stop(),
		"SETITEMS: top":                 newPickle().raw("](K\x01u").stop(),
		"SETITEMS: top ":                newPickle().raw("}(K\x01u").stop(),
		"call with":                     newPickle().raw("}K\x01R").stop(),
		"BUILD: top":                    newPickle().raw("K\x01}b").stop(),
		"no tensors that":               newPickle().text("storage").raw("Q").stop(),
		"does not hold pairs":           newPickle().global("collections", "OrderedDict").raw("]K\x01a\x85R").stop(),
		"more dimensions than":          dimensions(1 << 12).stop(),
		"without a storage":             newPickle().global("torch._utils", "_rebuild_tensor_v2").raw("(NK\x00))tR").stop(),
		"tensor of 1":                   newPickle().global("torch._utils", "_rebuild_tensor").raw("N\x85R").stop(),
		"without arguments":             newPickle().global("torch", "Size").raw(")R").stop(),
		"torch.load":                    newPickle().global("torch", "load").stop(),
		"__builtin__.eval":              newPickle().raw("c__builtin__\neval\n").stop(),
		"'\\u0082' is not":              newPickle().raw("\x82\x01").stop(),
	} {
		if strconv.IntSize == 32 && (strings.Contains(reason, "[9223372036854775807]") || strings.Contains(reason, "[4611686018427387904")) {
			reason = "not integers"
		}
		_, err := FromBytes(archive(t, data, record{"a/data/0", make([]byte, 16)}))
		assert.ErrorIs(t, err, ErrFormat, reason)
		assert.ErrorContains(t, err, strings.TrimSpace(reason))
	}

	// A dict that holds itself.
	_, err := FromBytes(archive(t, newPickle().raw("}q\x00").text("a").raw("h\x00s").stop()))
	require.ErrorIs(t, err, ErrFormat)
}

// TestHostileArchives: zip files that PyTorch does not write.
func TestHostileArchives(t *testing.T) {
	data := newPickle().dict(vector("a", "0", 4), vector("b", "1", 4)).stop()
	first, second := record{"a/data/0", []byte("0123456789abcdef")}, record{"a/data/1", make([]byte, 16)}
	good := archive(t, data, first, second)
	_, err := FromBytes(good)
	require.NoError(t, err)

	_, err = FromBytes(archive(t, data, first, second, first))
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, `"a/data/0" occurs twice`)

	// The second entry of the directory points at the first one's data.
	at := bytes.LastIndex(good, []byte("a/data/1")) - 4
	overlapping := bytes.Clone(good)
	copy(overlapping[at:], good[bytes.LastIndex(good, []byte("a/data/0"))-4:][:4])
	_, err = FromBytes(overlapping)
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, "overlaps")

	// So does it at the pickle's.
	overlapping = bytes.Clone(good)
	copy(overlapping[at:], good[bytes.LastIndex(good, []byte("a/data.pkl"))-4:][:4])
	_, err = FromBytes(overlapping)
	require.ErrorIs(t, err, ErrFormat)

	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("a/data.pkl") // compressed
	require.NoError(t, err)
	_, err = f.Write(data)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = FromBytes(b.Bytes())
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, "compressed")

	for n := range good {
		_, err := FromBytes(good[:n])
		require.ErrorIs(t, err, ErrFormat)
	}
}

func TestHostileLegacy(t *testing.T) {
	v := vector("a", "0", 2)
	v.legacy = true
	data, storage := newPickle().dict(v).stop(), record{"0", make([]byte, 8)}
	good := legacy(data, storage)
	f, err := FromBytes(good)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, f.Names())
	for n := range good {
		_, err := FromBytes(good[:n])
		require.ErrorIs(t, err, ErrFormat, n)
	}
	other := vector("a", "0", 2)
	for reason, file := range map[string][]byte{
		"1 bytes after":  append(bytes.Clone(good), 0),
		"no tensor's":    legacy(data, record{"1", make([]byte, 8)}),
		"listed twice":   legacy(data, storage, storage),
		`"0" is missing`: legacy(data),
		"2 should be":    legacy(data, record{"0", make([]byte, 12)}),
		"not one of":     newPickle().raw("K\x01").stop(),
		"version":        []byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02K\x03."),
		"no list":        append(good[:len("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.")+len(data):len("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.")+len(data)], "\x80\x02}."...),
		"unknown form":   legacy(newPickle().raw("(").text("storage").global("torch", "FloatStorage").text("0").text("cpu").raw("K\x02(tt").raw("Q").stop()),
	} {
		_, err := FromBytes(file)
		require.ErrorIs(t, err, ErrFormat, reason)
		require.ErrorContains(t, err, reason)
	}
	_, err = FromBytes(legacy(newPickle().dict(other).stop(), storage))
	require.NoError(t, err, "an id without a view")
}

// allocated is how many bytes a call allocates, all together.
func allocated(f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc - before.TotalAlloc)
}

// TestMemoryOfHostilePickles: a pickle is expanded a hundredfold at most.
func TestMemoryOfHostilePickles(t *testing.T) {
	for _, unit := range []string{"}", "]", ")", "(", "K\x01\x85", "N", "}q\x01", "2", "G........", "X\x00\x00\x00\x00"} {
		data := archive(t, newPickle().raw("N").raw(strings.Repeat(unit, 1<<20/len(unit)-8)).stop())
		var err error
		growth := allocated(func() { _, err = FromBytes(data) }) / float64(len(data))
		require.ErrorIs(t, err, ErrFormat)
		t.Logf("%q: %.0f bytes for each", unit, growth)
		require.Less(t, growth, 128.0, "%q", unit)
	}
}

// TestSparseArchive: the end of a file of a terabyte that is not there claims
// records without end.
func TestSparseArchive(t *testing.T) {
	le := binary.LittleEndian
	size := int64(1) << 40
	end := []byte("PK\x06\x06")
	end = le.AppendUint64(end, 44)
	end = append(end, make([]byte, 12)...)
	end = le.AppendUint64(end, 1<<34) // records on this disk
	end = le.AppendUint64(end, 1<<34)
	end = le.AppendUint64(end, 0)
	end = le.AppendUint64(end, 0)
	end = append(end, "PK\x06\x07\x00\x00\x00\x00"...)
	end = le.AppendUint64(end, uint64(size)-56-20-22)
	end = append(end, "\x01\x00\x00\x00PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
	sparse := &sparse{size, []byte("PK\x03\x04"), end}
	f := &File{path: "sparse", tensors: map[string]*tensor{}}
	var err error
	require.Less(t, allocated(func() { err = f.addFile("sparse", sparse) }), float64(8<<20))
	require.ErrorIs(t, err, ErrFormat)
	require.ErrorContains(t, err, "17179869184 records")
}

// sparse is a source of zeros but for its ends.
type sparse struct {
	length    int64
	head, end []byte
}

func (s *sparse) size() int64 { return s.length }

func (s *sparse) bytes(off int64, n int, scratch []byte) ([]byte, error) {
	for i := range scratch[:n] {
		scratch[i] = 0
		at := off + int64(i)
		if at < int64(len(s.head)) {
			scratch[i] = s.head[at]
		} else if back := s.length - at; back <= int64(len(s.end)) {
			scratch[i] = s.end[int64(len(s.end))-back]
		}
	}
	return scratch[:n], nil
}

func (s *sparse) release(int64, int64) {}

func (s *sparse) close() error { return nil }

// TestMemoryOfHostileDirectories: so is the directory of an archive, and one
// that is larger than any published is not read to its end.
func TestMemoryOfHostileDirectories(t *testing.T) {
	for _, n := range []int{1 << 14, 1 << 19} {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for i := range n {
			_, err := w.CreateRaw(&zip.FileHeader{Name: fmt.Sprintf("%06x", i)})
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		var err error
		taken := allocated(func() { _, err = FromBytes(b.Bytes()) })
		require.ErrorIs(t, err, ErrFormat)
		t.Logf("%d records: %.0f bytes for each of the file", n, taken/float64(b.Len()))
		if n > maxTensors {
			require.ErrorContains(t, err, "directory of")
			require.Less(t, taken, 300e6)
		} else {
			require.Less(t, taken, 20*float64(b.Len()))
		}
	}
}

// A tensor without elements is never read by its strides, which may be
// anything.
func TestRowMajor(t *testing.T) {
	for _, x := range []struct {
		shape, strides []int
		want           bool
	}{
		{nil, nil, true},
		{[]int{2, 3}, []int{3, 1}, true},
		{[]int{2, 3}, []int{1, 2}, false},
		{[]int{2, 1, 3}, []int{3, 99, 1}, true},
		{[]int{0, 2}, []int{math.MaxInt, 7}, true},
		{[]int{2, 0}, []int{-1, -1}, true},
	} {
		require.Equal(t, x.want, rowMajor(x.shape, x.strides), "%v %v", x.shape, x.strides)
	}
}
