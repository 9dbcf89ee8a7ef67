package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// content is what the servers of these tests serve.
var content = []byte(strings.Repeat("all the weights of a model. ", 100_000))

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// server serves content, badly if told so, and counts what it was asked.
type server struct {
	*httptest.Server
	requests atomic.Int64
	handle   func(w http.ResponseWriter, r *http.Request, n int64) bool // true: done
}

func newServer(t *testing.T, handle func(w http.ResponseWriter, r *http.Request, n int64) bool) *server {
	s := &server{handle: handle}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.requests.Add(1)
		if s.handle != nil && s.handle(w, r, n) {
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) remote() remote {
	return remote{url: s.URL + "/model.pt", size: -1, digest: sha256Of(content)}
}

// quick is a downloader that does not wait.
func quick() *downloader {
	d := newDownloader()
	d.client = http.DefaultClient
	d.pause = func(ctx context.Context, _ int) error { return ctx.Err() }
	return &d
}

func noReport(int64, int64) {}

// cut sends so many bytes and hangs up.
func cut(w http.ResponseWriter, r *http.Request, bytes int) {
	first := 0
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first); err == nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(content)-1, len(content)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(content)-first))
	if first > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(content[first:min(first+bytes, len(content))])
	panic(http.ErrAbortHandler)
}

func requireWhole(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, slices.Equal(content, data))
	require.NoFileExists(t, path+".part")
}

func TestDownload(t *testing.T) {
	s := newServer(t, nil)
	path := filepath.Join(t.TempDir(), "a", "model.pt")
	var done, total int64
	require.NoError(t, quick().get(t.Context(), s.remote(), path, func(d, n int64) {
		require.GreaterOrEqual(t, d, done)
		done, total = d, n
	}))
	requireWhole(t, path)
	require.EqualValues(t, len(content), done)
	require.EqualValues(t, len(content), total)
	require.NoError(t, quick().get(t.Context(), s.remote(), path, noReport))
	require.EqualValues(t, 1, s.requests.Load(), "what is there is not asked for")
}

// TestCutConnections: a download goes on where it was cut, by itself while the
// server sends something, and at the next call.
func TestCutConnections(t *testing.T) {
	const piece = 400_000
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		cut(w, r, piece)
		return true
	})
	path := filepath.Join(t.TempDir(), "model.pt")
	require.NoError(t, quick().get(t.Context(), s.remote(), path, noReport))
	requireWhole(t, path)
	require.EqualValues(t, (len(content)+piece-1)/piece, s.requests.Load())

	broken := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		if n == 1 {
			cut(w, r, piece)
		}
		cut(w, r, 0)
		return true
	})
	path = filepath.Join(t.TempDir(), "model.pt")
	require.Error(t, quick().get(t.Context(), broken.remote(), path, noReport))
	require.NoFileExists(t, path)
	info, err := os.Stat(path + ".part")
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(0))

	ranges := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		require.Equal(t, fmt.Sprintf("bytes=%d-", info.Size()), r.Header.Get("Range"))
		return false
	})
	require.NoError(t, quick().get(t.Context(), ranges.remote(), path, noReport))
	requireWhole(t, path)
}

// TestStalled: a server that falls silent is as good as one that hung up.
func TestStalled(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		if n > 1 {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:1<<20])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	})
	path := filepath.Join(t.TempDir(), "model.pt")
	d := quick()
	d.patience = 300 * time.Millisecond
	require.NoError(t, d.get(t.Context(), s.remote(), path, noReport))
	requireWhole(t, path)

	s = newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		<-r.Context().Done()
		return true
	})
	d.patience = time.Millisecond
	err := d.get(t.Context(), s.remote(), filepath.Join(t.TempDir(), "model.pt"), noReport)
	require.ErrorIs(t, err, errStalled)
	require.NotErrorIs(t, err, context.Canceled)
}

