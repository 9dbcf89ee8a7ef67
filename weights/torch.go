package weights

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

const (
	// maxDepth is how deep dicts and modules may lie in each other.
	maxDepth = 64
	// maxDirectory bounds what is read of an archive before its records are
	// known: more than as many of them take as there may be tensors.
	maxDirectory = 16 << 20
)

var errNoRecord = errors.New("no record")

// isZip recognizes a file by its first bytes: torch.save since PyTorch 1.6, and
// TorchScript.
func isZip(head []byte) bool { return bytes.HasPrefix(head, []byte("PK\x03\x04")) }

// isPickle recognizes a file by its first bytes: the old torch.save.
func isPickle(head []byte) bool {
	return len(head) > 1 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5
}

// addArchive adds the tensors of a zip archive. All its records lie in one
// folder: data.pkl, which tells names and shapes, and one record for each
// storage, not compressed, in data/.
// Sources: PyTorch's caffe2/serialize/inline_container.cc, torch/serialization.py.
func (f *File) addArchive(path string, src source) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("weights: %s: %w: zip archive: %w", path, ErrFormat, fmt.Errorf(format, args...))
	}
	if err := checkDirectory(src); err != nil {
		return bad("%w", err)
	}
	directory := &limited{readerAt{src}, maxDirectory}
	archive, err := zip.NewReader(directory, src.size())
	if err != nil {
		return bad("%w", err)
	}
	directory.left = math.MaxInt
	records := make(map[string]*zip.File, len(archive.File))
	folder := ""
	for i, r := range archive.File {
		if i == 0 {
			folder = r.Name[:strings.IndexByte(r.Name, '/')+1]
		}
		if records[r.Name] != nil {
			return bad("%q occurs twice", r.Name)
		}
		records[r.Name] = r
	}
	// locate returns where a record lies.
	locate := func(name string) (offset, size int64, err error) {
		r := records[folder+name]
		if r == nil {
			return 0, 0, fmt.Errorf("%w %.200q", errNoRecord, folder+name)
		}
		if r.Method != zip.Store || r.Flags&1 != 0 || r.CompressedSize64 != r.UncompressedSize64 {
			return 0, 0, fmt.Errorf("%q is compressed or encrypted", r.Name)
		}
		if offset, err = r.DataOffset(); err != nil {
			return 0, 0, fmt.Errorf("%q: %w", r.Name, err)
		}
		size = int64(r.UncompressedSize64)
		if offset < 0 || size < 0 || offset > src.size() || size > src.size()-offset {
			return 0, 0, fmt.Errorf("%q lies outside the file", r.Name)
		}
		return offset, size, nil
	}
	// read returns a small record.
	read := func(name string) ([]byte, error) {
		offset, size, err := locate(name)
		if err != nil {
			return nil, err
		}
		if size > maxPickle {
			return nil, fmt.Errorf("%q of %d bytes", folder+name, size)
		}
		return readAll(src, offset, int(size))
	}

	order := binary.ByteOrder(binary.LittleEndian)
	if b, err := read("byteorder"); err == nil && string(b) == "big" {
		order = binary.BigEndian
	} else if err == nil && string(b) != "little" || err != nil && !errors.Is(err, errNoRecord) {
		return bad("byte order %.10q: %w", b, err)
	}
	data, err := read("data.pkl")
	if err != nil {
		return bad("%w", err)
	}
	u := unpickler{data: data, storages: map[string]*storage{}, script: records[folder+"constants.pkl"] != nil}
	root, err := u.load()
	if err != nil {
		return bad("data.pkl: %w", err)
	}
	tensors, err := f.namedTensors(root, len(data), u.first)
	if err != nil {
		return bad("%w", err)
	}
	for _, s := range storagesOf(tensors) {
		offset, size, err := locate("data/" + s.key)
		if err != nil {
			return bad("storage: %w", err)
		}
		if size/int64(s.dtype.Size()) != s.count || size%int64(s.dtype.Size()) != 0 {
			return bad("storage %.80q of %d bytes, where %d elements of %v should be", s.key, size, s.count, s.dtype)
		}
		s.offset = offset
	}
	offset, size, err := locate("data.pkl")
	if err != nil {
		return bad("%w", err)
	}
	pickle := &storage{key: "data.pkl", dtype: U8, offset: offset, count: size}
	if err := disjoint(append(storagesOf(tensors), pickle)); err != nil {
		return bad("%w", err)
	}
	return f.addTensors(path, src, order, tensors)
}

// maxRecords bounds what an archive's directory says that it lists: a record for
// each storage, and a few beside them.
const maxRecords = 2 * maxTensors

