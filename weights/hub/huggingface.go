package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	Commit string `json:"sha"`
	Files  []struct {
		Name string `json:"rfilename"`
		Size *int64 `json:"size"`
		Blob string `json:"blobId"`
		LFS  *struct {
			SHA256 string `json:"sha256"`
			Size   int64  `json:"size"`
		} `json:"lfs"`
	} `json:"siblings"`
}

// repository fetches the weights and configuration of a repository, and returns
// their directory. It gets its name when it is complete.
func (f *fetcher) repository(ctx context.Context, name string) (string, error) {
	if !isRepository(name) {
		return "", fmt.Errorf("%w: neither owner/name nor one of %s", ErrName, strings.Join(Names(), ", "))
	}
	for _, part := range strings.Split(f.revision, "/") {
		if !isWord(part) {
			return "", fmt.Errorf("%w: revision %q", ErrName, f.revision)
		}
	}
	dir := filepath.Join(f.dir, "huggingface", strings.ReplaceAll(name, "/", "--"))
	ref := filepath.Join(dir, "refs", url.PathEscape(f.revision))
	commit := f.revision
	if !isCommit(commit) && f.offline {
		data, err := os.ReadFile(ref)
		if err != nil || !isCommit(string(data)) {
			return "", fmt.Errorf("revision %s: %w", f.revision, ErrOffline)
		}
		commit = string(data)
	}
	if isCommit(commit) {
		if at := filepath.Join(dir, commit); exists(at) {
			return at, nil
		}
		if f.offline {
			return "", fmt.Errorf("revision %s: %w", f.revision, ErrOffline)
		}
	}
	s, err := f.snapshot(ctx, name)
	if err != nil {
		return "", err
	}
	at := filepath.Join(dir, s.Commit)
	if !exists(at) {
		if err := f.files(ctx, name, s, at); err != nil {
			return "", err
		}
	}
	if s.Commit == f.revision {
		return at, nil
	}
	return at, writeFile(ref, s.Commit)
}

// isCommit reports whether a revision is a commit's hash.
func isCommit(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}

// snapshot asks which files a revision has.
func (f *fetcher) snapshot(ctx context.Context, name string) (*snapshot, error) {
	address := fmt.Sprintf("%s/api/models/%s/revision/%s?blobs=true", endpoint, name, url.PathEscape(f.revision))
	ctx, _, stop := impatient(ctx, f.download.patience)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, passing(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, status(address, resp)
	}
	var s snapshot
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&s); err != nil {
		return nil, fmt.Errorf("%s: %w", address, passing(ctx, err))
	}
	if !isCommit(s.Commit) || isCommit(f.revision) && s.Commit != f.revision {
		return nil, fmt.Errorf("%s: commit %q", address, s.Commit)
	}
	return &s, nil
}

// find returns a file of the snapshot.
func (s *snapshot) find(repository, name string) (remote, bool) {
	for _, file := range s.Files {
		if file.Name != name {
			continue
		}
		r := remote{url: fmt.Sprintf("%s/%s/resolve/%s/%s", endpoint, repository, s.Commit, name)}
		switch {
		case file.LFS != nil:
			r.size, r.digest = file.LFS.Size, file.LFS.SHA256
		case file.Size != nil:
			r.size, r.digest, r.git = *file.Size, file.Blob, true
		default:
			return remote{}, false
		}
		return r, r.size >= 0
	}
	return remote{}, false
}

// files fetches the files of a snapshot that a model is made of to a directory
// that is renamed in the end.
func (f *fetcher) files(ctx context.Context, repository string, s *snapshot, at string) error {
	temp := at + ".part"
	if err := os.MkdirAll(temp, 0o777); err != nil {
		return err
	}
	unlock, err := lock(ctx, at+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if exists(at) { // another process was first
		return os.RemoveAll(temp)
	}
	checkpoints := weights.CheckpointNames()
	i := slices.IndexFunc(checkpoints, func(name string) bool { _, ok := s.find(repository, name); return ok })
	if i < 0 {
		return fmt.Errorf("%w: the repository has no %s", ErrName, strings.Join(checkpoints, ", no "))
	}
	names := []string{checkpoints[i]}
	if strings.HasSuffix(names[0], ".index.json") {
		r, _ := s.find(repository, names[0])
		index := filepath.Join(temp, names[0])
		if err := f.file(ctx, r, index, 0, r.size); err != nil {
			return err
		}
		shards, err := shardsOf(index)
		if err != nil {
			return err
		}
		names = append(names, shards...)
	}
	names = append(names, "config.json", "open_clip_config.json", "preprocessor_config.json")
	var wanted []string
	var total, done int64
	for i, name := range names {
		r, ok := s.find(repository, name)
		if ok {
			wanted = append(wanted, name)
			total += r.size
		} else if i < len(names)-3 {
			return fmt.Errorf("%w: the repository has no %s", ErrName, name)
		}
	}
	for _, name := range wanted {
		r, _ := s.find(repository, name)
		if err := f.file(ctx, r, filepath.Join(temp, name), done, total); err != nil {
			return err
		}
		done += r.size
	}
	for _, name := range wanted {
		if err := os.Remove(filepath.Join(temp, name+".lock")); err != nil {
			return err
		}
	}
	return os.Rename(temp, at)
}

// shardsOf lists the files that an index names, which lie beside it.
func shardsOf(index string) ([]string, error) {
	info, err := os.Stat(index)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxAnswer {
		return nil, fmt.Errorf("%s: index of %d bytes", index, info.Size())
	}
	data, err := os.ReadFile(index)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &parsed); err != nil {
		return nil, fmt.Errorf("%s: %w", index, err)
	}
	var shards []string
	for _, shard := range parsed.Map {
		if !isWord(shard) {
			return nil, fmt.Errorf("%s: shard %q", index, shard)
		}
		shards = append(shards, shard)
	}
	slices.Sort(shards)
	return slices.Compact(shards), nil
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
