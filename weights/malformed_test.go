package weights

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
)

type malformedCase struct {
	File, Why, Expect, Kind string
}

func malformedCases(t testing.TB) (dir string, cases []malformedCase) {
	dir = filepath.Join(golden.Root(t), "formats", "malformed")
	data, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &cases))
	return dir, cases
}

// load opens a file and reads all of it.
func load(path string) (*File, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, name := range f.Names() {
		if _, err := f.Float32(name); err != nil {
			return f, err
		}
	}
	return f, nil
}

func TestMalformed(t *testing.T) {
	dir, cases := malformedCases(t)
	for _, c := range cases {
		if strings.HasPrefix(c.File, "clip_") {
			continue // well-formed but for TestMalformedModels
		}
		t.Run(c.File, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := load(filepath.Join(dir, c.File))
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20), "allocated bytes")
			switch c.Expect {
			case "accept":
				require.NoError(t, err)
			case "reject":
				require.ErrorIs(t, err, ErrFormat, c.Why)
				require.ErrorContains(t, err, c.File)
			default:
				require.True(t, err == nil || strings.Contains(err.Error(), c.File), "%v", err)
			}
		})
	}
}
