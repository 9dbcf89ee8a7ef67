package weights

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// CheckpointNames returns the file names that are looked for first in a
// directory, in this order; they are Hugging Face's and OpenCLIP's.
func CheckpointNames() []string {
	return []string{
		"model.safetensors",
		"model.safetensors.index.json",
		"open_clip_model.safetensors",
		"pytorch_model.bin",
		"pytorch_model.bin.index.json",
		"open_clip_pytorch_model.bin",
	}
}

// Limits on the JSON files beside the weights, in bytes.
const (
	maxIndex  = 100_000_000
	maxConfig = 16 << 20
)

// Open opens a checkpoint: a file, the index of a sharded checkpoint, or a
// directory such as Hugging Face's snapshots. The format is recognized by
// content, not by name. Only the list of tensors is read. The file must not be
// truncated while it is open.
//
// A malformed file, or one in an unknown format, is [ErrFormat].
func Open(path string, opts ...Option) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if info.IsDir() {
		return open(os.DirFS(path), ".", path, opts)
	}
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	return open(os.DirFS(dir), name, dir, opts)
}

// OpenFS is [Open] in a file system; name is a file or a directory in it. Files
// that are not files of the operating system and do not implement io.ReaderAt
// are read whole.
func OpenFS(fsys fs.FS, name string, opts ...Option) (*File, error) {
	return open(fsys, name, "", opts)
}

// FromBytes is [Open] for the content of a file, which must not change while
// the checkpoint is in use. A shard index is [ErrFormat], as its shards are
// elsewhere.
func FromBytes(data []byte, opts ...Option) (*File, error) {
	f := &File{path: "bytes", tensors: map[string]*tensor{}}
	if err := f.apply(opts); err != nil {
		return nil, err
	}
	if err := f.addFile(f.path, &memory{data: data}); err != nil {
		return nil, err
	}
	return f, nil
}

// open opens a file or directory of fsys; dir is where fsys is, for messages.
func open(fsys fs.FS, name, dir string, opts []Option) (_ *File, err error) {
	f := &File{path: filepath.Join(dir, name), tensors: map[string]*tensor{}}
	if err := f.apply(opts); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if info.IsDir() {
		dir := name
		if name, err = findIn(fsys, dir); err != nil {
			return nil, fmt.Errorf("weights: %s: %w", f.path, err)
		}
		f.path = filepath.Join(f.path, strings.TrimPrefix(name, dir+"/"))
	}
	src, err := f.open(fsys, name, f.path)
	if err != nil {
		return nil, err
	}
	err = guard(func() error {
		head, err := readAll(src, 0, int(min(src.size(), 64)))
		if err == nil && isIndex(head) {
			return f.addShards(fsys, name, src)
		}
		return f.addFile(f.path, src)
	})
	if err != nil {
		return nil, err
	}
	return f, f.readConfigs(fsys, path.Dir(name))
}

// open opens one file, to be closed with f.
func (f *File) open(fsys fs.FS, name, shown string) (source, error) {
	src, err := openSource(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", shown, err)
	}
	f.sources = append(f.sources, src)
	return src, nil
}

// addFile adds the tensors of one file, whatever its kind.
func (f *File) addFile(path string, src source) error {
	head, err := readAll(src, 0, int(min(src.size(), 64)))
	switch {
	case err != nil:
		return fmt.Errorf("weights: %s: %w", path, err)
	case isZip(head):
		return f.addArchive(path, src)
	case isPickle(head) && !isSafetensors(head):
		return f.addPickle(path, src)
	case isIndex(head):
		return fmt.Errorf("weights: %s: %w: an index of shards, where a file of tensors should be", path, ErrFormat)
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return fmt.Errorf("weights: %s: %w: Git's pointer to a large file, which is elsewhere", path, ErrFormat)
	case len(head) > 8 && !isSafetensors(head):
		return fmt.Errorf("weights: %s: %w: neither a safetensors file, a zip archive nor a pickle; it begins %.8q", path, ErrFormat, head)
	}
	return f.addSafetensors(path, src)
}

