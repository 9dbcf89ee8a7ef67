package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const testCommit = "0123456789abcdef0123456789abcdef01234567"

// TestEndlessBody: a file whose size nobody tells is bounded, and so is one
// that is longer than the server said.
func TestEndlessBody(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		w.(http.Flusher).Flush() // no length
		for r.Context().Err() == nil {
			if _, err := w.Write(content[:1<<16]); err != nil {
				break
			}
		}
		return true
	})
	path := filepath.Join(t.TempDir(), "m")
	d := quick()
	d.most = 1 << 20
	written := int64(0)
	require.ErrorIs(t, d.get(t.Context(), s.remote(), path, func(n, _ int64) { written = n }), ErrTooLarge)
	require.LessOrEqual(t, written, d.most)
	require.NoFileExists(t, path+".part")
	require.EqualValues(t, 1, s.requests.Load())

	long := newServer(t, nil) // which tells its length
	require.ErrorIs(t, d.get(t.Context(), long.remote(), path, noReport), ErrTooLarge)
	require.NoFileExists(t, path+".part")

	// MaxBytes sets the bound, of sizes that are known as well.
	client := Client(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, ContentLength: -1, Body: io.NopCloser(endless{}), Request: r}, nil
	})})
	_, err := Fetch(t.Context(), "ViT-B/16", Dir(t.TempDir()), client, MaxBytes(1<<20))
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = Fetch(t.Context(), "sam_vit_b", Dir(t.TempDir()), client, MaxBytes(1<<20))
	require.ErrorIs(t, err, ErrTooLarge)
}

// endless is a body without end that knows no context.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestBoundedRetries: whatever a server alternates, it is asked so often and
// no more.
func TestBoundedRetries(t *testing.T) {
	for name, c := range map[string]struct {
		handle func(w http.ResponseWriter, r *http.Request, n int64) bool
		most   int64
	}{
		"a byte at a time": {func(w http.ResponseWriter, r *http.Request, n int64) bool { cut(w, r, 1); return true }, 2 * maxTries},
		"a byte, then an error": {func(w http.ResponseWriter, r *http.Request, n int64) bool {
			if n%2 == 1 {
				cut(w, r, 1)
			}
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}, 2 * maxTries}, // net/http asks again where a connection broke
		"busy in turn": {func(w http.ResponseWriter, r *http.Request, n int64) bool {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests}[n%2])
			return true
		}, maxTries},
		"all, then a part": {func(w http.ResponseWriter, r *http.Request, n int64) bool {
			if n%2 == 1 {
				r.Header.Del("Range")
			}
			cut(w, r, 100_000)
			return true
		}, 3 * maxRestarts},
		"never satisfiable": {func(w http.ResponseWriter, r *http.Request, n int64) bool {
			if r.Header.Get("Range") == "" {
				cut(w, r, minProgress*int(n))
			}
			w.Header().Set("Content-Range", "bytes */7")
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}, 3 * maxRestarts},
		"progress forever": {func(w http.ResponseWriter, r *http.Request, n int64) bool {
			first := 0
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first)
			if first > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", first, int64(1)<<40))
				w.WriteHeader(http.StatusPartialContent)
			}
			w.(http.Flusher).Flush()
			_, _ = w.Write(content[:minProgress])
			panic(http.ErrAbortHandler)
		}, maxRequests},
		"round in circles": {func(w http.ResponseWriter, r *http.Request, n int64) bool {
			http.Redirect(w, r, "/"+strconv.FormatInt(n, 10), http.StatusFound)
			return true
		}, maxRedirects + 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, c.handle)
			d := quick()
			d.client = guarded(nil)
			err := d.get(t.Context(), s.remote(), filepath.Join(t.TempDir(), "m"), noReport)
			require.Error(t, err)
			require.LessOrEqual(t, s.requests.Load(), c.most)
		})
	}
}

// TestTrickle: a server that sends next to nothing is as good as silent.
func TestTrickle(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		for i := 0; r.Context().Err() == nil && i < len(content); i++ {
			_, _ = w.Write(content[i : i+1])
			w.(http.Flusher).Flush()
			time.Sleep(time.Millisecond)
		}
		return true
	})
	d := quick()
	d.patience = 30 * time.Millisecond
	err := d.get(t.Context(), s.remote(), filepath.Join(t.TempDir(), "m"), noReport)
	require.ErrorIs(t, err, errStalled)
	require.EqualValues(t, maxTries, s.requests.Load())

	// A body that knows no context ends as well.
	d.client = &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		r, _ := io.Pipe()
		return &http.Response{StatusCode: 200, ContentLength: -1, Body: r, Request: req}, nil
	})}
	require.ErrorIs(t, d.get(t.Context(), s.remote(), filepath.Join(t.TempDir(), "m"), noReport), errStalled)

	// What the caller takes its time for is not the server's fault.
	good := newServer(t, nil)
	d = quick()
	d.patience, d.least = time.Second, int64(len(content))
	path := filepath.Join(t.TempDir(), "m")
	require.NoError(t, d.get(t.Context(), good.remote(), path, func(int64, int64) { time.Sleep(400 * time.Millisecond) }))
	requireWhole(t, path)
}

