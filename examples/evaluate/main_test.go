package main

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/cli/clitest"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/eval"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
)

// scores are the results in -out, without the time that they took.
func scores(t *testing.T) map[string]*eval.Score {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(string(*out), "evaluation.json"))
	require.NoError(t, err)
	var results struct{ State state }
	require.NoError(t, json.Unmarshal(data, &results))
	for _, s := range results.State.Scores {
		s.Time = 0
	}
	return results.State.Scores
}

// Parts that are added up, and a run that goes on after an interruption, are
// one run.
func TestPartsAndResumption(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	clitest.Set(t, "out", dir)
	clitest.Set(t, "plans", "Raw,CLIPSurgery")
	clitest.Set(t, "scores", "surgery,single")
	require.NoError(t, run(ctx))
	whole := scores(t)
	require.Len(t, whole, 4)
	require.Equal(t, 24, whole["CLIPSurgery - empty text"].Pictures)
	table, err := os.ReadFile(filepath.Join(dir, "evaluation.md"))
	require.NoError(t, err)
	require.Contains(t, string(table), "| Raw + feature surgery |")
	require.Contains(t, string(table), "shapes: IoU@0.5")

	a, b := filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json")
	clitest.Set(t, "state", a)
	clitest.Set(t, "count", "10")
	require.NoError(t, run(ctx))
	require.Equal(t, 10, scores(t)["Raw - empty text"].Pictures)
	clitest.Set(t, "state", b)
	clitest.Set(t, "count", "0")
	clitest.Set(t, "from", "10")
	require.NoError(t, run(ctx))
	clitest.Set(t, "state", "")
	clitest.Set(t, "merge", a+","+b)
	clitest.Set(t, "from", "0")
	require.NoError(t, run(ctx))
	require.Equal(t, whole, scores(t))
	clitest.Set(t, "merge", a+","+a)
	require.ErrorContains(t, run(ctx), "counted twice")
	clitest.Set(t, "scores", "surgery")
	require.ErrorContains(t, run(ctx), "other settings")

	clitest.Set(t, "merge", "")
	clitest.Set(t, "state", a)
	clitest.Set(t, "scores", "surgery,single")
	interrupted, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, run(interrupted), context.Canceled)
	require.NoError(t, run(ctx))
	require.Equal(t, whole, scores(t))
}

// A folder in the manner of PASCAL VOC, made of drawn scenes: shapes on ground.
func TestVOC(t *testing.T) {
	dir := t.TempDir()
	scenes, err := shapes.Scenes()
	require.NoError(t, err)
	save := func(name string, img image.Image) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		f, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, img))
		require.NoError(t, f.Close())
	}
	var names []string
	for i, s := range scenes[:4] {
		name := fmt.Sprintf("2007_%06d", i)
		names = append(names, name)
		labels := image.NewPaletted(s.Semantic.Rect, surgery.Palette(256))
		for j, c := range s.Semantic.Pix {
			labels.Pix[j] = uint8(max(int(c)-7, 0))
		}
		save("JPEGImages/"+name+".png", s.Picture)
		save("SegmentationClass/"+name+".png", labels)
	}
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("ImageSets/Segmentation/val.txt", strings.Join(names, "\n"))
	write("classes.txt", strings.Join(shapes.Classes()[:8], ", ")+"\n"+strings.Join(shapes.Classes()[8:], "\n"))
	clitest.Set(t, "out", dir)
	clitest.Set(t, "plans", "CLIPSurgery")
	clitest.Set(t, "voc", dir)
	require.ErrorContains(t, run(context.Background()), "-classes")
	clitest.Set(t, "classes", filepath.Join(dir, "classes.txt"))
	clitest.Set(t, "refine", "true")
	clitest.Set(t, "threshold", "0.2")
	require.NoError(t, run(context.Background()))
	s := scores(t)["CLIPSurgery"]
	require.Equal(t, 4, s.Pictures)
	require.Greater(t, s.All.PixelAccuracy(), 0.8)
	require.Positive(t, s.MapsOf().Contrast.Count)
}