// TestResume: what lies there from before may be more or less than it seems.
func TestResume(t *testing.T) {
	whole := func(w http.ResponseWriter, r *http.Request, n int64) bool {
		_, _ = w.Write(content) // a server without ranges
		return true
	}
	half := len(content) / 2
	other := append(append([]byte{}, content[:half]...), "!"...)
	for name, c := range map[string]struct {
		part     []byte
		handle   func(w http.ResponseWriter, r *http.Request, n int64) bool
		requests int64
	}{
		"half":             {content[:half], nil, 1},
		"without ranges":   {content[:half], whole, 1},
		"whole":            {content, nil, 1}, // 416: nothing is missing
		"too long":         {append(append([]byte{}, content...), "more"...), nil, 2},
		"of another file":  {other, nil, 2},
		"length of it all": {append([]byte{'!'}, content[1:]...), nil, 2},
	} {
		s := newServer(t, c.handle)
		path := filepath.Join(t.TempDir(), "model.pt")
		require.NoError(t, os.WriteFile(path+".part", c.part, 0o600))
		require.NoError(t, quick().get(t.Context(), s.remote(), path, noReport), name)
		requireWhole(t, path)
		require.Equal(t, c.requests, s.requests.Load(), name)
	}
}

func TestWrongContent(t *testing.T) {
	bytes := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		_, _ = w.Write(append([]byte{'!'}, content[1:]...))
		return true
	})
	path := filepath.Join(t.TempDir(), "model.pt")
	err := quick().get(t.Context(), bytes.remote(), path, noReport)
	require.ErrorIs(t, err, ErrChecksum)
	require.ErrorContains(t, err, sha256Of(content))
	require.NoFileExists(t, path)
	require.NoFileExists(t, path+".part")

	good := newServer(t, nil)
	for _, size := range []int64{int64(len(content)) - 1, int64(len(content)) + 1} {
		r := good.remote()
		r.size = size
		require.ErrorIs(t, quick().get(t.Context(), r, path, noReport), ErrChecksum)
		require.NoFileExists(t, path+".part")
	}
	endless := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		w.(http.Flusher).Flush() // no length
		for range 100 {
			_, _ = w.Write(content)
		}
		return true
	})
	r := endless.remote()
	r.size = int64(len(content))
	require.ErrorIs(t, quick().get(t.Context(), r, path, noReport), ErrChecksum)
	require.NoFileExists(t, path+".part")

	elsewhere := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		w.Header().Set("Content-Range", "bytes 0-9/10")
		w.WriteHeader(http.StatusPartialContent)
		return true
	})
	require.NoError(t, os.WriteFile(path+".part", content[:5], 0o600))
	require.ErrorContains(t, quick().get(t.Context(), elsewhere.remote(), path, noReport), "asked for bytes from 5")
}

func TestServerErrors(t *testing.T) {
	for code, c := range map[int]struct {
		kind     error
		requests int64
	}{
		http.StatusNotFound:            {fs.ErrNotExist, 1},
		http.StatusForbidden:           {fs.ErrPermission, 1},
		http.StatusTeapot:              {nil, 1},
		http.StatusServiceUnavailable:  {nil, maxTries},
		http.StatusTooManyRequests:     {nil, maxTries},
		http.StatusInternalServerError: {nil, maxTries},
	} {
		s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
			w.WriteHeader(code)
			return true
		})
		err := quick().get(t.Context(), s.remote(), filepath.Join(t.TempDir(), "m"), noReport)
		require.ErrorContains(t, err, http.StatusText(code))
		if c.kind != nil {
			require.ErrorIs(t, err, c.kind)
		}
		require.Equal(t, c.requests, s.requests.Load())
	}
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		if n < maxTries {
			w.WriteHeader(http.StatusBadGateway)
		}
		return n < maxTries
	})
	path := filepath.Join(t.TempDir(), "m")
	require.NoError(t, quick().get(t.Context(), s.remote(), path, noReport))
	requireWhole(t, path)
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:1<<20])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
		return true
	})
	path := filepath.Join(t.TempDir(), "m")
	require.ErrorIs(t, quick().get(ctx, s.remote(), path, noReport), context.Canceled)
	require.FileExists(t, path+".part")
	require.EqualValues(t, 1, s.requests.Load())

	// Waiting for another process ends, too.
	unlock, err := lock(t.Context(), path+".lock")
	require.NoError(t, err)
	defer unlock()
	brief, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	require.ErrorIs(t, quick().get(brief, s.remote(), path, noReport), context.DeadlineExceeded)
}