func TestRedirects(t *testing.T) {
	// Credentials stay with the host they are for.
	var seen []http.Header
	other := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		seen = append(seen, r.Header.Clone())
		return false
	})
	var token string
	first := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		token = r.Header.Get("Authorization")
		http.Redirect(w, r, other.URL+"/elsewhere", http.StatusFound)
		return true
	})
	d := quick()
	d.client = guarded(&http.Client{})
	r := first.remote()
	r.token = "secret"
	path := filepath.Join(t.TempDir(), "m")
	require.NoError(t, d.get(t.Context(), r, path, noReport))
	requireWhole(t, path)
	require.Equal(t, "Bearer secret", token)
	require.Len(t, seen, 1)
	require.NotContains(t, fmt.Sprint(seen), "secret")

	// HTTPS does not become HTTP.
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusFound)
	}))
	defer secure.Close()
	d.client = guarded(secure.Client())
	asked := other.requests.Load()
	err := d.get(t.Context(), remote{url: secure.URL, size: -1, digest: sha256Of(content)}, filepath.Join(t.TempDir(), "m"), noReport)
	require.ErrorIs(t, err, ErrRedirect)
	require.ErrorContains(t, err, "HTTPS")
	require.Equal(t, asked, other.requests.Load())

	// The client's own policy is asked, too.
	no := errors.New("not this way")
	d.client = guarded(&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return no }})
	require.ErrorIs(t, d.get(t.Context(), first.remote(), filepath.Join(t.TempDir(), "m"), noReport), no)
}

// TestToken: the Hub gets it, nobody else, whatever the environment says.
func TestToken(t *testing.T) {
	t.Setenv("HF_TOKEN", "from the environment")
	t.Setenv("HF_ENDPOINT", "https://mirror.invalid")
	h := &huggingFace{commit: testCommit, files: map[string]string{"model.safetensors": "weights"}}
	authorized := map[string]string{}
	client := Client(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		authorized[r.URL.Host] = r.Header.Get("Authorization")
		if strings.Contains(r.URL.Path, "/resolve/") {
			w := httptest.NewRecorder()
			w.Header().Set("Location", "https://cdn.invalid/x")
			w.WriteHeader(http.StatusFound)
			return w.Result(), nil
		}
		if r.URL.Host == "cdn.invalid" {
			w := httptest.NewRecorder()
			_, _ = w.WriteString("weights")
			return w.Result(), nil
		}
		return h.RoundTrip(r)
	})})
	_, err := Fetch(t.Context(), "owner/name", Dir(t.TempDir()), client, Token("secret"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"huggingface.co": "Bearer secret", "cdn.invalid": ""}, authorized)
	clear(authorized)
	_, err = Fetch(t.Context(), "owner/name", Dir(t.TempDir()), client)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"huggingface.co": "", "cdn.invalid": ""}, authorized)
}

// TestContentRange: a part is appended only where it belongs.
func TestContentRange(t *testing.T) {
	for _, text := range []string{"", "bytes 0-9/10", "bytes 5-4/10", "bytes 5-9/9", "bytes */10", "items 5-9/10", "bytes 5-8/10", "bytes 6-10/11", strings.Repeat("x", 10_000)} {
		s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
			w.Header().Set("Content-Range", text)
			w.Header().Set("Content-Length", "5")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write([]byte("hello"))
			return true
		})
		path := filepath.Join(t.TempDir(), "m")
		require.NoError(t, os.WriteFile(path+".part", content[:5], 0o600))
		err := quick().get(t.Context(), s.remote(), path, noReport)
		require.ErrorContains(t, err, "asked for bytes from 5", text)
		require.Less(t, len(err.Error()), 1000)
		require.NoFileExists(t, path)
	}
}