// maxCandidates bounds the files of a directory that are opened in search of a
// model, beyond those of CheckpointNames.
const maxCandidates = 64

// shardName is what files of a sharded checkpoint are called; the index beside
// them stands for them all.
var shardName = regexp.MustCompile(`-\d+-of-\d+\.`)

// candidates returns the checkpoints of a directory: those of CheckpointNames, in
// that order, and the others, sorted.
func candidates(fsys fs.FS, dir string) (named, others []string, err error) {
	regular := func(name string) bool {
		info, err := fs.Stat(fsys, name)
		return err == nil && info.Mode().IsRegular()
	}
	for _, name := range CheckpointNames() {
		if name = path.Join(dir, name); regular(name) {
			named = append(named, name)
		}
	}
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil && len(named) == 0 {
		return nil, nil, err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if slices.Contains([]string{".safetensors", ".pt", ".pth", ".bin", ".ckpt"}, path.Ext(name)) &&
			!slices.Contains(named, name) && !shardName.MatchString(name) && len(others) < maxCandidates && regular(name) {
			others = append(others, name)
		}
	}
	return named, others, nil
}

// findIn returns the path of the checkpoint in a directory: the first of
// CheckpointNames, else the only other one.
func findIn(fsys fs.FS, dir string) (string, error) {
	named, others, err := candidates(fsys, dir)
	switch {
	case err != nil:
		return "", err
	case len(named) > 0:
		return named[0], nil
	case len(others) == 1:
		return others[0], nil
	case len(others) > 1:
		return "", fmt.Errorf("%w: the directory holds several checkpoints, none of them called %s: %s",
			ErrFormat, strings.Join(CheckpointNames(), " or "), shortList(others))
	}
	return "", fmt.Errorf("%w: the directory holds no checkpoint, such as %s", ErrFormat, strings.Join(CheckpointNames(), ", "))
}

// OpenModel is [Open] for a checkpoint that holds a given model. In a directory
// it takes the first of [CheckpointNames] that does, else the only other file
// that does; further files may hold other models. The errors are those of Open
// and [NewView].
func OpenModel(path string, m Model, opts ...Option) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if !info.IsDir() {
		return Open(path, opts...)
	}
	fsys := os.DirFS(path)
	named, others, err := candidates(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	if len(named)+len(others) == 0 {
		return Open(path, opts...) // whose error says so
	}
	var failed []error
	try := func(name string) *File {
		f, err := open(fsys, name, path, opts)
		if err == nil {
			if _, err = m.fits(f.Names()); err == nil {
				return f
			}
			f.Close()
			err = fmt.Errorf("weights: %s: %w", filepath.Join(path, name), err)
		}
		failed = append(failed, err)
		return nil
	}
	for _, name := range named {
		if f := try(name); f != nil {
			return f, nil
		}
	}
	var found *File
	for _, name := range others {
		switch f := try(name); {
		case f == nil:
		case found == nil:
			found = f
		default:
			err := fmt.Errorf("weights: %w: two files hold a %s: %s and %s", ErrFormat, m.Name, found.path, f.path)
			return nil, errors.Join(err, found.Close(), f.Close())
		}
	}
	if found == nil {
		return nil, errors.Join(failed[:min(len(failed), maxReasons)]...)
	}
	return found, nil
}

// maxReasons bounds how many files a message explains.
const maxReasons = 8

func shortList(names []string) string {
	if len(names) > maxReasons {
		return strings.Join(names[:maxReasons], ", ") + fmt.Sprintf(" and %d more", len(names)-maxReasons)
	}
	return strings.Join(names, ", ")
}

// isIndex tells a shard index by its first bytes: JSON text, unlike the first
// eight bytes of any checkpoint, holds no control characters.
func isIndex(head []byte) bool {
	text := bytes.TrimLeft(head, " \t\r\n")
	return len(text) > 0 && text[0] == '{' && !slices.ContainsFunc(head, func(b byte) bool {
		return b < ' ' && b != '\t' && b != '\r' && b != '\n'
	})
}