// checkDirectory refuses an archive whose end claims more records than a
// checkpoint has: archive/zip would take memory for all of them before it reads
// one, and a sparse file costs nothing.
// Source: PKWARE's APPNOTE.TXT, sections 4.3.14 to 4.3.16.
func checkDirectory(src source) error {
	const end, locator, comment = 22, 20, 1 << 16 // bytes; the comment's at most
	at := max(src.size()-end-comment-locator, 0)
	tail, err := readAll(src, at, int(src.size()-at))
	if err != nil {
		return err
	}
	for i := 0; i+end <= len(tail); i++ {
		next := bytes.Index(tail[i:], []byte("PK\x05\x06"))
		if next < 0 || i+next+end > len(tail) {
			return nil
		}
		i += next
		records := uint64(binary.LittleEndian.Uint16(tail[i+10:]))
		if i >= locator && bytes.HasPrefix(tail[i-locator:], []byte("PK\x06\x07")) { // that of zip64
			wide := binary.LittleEndian.Uint64(tail[i-locator+8:])
			if size := uint64(src.size()); size >= 56 && wide <= size-56 {
				more, err := readAll(src, int64(wide), 56)
				if err != nil {
					return err
				}
				records = max(records, binary.LittleEndian.Uint64(more[24:]), binary.LittleEndian.Uint64(more[32:]))
			}
		}
		if records > maxRecords {
			return fmt.Errorf("a directory of %d records, more than %d", records, maxRecords)
		}
	}
	return nil
}

// addPickle adds the tensors of a file that torch.save wrote before PyTorch
// 1.6: five pickles (a magic number, a version, what wrote it, the tensors,
// the keys of the storages), then each storage after its length. Numbers are
// little-endian on all machines.
// Sources: PyTorch's torch/serialization.py (_legacy_save),
// torch/csrc/serialization.cpp.
func (f *File) addPickle(path string, src source) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("weights: %s: %w: pickle: %w", path, ErrFormat, fmt.Errorf(format, args...))
	}
	const magic, version = "l\xfc\x9cF\xf9 j\xa8P\x19", 1001
	data, err := readSome(src, maxPickle)
	if err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	u := unpickler{data: data, storages: map[string]*storage{}}
	var parts [5]any
	var size int // of the pickle that tells the tensors
	for i := range parts {
		before := len(u.data)
		if parts[i], err = u.load(); err != nil {
			return bad("%w", err)
		}
		switch {
		case i == 0 && parts[i] != magic && u.first != nil:
			return bad("not one of torch.save: %w", u.first.err())
		case i == 0 && parts[i] != magic:
			return bad("not one of torch.save")
		case i == 1 && parts[i] != int64(version):
			return bad("version %s, want %d", describe(parts[i]), version)
		case i == 3:
			size = before - len(u.data)
		}
	}
	tensors, err := f.namedTensors(parts[3], size, u.first)
	if err != nil {
		return bad("%w", err)
	}
	keys, ok := parts[4].(*list)
	if !ok {
		return bad("no list of storages")
	}
	at := int64(len(data) - len(u.data))
	found := make(map[string]bool)
	for _, k := range keys.items {
		key, _ := k.(string)
		s := u.storages[key]
		if s == nil || found[key] {
			return bad("storage %.80q is no tensor's, or listed twice", key)
		}
		found[key] = true
		if src.size()-at < 8 {
			return bad("ends where storage %.80q should begin", key)
		}
		head, err := readAll(src, at, 8)
		if err != nil {
			return fmt.Errorf("weights: %s: %w", path, err)
		}
		s.offset = at + 8
		width := s.width()
		if width == 0 {
			return bad("storage %.80q of torch.%.80s, whose size is not known: %w", key, s.kind, ErrDType)
		}
		room := (src.size() - s.offset) / width
		if n := binary.LittleEndian.Uint64(head); n != uint64(s.count) || s.count > room {
			return bad("storage %.80q of %d elements, where %d should be, %d are left", key, n, s.count, room)
		}
		at = s.offset + s.count*width
	}
	if at != src.size() {
		return bad("%d bytes after the last storage", src.size()-at)
	}
	for _, s := range storagesOf(tensors) {
		if !found[s.key] {
			return bad("storage %.80q is missing", s.key)
		}
	}
	return f.addTensors(path, src, binary.LittleEndian, tensors)
}

// width is the bytes of an element in old files, 0 where that is not known.
func (s *storage) width() int64 {
	if s.dtype != Other {
		return int64(s.dtype.Size())
	}
	return otherWidths()[s.kind]
}