// TestLinks: links and the like in the cache are not written through.
func TestLinks(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "js" {
		return // links need rights there
	}
	s := newServer(t, nil)
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "m")
	for _, name := range []string{path + ".part", path + ".lock"} {
		require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
		require.NoError(t, os.Symlink(victim, name))
		require.NoError(t, quick().get(t.Context(), s.remote(), path, noReport))
		requireWhole(t, path)
		require.NoError(t, errors.Join(os.Remove(path), os.Remove(path+".lock")))
		data, err := os.ReadFile(victim)
		require.NoError(t, err)
		require.Equal(t, "precious", string(data))
	}
	require.NoError(t, os.Symlink(filepath.Join(dir, "made"), path+".part")) // of nothing
	require.NoError(t, quick().get(t.Context(), s.remote(), path, noReport))
	require.NoFileExists(t, filepath.Join(dir, "made"))

	h := &huggingFace{commit: testCommit, files: map[string]string{"model.safetensors": "weights"}}
	cache, outside := t.TempDir(), t.TempDir()
	at := filepath.Join(cache, "huggingface", "owner--name", testCommit)
	require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o700))
	require.NoError(t, os.Symlink(outside, at+".part"))
	_, err := Fetch(t.Context(), "owner/name", Dir(cache), Client(&http.Client{Transport: h}))
	require.NoError(t, err)
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// TestDamagedCache: files that are not what they should be are fetched again,
// or reported.
func TestDamagedCache(t *testing.T) {
	h := &huggingFace{commit: testCommit, small: []string{"config.json"}, files: map[string]string{
		"config.json": `{"model_type": "clip"}`, "model.safetensors": "weights",
	}}
	client := Client(&http.Client{Transport: h})
	cache := t.TempDir()
	fetch := func(opts ...Option) (string, error) {
		return Fetch(t.Context(), "owner/name", append(opts, Dir(cache), client)...)
	}
	dir, err := fetch()
	require.NoError(t, err)
	model, config := filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "config.json")
	for name, damage := range map[string]func() error{
		"removed":      func() error { return os.Remove(model) },
		"empty":        func() error { return os.Truncate(model, 0) },
		"a directory":  func() error { return errors.Join(os.Remove(model), os.Mkdir(model, 0o700)) },
		"shorter":      func() error { return os.Truncate(model, 3) },
		"other bytes":  func() error { return os.WriteFile(config, []byte(`{"model_type": "slip"}`), 0o600) },
		"no directory": func() error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)) },
	} {
		require.NoError(t, damage(), name)
		_, err := fetch(Offline())
		if name == "empty" || name == "a directory" || name == "removed" {
			require.ErrorIs(t, err, ErrOffline, name)
		}
		again, err := fetch()
		require.NoError(t, err, name)
		require.Equal(t, dir, again)
		for file, want := range h.files {
			data, err := os.ReadFile(filepath.Join(dir, file))
			require.NoError(t, err, name)
			require.Equal(t, want, string(data), name)
		}
	}

	// Without the network a branch is the commit that it was.
	gone := Client(&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") })})
	again, err := Fetch(t.Context(), "owner/name", Dir(cache), gone)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	_, err = Fetch(t.Context(), "owner/name", Dir(cache), gone, Revision("v2"))
	require.ErrorContains(t, err, "no route")
}

// TestInterrupted: wherever a process ended while it made a snapshot, the next
// one completes it.
func TestInterrupted(t *testing.T) {
	h := &huggingFace{commit: testCommit, small: []string{"config.json"}, files: map[string]string{
		"config.json": "{}", "model.safetensors": "weights",
	}}
	files := []string{"config.json", "config.json.lock", "model.safetensors", "model.safetensors.lock", "model.safetensors.part", "other"}
	content := map[string]string{"config.json": "{}", "model.safetensors": "weights", "model.safetensors.part": "wei"}
	for state := range 1 << len(files) {
		cache := t.TempDir()
		at := filepath.Join(cache, "huggingface", "owner--name", testCommit)
		require.NoError(t, os.MkdirAll(at+".part", 0o700))
		for i, name := range files {
			if state>>i&1 != 0 {
				require.NoError(t, os.WriteFile(filepath.Join(at+".part", name), []byte(content[name]), 0o600))
			}
		}
		dir, err := Fetch(t.Context(), "owner/name", Dir(cache), Client(&http.Client{Transport: h}))
		require.NoError(t, err, "state %b", state)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 2, "state %b", state)
		require.NoDirExists(t, at+".part")
	}
}

// TestReadOnlyCache: a cache that is complete is only read.
func TestReadOnlyCache(t *testing.T) {
	h := &huggingFace{commit: testCommit, files: map[string]string{"model.safetensors": "weights"}}
	client := Client(&http.Client{Transport: h})
	cache := t.TempDir()
	dir, err := Fetch(t.Context(), "owner/name", Dir(cache), client)
	require.NoError(t, err)
	before := listing(t, cache)
	var folders []string
	require.NoError(t, filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		return err
	}))
	for _, path := range folders {
		require.NoError(t, os.Chmod(path, 0o500))
		defer os.Chmod(path, 0o700)
	}
	for _, opts := range [][]Option{{}, {Offline()}, {Revision(testCommit)}, {Offline(), Revision(testCommit)}} {
		again, err := Fetch(t.Context(), "owner/name", append(opts, Dir(cache), client)...)
		require.NoError(t, err)
		require.Equal(t, dir, again)
	}
	require.Equal(t, before, listing(t, cache))
}