// addShards adds the tensors of all files that an index names. Index and files
// must agree on every tensor.
// Source: huggingface/transformers save_pretrained (weight_map).
func (f *File) addShards(fsys fs.FS, name string, src source) error {
	index := f.path
	bad := func(format string, args ...any) error {
		return fmt.Errorf("weights: %s: %w: %w", index, ErrFormat, fmt.Errorf(format, args...))
	}
	if src.size() > maxIndex {
		return bad("index of %d bytes", src.size())
	}
	data, err := readAll(src, 0, int(src.size()))
	if err != nil {
		return fmt.Errorf("weights: %s: %w", index, err)
	}
	shardOf := map[string]string{}
	err = eachKey(json.NewDecoder(bytes.NewReader(data)), func(d *json.Decoder, key string) error {
		if key != "weight_map" {
			var skip json.RawMessage
			return d.Decode(&skip)
		}
		return eachKey(d, func(d *json.Decoder, tensor string) error {
			var shard string
			err := d.Decode(&shard)
			if err == nil && len(shardOf) == maxTensors {
				err = fmt.Errorf("more than %d tensors", maxTensors)
			}
			shardOf[tensor] = shard
			return err
		})
	})
	if err != nil {
		return bad("index of shards: %w", err)
	}
	if len(shardOf) == 0 {
		return bad("neither a checkpoint nor an index of shards")
	}
	var shards []string
	for _, shard := range shardOf {
		shards = append(shards, shard)
	}
	slices.Sort(shards)
	for _, shard := range slices.Compact(shards) {
		// No shard is outside the directory.
		if !fs.ValidPath(shard) || shard == "." || len(shard) > maxName || strings.ContainsAny(shard, `\:`) || strings.ContainsFunc(shard, unicode.IsControl) {
			return bad("shard %.80q", shard)
		}
		shown := filepath.Join(filepath.Dir(index), filepath.FromSlash(shard))
		src, err := f.open(fsys, path.Join(path.Dir(name), shard), shown)
		if err != nil {
			return err
		}
		before := len(f.order)
		if err := f.addFile(shown, src); err != nil {
			return err
		}
		for _, name := range f.order[before:] {
			if shardOf[name] != shard {
				return bad("%s holds %s, which the index places in %q", shard, name, shardOf[name])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		if f.tensors[name] == nil {
			return fmt.Errorf("weights: %s: %w: %.80q, which the index places in %s", index, ErrMissing, name, shardOf[name])
		}
	}
	return nil
}

// eachKey reads a JSON object, whose values f must read, and refuses repeated
// keys.
func eachKey(d *json.Decoder, f func(d *json.Decoder, key string) error) error {
	open, err := d.Token()
	if err != nil {
		return noEOF(err)
	}
	if open != json.Delim('{') {
		return fmt.Errorf("no object where one should begin")
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return noEOF(err)
		}
		key, ok := token.(string)
		if !ok || seen[key] {
			return fmt.Errorf("key %.80q repeated", key)
		}
		seen[key] = true
		if err := f(d, key); err != nil {
			return noEOF(err)
		}
	}
	_, err = d.Token()
	return noEOF(err)
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readConfigs reads the configuration files beside the weights.
func (f *File) readConfigs(fsys fs.FS, dir string) (err error) {
	read := func(name string) []byte {
		data, e := readFile(fsys, path.Join(dir, name))
		if e != nil && !errors.Is(e, fs.ErrNotExist) && err == nil {
			err = fmt.Errorf("weights: %s: %w", filepath.Join(filepath.Dir(f.path), name), e)
		}
		return data
	}
	f.configs = map[string][]byte{}
	for _, name := range []string{"config.json", "open_clip_config.json"} {
		if data := read(name); data != nil {
			f.configs[name] = data
		}
	}
	f.preprocessor = read("preprocessor_config.json")
	return err
}

// readFile reads a small file.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	// Opening a named pipe would wait for somebody to write.
	if info, err := fs.Stat(fsys, name); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(data) > maxConfig {
		err = fmt.Errorf("%w: configuration of more than %d bytes", ErrFormat, maxConfig)
	}
	return data, err
}