// named is a tensor with its name in the file: one that can be read, or one
// that is lost.
type named struct {
	name string
	*stored
	*lost
}

// wrappers are the keys under which training programs keep the weights beside
// other things; where there are several, the first of this list counts.
func wrappers() []string {
	return []string{
		"state_dict", "model_state_dict", "model", "module", "net", "network", "params",
		"ema", "model_ema", "ema_state_dict", "state_dict_ema", "params_ema",
	}
}

// namedTensors finds the tensors of what a pickle built, sorted by name, and
// keeps the entries that are unknowns. pickled is the pickle's size, first the
// first unknown that it names.
//
// A checkpoint of a training run keeps the weights beside other things: while
// there is a dict or module with tensors under one of the keys of wrappers, only
// what lies there counts. From there on dicts in dicts and modules in modules
// make names with dots.
func (f *File) namedTensors(root any, pickled int, first *unknown) ([]named, error) {
	w := walker{names: 4*pickled + 1<<16, steps: pickled}
	for range maxDepth {
		var inner any
		for _, key := range wrappers() {
			if inner = child(root, key); inner != nil && w.holdsTensor(inner, 0) {
				break
			}
			inner = nil
		}
		if inner == nil {
			break
		}
		root = inner
	}
	if err := w.walk("", root, 0); err != nil {
		return nil, err
	}
	if len(w.found) == 0 && first != nil {
		return nil, fmt.Errorf("no tensors that have names: %w", first.err())
	}
	if len(w.found) == 0 {
		return nil, errors.New("no tensors that have names")
	}
	w.cutTrainers()
	for _, t := range w.found {
		if w.unknown[t.name] != nil {
			return nil, fmt.Errorf("%.80q is a tensor and an object", t.name)
		}
	}
	slices.SortFunc(w.found, func(a, b named) int { return strings.Compare(a.name, b.name) })
	if f.opaque == nil {
		f.opaque = map[string]error{}
	}
	for name, v := range w.unknown {
		f.opaque[name] = v.err()
	}
	return w.found, nil
}

// cutTrainers takes off the beginnings that all names of tensors have and that
// tell how they were trained.
func (w *walker) cutTrainers() {
	trainers := []string{"module.", "_orig_mod."} // DistributedDataParallel, torch.compile
	for again := true; again; {
		again = false
		for _, prefix := range trainers {
			if slices.ContainsFunc(w.found, func(t named) bool { return !strings.HasPrefix(t.name, prefix) }) {
				continue
			}
			for i := range w.found {
				w.found[i].name = w.found[i].name[len(prefix):]
			}
			cut := make(map[string]*unknown, len(w.unknown))
			for name, v := range w.unknown {
				cut[strings.TrimPrefix(name, prefix)] = v
			}
			w.unknown = cut
			again = true
		}
	}
}

// child returns the dict or module under a key of a dict or module, or nil.
func child(v any, key string) any {
	if o, ok := v.(*object); ok {
		v = o.state
	}
	d, ok := v.(*dict)
	if !ok {
		return nil
	}
	for _, i := range slices.Backward(d.items) {
		if i.key == key {
			switch i.value.(type) {
			case *dict, *object:
				return i.value
			}
			return nil
		}
	}
	return nil
}

// walker collects tensors from dicts and modules. One that occurs many times
// in a small pickle, whose names and number would grow beyond bounds, exhausts
// the walker's.
type walker struct {
	found        []named
	unknown      map[string]*unknown
	names, steps int // bytes of names and values visited, at most
}

// holdsTensor reports whether a tensor lies under a key of v. Where the steps end
// before one is found, walk reports it.
func (w *walker) holdsTensor(v any, depth int) bool {
	if w.steps--; w.steps < 0 || depth > maxDepth {
		return false
	}
	switch v := v.(type) {
	case *stored, *lost:
		return true
	case *object:
		return w.holdsTensor(v.state, depth+1)
	case *dict:
		for _, i := range v.items {
			if _, ok := i.key.(string); ok && w.holdsTensor(i.value, depth+1) {
				return true
			}
		}
	}
	return false
}