func listing(t *testing.T, dir string) (names []string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	}))
	return names
}

func TestFolders(t *testing.T) {
	require.Equal(t, "openai--clip-vit-base-patch16", folderOf("openai/clip-vit-base-patch16"))
	seen := map[string]string{}
	words := []string{"a", "a-", "a--", "a--b", "a-b", "b", "b--c", "b-c", "c", "a---b", "a--b--c"}
	for _, owner := range words {
		for _, name := range words {
			repository := owner + "/" + name
			folder := folderOf(repository)
			require.Empty(t, seen[folder], "%s and %s", repository, seen[folder])
			seen[folder] = repository
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", `a\b`, "C:x", "nul", "CON.bin", "com1.safetensors", "LPT9", "a\x00b", "x.", "x.lock", "x.part", "-x", "é"} {
		require.False(t, isFileName(name), name)
	}
	for _, name := range []string{"model-00001-of-00002.safetensors", "console.bin", "com10", "a_b.c-d"} {
		require.True(t, isFileName(name), name)
	}
	require.Equal(t, "feature%2Fx", refName("feature/x"))
	require.NotEqual(t, "nul", refName("nul"))
}

// TestAnswers: what the Hub says of a repository is bounded.
func TestAnswers(t *testing.T) {
	answer := ""
	requests := 0
	client := Client(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		requests++
		return &http.Response{StatusCode: 200, ContentLength: -1, Body: io.NopCloser(io.MultiReader(strings.NewReader(answer))), Request: r}, nil
	})})
	for name, c := range map[string]struct {
		answer string
		kind   error
	}{
		"endless":        {strings.Repeat(" ", maxAnswer+1), ErrTooLarge},
		"files":          {`{"sha": "` + testCommit + `", "siblings": [` + strings.Repeat("{},", maxFiles) + `{}]}`, ErrTooLarge},
		"number":         {`{"sha": ` + strings.Repeat("1", 1<<20) + `}`, nil},
		"text":           {strings.Repeat("x", 1<<20), nil},
		"commit":         {`{"sha": "` + strings.Repeat("x", 1<<20) + `"}`, nil},
		"no files":       {`{"sha": "` + testCommit + `", "siblings": null}`, ErrName},
		"size":           {`{"sha": "` + testCommit + `", "siblings": [{"rfilename": "model.safetensors", "lfs": {"sha256": "` + sha256Of(nil) + `", "size": 9000000000000000000}}]}`, ErrTooLarge},
		"negative":       {`{"sha": "` + testCommit + `", "siblings": [{"rfilename": "model.safetensors", "lfs": {"sha256": "` + sha256Of(nil) + `", "size": -1}}]}`, ErrName},
		"digest":         {`{"sha": "` + testCommit + `", "siblings": [{"rfilename": "model.safetensors", "lfs": {"sha256": "00", "size": 1}}]}`, ErrName},
		"nothing at all": {"", nil},
	} {
		answer, requests = c.answer, 0
		cache := t.TempDir()
		_, err := Fetch(t.Context(), "owner/name", Dir(cache), client)
		require.Error(t, err, name)
		if c.kind != nil {
			require.ErrorIs(t, err, c.kind, name)
		}
		require.Less(t, len(err.Error()), 2000, name)
		require.Equal(t, 1, requests, name)
	}
	_, err := Fetch(t.Context(), strings.Repeat("x", 1<<20), Dir(t.TempDir()))
	require.ErrorIs(t, err, ErrName)
	require.Less(t, len(err.Error()), 2000)
}

// TestCanceledEarly: a context that has ended ends everything.
func TestCanceledEarly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	client := Client(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) { return nil, r.Context().Err() })})
	for _, name := range []string{"ViT-B/16", "sam_vit_b", "owner/name"} {
		_, err := Fetch(ctx, name, Dir(t.TempDir()), client)
		require.ErrorIs(t, err, context.Canceled, name)
	}
	s := newServer(t, nil)
	path := filepath.Join(t.TempDir(), "m")
	require.NoError(t, os.WriteFile(path+".part", content[:1<<20], 0o600))
	require.ErrorIs(t, quick().get(ctx, s.remote(), path, noReport), context.Canceled)
	require.Zero(t, s.requests.Load())

	// Options that say nothing.
	cache := t.TempDir()
	_, err := Fetch(t.Context(), "owner/name", Dir(cache), Client(nil), WithProgress(nil), Offline())
	require.ErrorIs(t, err, ErrOffline)
}
