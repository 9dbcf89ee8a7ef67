package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/eval"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	s, err := eval.NewScore(2)
	require.NoError(t, err)
	labels := &surgery.LabelMap{Width: 2, Height: 1, Labels: []uint16{0, 1}}
	require.NoError(t, s.All.Add(labels, labels))
	require.NoError(t, s.Ranking.Add([]float32{1, 0}, []bool{true, false}))
	require.NoError(t, s.Ranking.Add([]float32{0.5, 0}, []bool{false, true}))
	type state struct {
		Scores map[string]*eval.Score `json:"scores"`
	}
	data, err := json.Marshal(map[string]any{"classes": []string{"sky", "sea"}, "state": state{map[string]*eval.Score{"Raw - empty text": s}}})
	require.NoError(t, err)
	dir := t.TempDir()
	*in, *out = filepath.Join(dir, "evaluation.json"), filepath.Join(dir, "pictures")
	require.ErrorIs(t, run(), os.ErrNotExist)
	require.NoError(t, os.WriteFile(*in, data, 0o600))
	require.NoError(t, run())
	for _, name := range []string{"Raw-empty-text-iou.png", "Raw-empty-text-pr.png"} {
		info, err := os.Stat(filepath.Join(*out, name))
		require.NoError(t, err)
		require.Greater(t, info.Size(), int64(1000))
	}
	*ways = "other"
	require.ErrorContains(t, run(), `no scores of "other"`)
}