// fullDisk fails after so many bytes.
type fullDisk struct {
	*os.File
	room int
}

func (f *fullDisk) Write(p []byte) (int, error) {
	n, err := f.File.Write(p[:min(len(p), f.room)])
	f.room -= n
	if n < len(p) && err == nil {
		err = syscall.ENOSPC
	}
	return n, err
}

func TestFullDisk(t *testing.T) {
	s := newServer(t, nil)
	path := filepath.Join(t.TempDir(), "m")
	d := quick()
	d.open = func(path string) (file, error) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		return &fullDisk{f, 1 << 20}, err
	}
	require.ErrorIs(t, d.get(t.Context(), s.remote(), path, noReport), syscall.ENOSPC)
	require.NoFileExists(t, path)
	require.EqualValues(t, 1, s.requests.Load(), "no use in trying again")
	// With room again it goes on.
	require.NoError(t, quick().get(t.Context(), s.remote(), path, noReport))
	requireWhole(t, path)
}

// TestProcessesAtOnce: several processes, and several callers in each, fetch a
// file once.
func TestProcessesAtOnce(t *testing.T) {
	if address := os.Getenv("HUB_TEST_URL"); address != "" { // one of the processes
		r := remote{url: address, size: -1, digest: sha256Of(content)}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := quick().get(t.Context(), r, os.Getenv("HUB_TEST_PATH"), noReport); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return
	}
	s := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		time.Sleep(200 * time.Millisecond) // for all to arrive
		return false
	})
	path := filepath.Join(t.TempDir(), "model.pt")
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestProcessesAtOnce$")
			cmd.Env = append(os.Environ(), "HUB_TEST_URL="+s.URL, "HUB_TEST_PATH="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	requireWhole(t, path)
	require.EqualValues(t, 1, s.requests.Load())
}

// TestProxy: without a client of its own, a process goes through the proxy that
// its environment names.
func TestProxy(t *testing.T) {
	const address = "http://weights.invalid/model.pt"
	if path := os.Getenv("HUB_TEST_PROXY"); path != "" { // the process
		require.NoError(t, quick().get(t.Context(), remote{url: address, size: -1, digest: sha256Of(content)}, path, noReport))
		return
	}
	var asked atomic.Value
	proxy := newServer(t, func(w http.ResponseWriter, r *http.Request, n int64) bool {
		asked.Store(r.URL.String())
		return false
	})
	path := filepath.Join(t.TempDir(), "model.pt")
	cmd := exec.Command(os.Args[0], "-test.run=^TestProxy$")
	cmd.Env = append(os.Environ(), "HUB_TEST_PROXY="+path, "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL, "NO_PROXY=", "no_proxy=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	requireWhole(t, path)
	require.Equal(t, address, asked.Load())
}

// TestCache: without Dir, files lie where the system keeps a user's caches.
func TestCache(t *testing.T) {
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData", "home"} {
		t.Setenv(name, t.TempDir())
	}
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	at := filepath.Join(cache, "clipsurgery", "6dbb90523a35", "mobile_sam.pt")
	require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o700))
	require.NoError(t, os.WriteFile(at, content, 0o600))
	_, err = Fetch(t.Context(), "mobile_sam", Offline())
	require.ErrorIs(t, err, ErrChecksum, "another size")
	require.ErrorIs(t, err, ErrOffline)
	require.NoError(t, os.Truncate(at, published()["mobile_sam"].size))
	got, err := Fetch(t.Context(), "mobile_sam", Offline())
	require.NoError(t, err)
	require.Equal(t, at, got)
}