func (w *walker) walk(name string, v any, depth int) error {
	w.steps--
	switch {
	case w.steps < 0 || w.names < 0 || len(w.found)+len(w.unknown) > maxTensors:
		return errors.New("too many names")
	case depth > maxDepth:
		return fmt.Errorf("more than %d dicts in each other", maxDepth)
	}
	switch v := v.(type) {
	case *stored:
		if depth > 0 { // one alone has no name
			w.found = append(w.found, named{name, v, nil})
		}
	case *lost:
		if depth > 0 {
			w.found = append(w.found, named{name, nil, v})
		}
	case *unknown:
		if depth > 0 {
			if w.unknown == nil {
				w.unknown = map[string]*unknown{}
			}
			w.unknown[name] = v
		}
	case *object:
		return w.walk(name, v.state, depth+1)
	case *dict:
		for _, i := range v.items {
			key, ok := i.key.(string)
			if w.steps--; !ok {
				continue
			}
			if name != "" {
				key = name + "." + key
			}
			w.names -= len(key)
			if err := w.walk(key, i.value, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// storagesOf returns the storages that tensors lie in, each once.
func storagesOf(tensors []named) []*storage {
	var out []*storage
	seen := make(map[*storage]bool)
	for _, t := range tensors {
		if t.stored != nil && !seen[t.storage] {
			seen[t.storage] = true
			out = append(out, t.storage)
		}
	}
	return out
}

// disjoint reports storages that share bytes of the file. It sorts them.
func disjoint(storages []*storage) error {
	slices.SortFunc(storages, func(a, b *storage) int { return int(min(max(a.offset-b.offset, -1), 1)) })
	var end int64
	for _, s := range storages {
		if s.offset < end {
			return fmt.Errorf("storage %.80q overlaps another, or data.pkl", s.key)
		}
		end = s.offset + s.count*int64(s.dtype.Size())
	}
	return nil
}

// addTensors adds tensors whose storages lie in src.
func (f *File) addTensors(path string, src source, order binary.ByteOrder, tensors []named) error {
	for _, t := range tensors {
		var added *tensor
		if t.lost != nil {
			added = &tensor{TensorInfo: TensorInfo{t.name, t.lost.shape, Other}, values: unreadable{t.lost.err}, path: path}
		} else {
			n, _ := volume(t.stored.shape)
			v := contiguous{src, t.storage.offset + t.offset*int64(t.dtype.Size()), n, t.dtype, order}
			added = &tensor{TensorInfo: TensorInfo{t.name, t.stored.shape, t.dtype}, values: &v, path: path}
			if !rowMajor(t.stored.shape, t.strides) {
				added.values = &strided{v, t.stored.shape, t.strides}
			}
		}
		if err := f.add(added); err != nil {
			return err
		}
	}
	return nil
}

// rowMajor reports whether the elements of a tensor follow each other. Where
// there are none, they do, whatever the strides.
func rowMajor(shape, strides []int) bool {
	if slices.Contains(shape, 0) {
		return true
	}
	want := 1
	for i, d := range slices.Backward(shape) {
		if d > 1 && strides[i] != want {
			return false
		}
		want *= d
	}
	return true
}

// strided is a tensor whose elements do not follow each other: a view of a
// larger one, or a transposed one.
type strided struct {
	contiguous
	shape, strides []int
}

func (v *strided) read(dst []float32) error {
	size := v.dtype.Size()
	span := v.span() * size
	var scratch []byte
	if _, ok := v.source.(*memory); !ok {
		scratch = make([]byte, span)
	}
	data, err := v.source.bytes(v.offset, span, scratch)
	if err != nil {
		return err
	}
	last := len(v.shape) - 1
	index := make([]int, len(v.shape))
	at := 0 // the element in the span
	for row := 0; row < len(dst); row += v.shape[last] {
		for j := range v.shape[last] {
			from := (at + j*v.strides[last]) * size
			v.dtype.decode(dst[row+j:row+j+1], data[from:from+size], v.order)
		}
		for axis := last - 1; axis >= 0; axis-- {
			index[axis]++
			at += v.strides[axis]
			if index[axis] < v.shape[axis] {
				break
			}
			at -= index[axis] * v.strides[axis]
			index[axis] = 0
		}
	}
	return finite(dst, 0)
}

// span is the number of elements from the first to the last.
func (v *strided) span() int {
	n := 1
	for i, d := range v.shape {
		n += (d - 1) * v.strides[i]
	}
	return n
}

func (v *strided) release() {
	v.source.release(v.offset, int64(v.span()*v.dtype.Size()))
}

// readerAt reads a source at random.
type readerAt struct{ source }

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= r.size() {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), r.size()-off))
	data, err := r.bytes(off, n, p)
	copy(p, data)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// limited reads no more than so many bytes.
type limited struct {
	readerAt
	left int
}

func (l *limited) ReadAt(p []byte, off int64) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, fmt.Errorf("directory of more than %d bytes", maxDirectory)
	}
	return l.readerAt.ReadAt(p, off)
}

// readSome returns the first n bytes of a source, or all where it has fewer.
func readSome(s source, n int) ([]byte, error) {
	return view(s, 0, int(min(int64(n), s.size())))
}
