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

// TestMalformedModels: files that are well formed, but no model. What the
// model wants is what the complete one has.
func TestMalformedModels(t *testing.T) {
	dir, _ := malformedCases(t)
	ok, err := Open(filepath.Join(dir, "clip_micro_ok.safetensors"))
	require.NoError(t, err)
	defer ok.Close()
	var want []TensorInfo
	for _, name := range ok.Names() {
		info, _ := ok.Info(name)
		want = append(want, info)
	}
	for _, c := range []struct {
		file string
		kind error
		says []string
	}{
		{"clip_micro_ok", nil, nil},
		{"clip_missing_key", ErrMissing, []string{"visual.transformer.resblocks.0.mlp.c_fc.bias"}},
		{"clip_wrong_shape", ErrShape, []string{"visual.transformer.resblocks.0.mlp.c_fc.weight", "[256 64]", "[255 64]"}},
		{"clip_nan", ErrNotFinite, []string{"visual.transformer.resblocks.0.ln_1.weight", "NaN"}},
		{"clip_inf", ErrNotFinite, []string{"visual.proj", "Inf"}},
		{"clip_int_weight", ErrDType, []string{"visual.conv1.weight", "I8"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			f, err := Open(filepath.Join(dir, c.file+".safetensors"))
			require.NoError(t, err)
			defer f.Close()
			view, err := CLIP(f)
			require.NoError(t, err)
			err = view.Check(want)
			for _, w := range want {
				if err == nil {
					_, err = view.Float32(w.Name, w.Shape...)
				}
			}
			if c.kind == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.kind)
			for _, s := range append(c.says, c.file) {
				require.ErrorContains(t, err, s)
			}
		})
	}
}
