package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clipsurgery/clipsurgery/weights"
)

const endpoint = "https://huggingface.co"

// maxAnswer bounds the list of a repository's files, and an index of shards.
const maxAnswer = 32 << 20

// snapshot is a commit of a repository. Each of its files is named by a digest:
// SHA-256 where Git holds a pointer to a large file, else Git's own.
// Source: huggingface/huggingface_hub src/huggingface_hub/hf_api.py (model_info).
type snapshot struct {
	Commit string   `json:"sha"`
	Files  siblings `json:"siblings"`
}

type sibling struct {
	Name string `json:"rfilename"`
	Size *int64 `json:"size"`
	Blob string `json:"blobId"`
	LFS  *struct {
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"lfs"`
}

// maxFiles bounds the files of a repository.
const maxFiles = 100_000

// siblings are the files of a repository by name; of equal names the first.
type siblings map[string]sibling

// UnmarshalJSON takes file by file, so that a list that is too long is given up
// before it fills the memory.
func (s *siblings) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	start, err := d.Token()
	if err != nil || start == nil {
		return err
	}
	if start != json.Delim('[') {
		return errors.New("siblings: want a list")
	}
	*s = siblings{}
	for n := 0; d.More(); n++ {
		if n == maxFiles {
			return fmt.Errorf("%w: a repository of more than %d files", ErrTooLarge, maxFiles)
		}
		var file sibling
		if err := d.Decode(&file); err != nil {
			return err
		}
		if _, ok := (*s)[file.Name]; !ok {
			(*s)[file.Name] = file
		}
	}
	return nil
}

// repository fetches the weights and configuration of a repository, and returns
// their directory. It gets its name when it is complete.
func (f *fetcher) repository(ctx context.Context, name string) (string, error) {
	if !isRepository(name) {
		return "", fmt.Errorf("%w: neither owner/name nor one of %s", ErrName, strings.Join(Names(), ", "))
	}
	for _, part := range strings.Split(f.revision, "/") {
		if !isWord(part) {
			return "", fmt.Errorf("%w: revision %q", ErrName, clip(f.revision))
		}
	}
	dir := filepath.Join(f.dir, "huggingface", folderOf(name))
	ref := filepath.Join(dir, "refs", refName(f.revision))
	known := readRef(ref)
	if isCommit(f.revision) {
		known = f.revision
	}
	if isCommit(f.revision) || f.offline {
		at := filepath.Join(dir, known)
		err := fs.ErrNotExist
		if known != "" {
			err = checkSnapshot(at)
		}
		if err == nil {
			return at, nil
		}
		if f.offline {
			return "", offline(f.revision, err)
		}
	}
	s, err := f.snapshot(ctx, name)
	if err != nil {
		at := filepath.Join(dir, known)
		if t := (transient{}); errors.As(err, &t) && known != "" && checkSnapshot(at) == nil {
			return at, nil
		}
		return "", err
	}
	at := filepath.Join(dir, s.Commit)
	if err := f.files(ctx, name, s, at); err != nil {
		return "", err
	}
	if s.Commit != known {
		// In a cache that is only read there is no place for it, nor need.
		_ = writeFile(ref, s.Commit)
	}
	return at, nil
}

// offline is the error of a revision that the cache does not have whole.
func offline(revision string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("revision %s: %w", clip(revision), ErrOffline)
	}
	return fmt.Errorf("revision %s: %w: %w", clip(revision), ErrOffline, err)
}

// refName is the file that holds the commit of a branch or tag.
func refName(revision string) string {
	if isDevice(revision) {
		return fmt.Sprintf("%%%02X%s", revision[0], revision[1:])
	}
	return url.PathEscape(revision)
}

// readRef returns the commit that such a file holds, or nothing.
func readRef(path string) string {
	if checkRegular(path, 40) != nil {
		return ""
	}
	if data, err := os.ReadFile(path); err == nil && isCommit(string(data)) {
		return string(data)
	}
	return ""
}

// isCommit reports whether a revision is a commit's hash.
func isCommit(s string) bool {
	return len(s) == 2*sha1.Size && isHex(s)
}

// snapshot asks which files a revision has.
func (f *fetcher) snapshot(ctx context.Context, name string) (*snapshot, error) {
	address := fmt.Sprintf("%s/api/models/%s/revision/%s?blobs=true", endpoint, name, url.PathEscape(f.revision))
	ctx, cancel := context.WithTimeoutCause(ctx, f.download.patience, errStalled)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	authorize(req, f.token)
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, failed(ctx, address, err)
	}
	defer resp.Body.Close()
	defer context.AfterFunc(ctx, func() { resp.Body.Close() })()
	if resp.StatusCode != http.StatusOK {
		return nil, status(address, resp)
	}
	data, err := io.ReadAll(reader{ctx, io.LimitReader(resp.Body, maxAnswer+1)})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, passing(ctx, err))
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("%w: %s: an answer of more than %d bytes", ErrTooLarge, address, maxAnswer)
	}
	var s snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", address, clipped{err})
	}
	if !isCommit(s.Commit) || isCommit(f.revision) && s.Commit != f.revision {
		return nil, fmt.Errorf("%s: commit %q", address, clip(s.Commit))
	}
	return &s, nil
}

// find returns a file of the snapshot.
func (s *snapshot) find(repository, name string) (remote, bool) {
	file, ok := s.Files[name]
	if !ok {
		return remote{}, false
	}
	r := remote{url: fmt.Sprintf("%s/%s/resolve/%s/%s", endpoint, repository, s.Commit, name)}
	length := 2 * sha256.Size
	switch {
	case file.LFS != nil:
		r.size, r.digest = file.LFS.Size, file.LFS.SHA256
	case file.Size != nil:
		r.size, r.digest, r.git = *file.Size, file.Blob, true
		length = 2 * sha1.Size
	default:
		return remote{}, false
	}
	return r, r.size >= 0 && len(r.digest) == length && isHex(r.digest)
}

// isHex reports whether a string consists of hexadecimal digits in lower case.
func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// part is a file of a snapshot that is wanted.
type part struct {
	name string
	remote
}

// configurations are the files that are fetched beside the weights, if there
// are any.
func configurations() []string {
	return []string{"config.json", "open_clip_config.json", "preprocessor_config.json"}
}

// files fetches the files of a snapshot that a model is made of to a directory
// that is renamed in the end, unless it is there already.
func (f *fetcher) files(ctx context.Context, repository string, s *snapshot, at string) error {
	if whole, err := f.isWhole(ctx, repository, s, at); whole || err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
		return err
	}
	unlock, err := lock(ctx, at+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if whole, err := f.isWhole(ctx, repository, s, at); whole || err != nil { // another process was first
		return err
	}
	temp := at + ".part"
	if exists(at) { // damaged: what is right in it need not be fetched again
		if err := os.RemoveAll(temp); err != nil {
			return err
		}
		if err := os.Rename(at, temp); err != nil {
			return err
		}
	}
	if err := makeDir(temp); err != nil {
		return err
	}
	if err := f.fillDir(ctx, repository, s, temp); err != nil {
		return err
	}
	return os.Rename(temp, at)
}

// exists reports whether something has the name.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// isWhole reports whether a directory has all the files of a snapshot that are
// wanted.
func (f *fetcher) isWhole(ctx context.Context, repository string, s *snapshot, at string) (bool, error) {
	if !isDir(at) {
		return false, nil
	}
	parts, err := f.parts(repository, s, func(index part) (string, error) {
		return at, index.check(ctx, filepath.Join(at, index.name))
	})
	for _, p := range parts {
		if err != nil {
			break
		}
		err = p.check(ctx, filepath.Join(at, p.name))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrChecksum) {
		return false, nil
	}
	return err == nil, err
}

// fillDir fetches the files of a snapshot to a directory, and leaves nothing
// else there.
func (f *fetcher) fillDir(ctx context.Context, repository string, s *snapshot, dir string) error {
	parts, err := f.parts(repository, s, func(index part) (string, error) {
		return dir, f.file(ctx, index.remote, filepath.Join(dir, index.name), 0, index.size)
	})
	if err != nil {
		return err
	}
	var total, done int64
	for _, p := range parts {
		if p.size > math.MaxInt64-total {
			return fmt.Errorf("%w: the files of the repository together", ErrTooLarge)
		}
		total += p.size
	}
	wanted := map[string]bool{}
	for _, p := range parts {
		if err := f.file(ctx, p.remote, filepath.Join(dir, p.name), done, total); err != nil {
			return err
		}
		done += p.size
		wanted[p.name] = true
	}
	return sweep(dir, wanted)
}

// parts lists the files of a snapshot that a model is made of. If there is an
// index of shards among them, directory gets it, and tells where it is.
func (f *fetcher) parts(repository string, s *snapshot, directory func(index part) (string, error)) ([]part, error) {
	checkpoints := weights.CheckpointNames()
	i := slices.IndexFunc(checkpoints, func(name string) bool { _, ok := s.find(repository, name); return ok })
	if i < 0 {
		return nil, fmt.Errorf("%w: the repository has no %s", ErrName, strings.Join(checkpoints, ", no "))
	}
	var parts []part
	add := func(name string) bool {
		r, ok := s.find(repository, name)
		if r.token = f.token; ok {
			parts = append(parts, part{name, r})
		}
		return ok
	}
	add(checkpoints[i])
	if isIndex(checkpoints[i]) {
		dir, err := directory(parts[0])
		if err != nil {
			return nil, err
		}
		shards, err := shardsOf(filepath.Join(dir, checkpoints[i]))
		if err != nil {
			return nil, err
		}
		for _, name := range shards {
			if !add(name) {
				return nil, fmt.Errorf("%w: the repository has no %s", ErrName, clip(name))
			}
		}
	}
	for _, name := range configurations() {
		add(name)
	}
	return parts, nil
}

func isIndex(name string) bool { return strings.HasSuffix(name, ".index.json") }

// checkSnapshot says what is missing in a directory of the cache, as far as it
// can be seen without asking: a checkpoint, or one of its shards.
func checkSnapshot(dir string) error {
	err := error(fs.ErrNotExist)
	if !isDir(dir) {
		return err
	}
	for _, name := range weights.CheckpointNames() {
		path := filepath.Join(dir, name)
		if err = checkRegular(path, -1); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !isIndex(name) {
			return err
		}
		shards, err := shardsOf(path)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrChecksum, err)
		}
		for _, shard := range shards {
			if err := checkRegular(filepath.Join(dir, shard), -1); err != nil {
				return err
			}
		}
		return nil
	}
	return err
}

// shardsOf lists the files that an index names, which lie beside it.
func shardsOf(index string) ([]string, error) {
	f, err := os.Open(index)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("%w: %s: an index of more than %d bytes", ErrTooLarge, index, maxAnswer)
	}
	var parsed struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &parsed); err != nil {
		return nil, fmt.Errorf("%s: %w", index, clipped{err})
	}
	shards := map[string]bool{}
	for _, shard := range parsed.Map {
		if !isFileName(shard) || isIndex(shard) || slices.Contains(configurations(), shard) {
			return nil, fmt.Errorf("%s: %q is not a valid name of a shard", index, clip(shard))
		}
		shards[shard] = true
	}
	if len(shards) > maxFiles {
		return nil, fmt.Errorf("%w: %s: more than %d shards", ErrTooLarge, index, maxFiles)
	}
	return slices.Sorted(maps.Keys(shards)), nil
}

// writeFile writes a small file that appears when it is whole.
func writeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".ref-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says what is wrong
	}
	return err
}