// huggingFace serves one repository: path of a file → its content.
type huggingFace struct {
	files  map[string]string
	small  []string // files that Git holds itself
	commit string
	asked  []string
}

func (h *huggingFace) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked = append(h.asked, r.URL.String())
	w := httptest.NewRecorder()
	answer := func(body string) (*http.Response, error) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
		return w.Result(), nil
	}
	if r.URL.Host != "huggingface.co" || r.URL.Scheme != "https" {
		return nil, fmt.Errorf("asked for %v", r.URL)
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/models/owner/name/revision/"); ok {
		if rest != "main" && rest != h.commit || r.URL.Query().Get("blobs") != "true" {
			w.WriteHeader(http.StatusNotFound)
			return w.Result(), nil
		}
		var siblings []map[string]any
		for name, data := range h.files {
			file := map[string]any{"rfilename": name, "size": len(data)}
			if slices.Contains(h.small, name) {
				file["blobId"] = fmt.Sprintf("%x", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data)))
			} else {
				file["blobId"] = "0123"
				file["lfs"] = map[string]any{"sha256": sha256Of([]byte(data)), "size": len(data), "pointerSize": 134}
			}
			siblings = append(siblings, file)
		}
		data, err := json.Marshal(map[string]any{"sha": h.commit, "siblings": siblings})
		if err != nil {
			return nil, err
		}
		return answer(string(data))
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/owner/name/resolve/"+h.commit+"/")
	if body := h.files[name]; ok && body != "" {
		return answer(body)
	}
	w.WriteHeader(http.StatusNotFound)
	return w.Result(), nil
}

func TestHuggingFace(t *testing.T) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	h := &huggingFace{commit: commit, small: []string{"config.json", "README.md"}, files: map[string]string{
		"config.json": `{"model_type": "clip"}`, "README.md": "hello", "model.safetensors": "weights", "pytorch_model.bin": "the same",
	}}
	client := Client(&http.Client{Transport: h})
	cache := t.TempDir()
	_, err := Fetch(t.Context(), "owner/name", Dir(cache), client, Offline())
	require.ErrorIs(t, err, ErrOffline)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Empty(t, h.asked)

	var done, total int
	dir, err := Fetch(t.Context(), "owner/name", Dir(cache), client, WithProgress(func(d, n int) { done, total = d, n }))
	require.NoError(t, err)
	require.Equal(t, commit, filepath.Base(dir))
	require.Equal(t, len("weights")+len(h.files["config.json"]), done)
	require.Equal(t, done, total)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		require.Equal(t, h.files[e.Name()], string(data))
	}
	require.Equal(t, []string{"config.json", "model.safetensors"}, names)

	// Once there, files are not asked for again; a commit and a branch that was
	// seen do not need the network.
	n := len(h.asked)
	again, err := Fetch(t.Context(), "owner/name", Dir(cache), client)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	require.Equal(t, n+1, len(h.asked))
	for _, opts := range [][]Option{{Offline()}, {Revision(commit)}, {Offline(), Revision(commit)}} {
		again, err := Fetch(t.Context(), "owner/name", append(opts, Dir(cache), client)...)
		require.NoError(t, err)
		require.Equal(t, dir, again)
	}
	require.Equal(t, n+1, len(h.asked))
	_, err = Fetch(t.Context(), "owner/name", Dir(cache), client, Offline(), Revision("v2"))
	require.ErrorIs(t, err, ErrOffline)
	_, err = Fetch(t.Context(), "owner/name", Dir(cache), client, Revision("v2"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	// Bytes that are not what the digests say.
	for name, other := range map[string]string{"model.safetensors": "weighed", "config.json": `{"model_type": "slip"}`} {
		wrong := &replacing{h, name, other}
		_, err = Fetch(t.Context(), "owner/name", Dir(t.TempDir()), Client(&http.Client{Transport: wrong}))
		require.ErrorIs(t, err, ErrChecksum)
		require.ErrorContains(t, err, name)
	}
}

// replacing answers requests for one file with something else.
type replacing struct {
	*huggingFace
	name, data string
}

func (h *replacing) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/"+h.name) {
		w := httptest.NewRecorder()
		_, _ = w.WriteString(h.data)
		return w.Result(), nil
	}
	return h.huggingFace.RoundTrip(r)
}

