package hub

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzRepository answers with a list of files, and an index of shards that the
// list names by the digest of this very index. Whatever they say, nothing is
// written outside the repository's folder, and no file that its digest does
// not name.
func FuzzRepository(f *testing.F) {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	list := func(files string) []byte { return fmt.Appendf(nil, `{"sha": %q, "siblings": [%s]}`, commit, files) }
	f.Add(list(`{"rfilename": "model.safetensors", "size": 7, "lfs": {"sha256": "`+sha256Of([]byte("weights"))+`", "size": 7}}`), []byte{})
	f.Add(list(`{"rfilename": "config.json", "size": 2, "blobId": "00"}, {"rfilename": "pytorch_model.bin", "size": -1, "blobId": ""}`), []byte{})
	f.Add(list(`{"rfilename": "model.safetensors.index.json", "lfs": {"sha256": "INDEX", "size": 40}}, {"rfilename": "../x", "size": 1, "blobId": "0"}`),
		[]byte(`{"weight_map": {"a": "../x", "b": "x"}}`))
	f.Add(list(`{"rfilename": "model.safetensors.index.json", "lfs": {"sha256": "INDEX", "size": 31}},
		{"rfilename": "1.bin", "size": 7, "lfs": {"sha256": "`+sha256Of([]byte("weights"))+`", "size": 7}}`), []byte(`{"weight_map": {"a": "1.bin"}}`))
	f.Add([]byte(`{"sha": "../../x", "siblings": null}`), []byte{})
	f.Fuzz(func(t *testing.T, answer, index []byte) {
		transport := roundTrip(func(r *http.Request) (*http.Response, error) {
			require.Equal(t, "huggingface.co", r.URL.Host)
			w := httptest.NewRecorder()
			switch {
			case strings.HasPrefix(r.URL.Path, "/api/models/owner/name/"):
				_, _ = w.WriteString(strings.ReplaceAll(string(answer), "INDEX", sha256Of(index)))
			case strings.HasSuffix(r.URL.Path, ".index.json"):
				_, _ = w.Write(index)
			default:
				_, _ = w.WriteString("weights")
			}
			return w.Result(), nil
		})
		parent := t.TempDir()
		cache := filepath.Join(parent, "cache")
		at, err := Fetch(t.Context(), "owner/name", Dir(cache), Client(&http.Client{Transport: transport}))
		folder := filepath.Join(cache, "huggingface", "owner--name")
		if err == nil {
			require.Equal(t, folder, filepath.Dir(at))
			require.True(t, isCommit(filepath.Base(at)), at)
		}
		require.NoError(t, filepath.WalkDir(parent, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				require.True(t, strings.HasPrefix(path, folder), path)
			}
			return err
		}))
	})
}