func TestShardedRepository(t *testing.T) {
	h := &huggingFace{commit: strings.Repeat("a", 40), files: map[string]string{
		"model.safetensors.index.json": `{"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}}`,
		"1.safetensors":                "one", "2.safetensors": "two", "3.safetensors": "three",
	}}
	client := Client(&http.Client{Transport: h})
	dir, err := Fetch(t.Context(), "owner/name", Dir(t.TempDir()), client)
	require.NoError(t, err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)
	for _, shard := range []string{"../../../etc/passwd", "x/1.safetensors", "", "4.safetensors"} {
		h.files["model.safetensors.index.json"] = fmt.Sprintf(`{"weight_map": {"a": %q}}`, shard)
		_, err := Fetch(t.Context(), "owner/name", Dir(t.TempDir()), client)
		require.Error(t, err, shard)
	}
	h.files = map[string]string{"README.md": "no weights"}
	_, err = Fetch(t.Context(), "owner/name", Dir(t.TempDir()), client)
	require.ErrorIs(t, err, ErrName)
}

func TestNames(t *testing.T) {
	names := Names()
	require.Len(t, names, 21)
	digests := map[string]bool{}
	for _, name := range names {
		require.True(t, IsName(name))
		r := published()[name]
		require.Len(t, r.digest, 64)
		require.False(t, digests[r.digest])
		digests[r.digest] = true
		u, err := url.Parse(r.url)
		require.NoError(t, err)
		require.Equal(t, "https", u.Scheme)
	}
	require.True(t, IsName("openai/clip-vit-base-patch16"))
	for _, name := range []string{"", "ViT", "a/b/c", "../x", "a/..", "/etc", "a/b?c", "C:/x", "a b/c", "-a/b", "model.pt"} {
		require.False(t, IsName(name), name)
		_, err := Fetch(t.Context(), name, Dir(t.TempDir()), Offline())
		require.ErrorIs(t, err, ErrName, name)
	}
	for _, revision := range []string{"", "..", "a/../b", "a?b", "/main"} {
		_, err := Fetch(t.Context(), "owner/name", Dir(t.TempDir()), Offline(), Revision(revision))
		require.ErrorIs(t, err, ErrName, revision)
	}

	// A published name asks for its own file alone, and believes its digest.
	var asked []string
	client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.String())
		w := httptest.NewRecorder()
		_, _ = w.WriteString("not the weights")
		return w.Result(), nil
	})}
	_, err := Fetch(t.Context(), "ViT-B/16", Dir(t.TempDir()), Client(client))
	require.ErrorIs(t, err, ErrChecksum)
	require.Equal(t, []string{published()["ViT-B/16"].url}, asked)

	// What is in the cache is taken as it is.
	cache := t.TempDir()
	at := filepath.Join(cache, "5806e77cd80f", "ViT-B-16.pt")
	require.NoError(t, os.Mkdir(filepath.Dir(at), 0o700))
	require.NoError(t, os.WriteFile(at, content, 0o600))
	got, err := Fetch(t.Context(), "ViT-B/16", Dir(cache), Offline())
	require.NoError(t, err)
	require.Equal(t, at, got)
	_, err = Fetch(t.Context(), "ViT-B/32", Dir(cache), Offline())
	require.ErrorIs(t, err, ErrOffline)
}

type roundTrip func(r *http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
