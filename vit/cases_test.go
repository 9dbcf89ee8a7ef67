package vit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// checkpointCase is an entry of testdata/cases/checkpoints.json, which
// cases.md beside it describes.
type checkpointCase struct {
	Name, Kind, Path, Model, Why, Picture, Expected, Activation, Never, With string

	Tokens      [][]int32
	Heads       []int
	Crop        int
	Surplus     bool
	Holds       bool
	OrWorks     bool     `json:"or_works"`
	LogitScale  *float64 `json:"logit_scale"`
	Listed      []string
	Unreadable  []string
	Texts       []string
	TextsExpect struct{ Error *expectedError } `json:"texts_expect"`
	Error       *expectedError
	OrError     *expectedError `json:"or_error"`

	root string
}

// expectedError says what an error is, by sentinels of which one is enough, and
// which words its message has.
type expectedError struct {
	Is       []string
	Words    []string
	NotWords []string `json:"not_words"`
}

var sentinels = map[string]error{
	"weights.ErrMissing": weights.ErrMissing, "weights.ErrShape": weights.ErrShape, "weights.ErrDType": weights.ErrDType,
	"weights.ErrGlobal": weights.ErrGlobal, "weights.ErrFormat": weights.ErrFormat, "weights.ErrNotFinite": weights.ErrNotFinite,
	"vit.ErrConfig": vit.ErrConfig, "vit.ErrToken": vit.ErrToken,
	"sam.ErrConfig": sam.ErrConfig, "sam.ErrEmbedding": sam.ErrEmbedding,
}

// check says how err differs from what is expected; nil if it does not.
func (e *expectedError) check(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	is := len(e.Is) == 0
	for _, name := range e.Is {
		sentinel, ok := sentinels[name]
		if !ok {
			return errors.New("the test does not know " + name)
		}
		is = is || errors.Is(err, sentinel)
	}
	if !is {
		return errors.New("not one of " + strings.Join(e.Is, ", ") + ": " + err.Error())
	}
	for _, w := range e.Words {
		if !strings.Contains(err.Error(), w) {
			return errors.New("the message lacks " + w + ": " + err.Error())
		}
	}
	for _, w := range e.NotWords {
		if strings.Contains(err.Error(), w) {
			return errors.New("the message has " + w + ": " + err.Error())
		}
	}
	return nil
}

func TestCheckpointCases(t *testing.T) { testCases(t, "cases") }

// TestConfigurationCases are those of testdata/config, whose README says how
// they were made.
func TestConfigurationCases(t *testing.T) { testCases(t, "config") }

func testCases(t *testing.T, folder string) {
	root := filepath.Join(golden.Root(t), "..", folder)
	data, err := os.ReadFile(filepath.Join(root, "checkpoints.json"))
	require.NoError(t, err)
	var index struct {
		Tolerance   float64 `json:"tolerance_of_largest"`
		Checkpoints []checkpointCase
	}
	require.NoError(t, json.Unmarshal(data, &index))
	require.NotEmpty(t, index.Checkpoints)
	for _, c := range index.Checkpoints {
		c.root = root
		t.Run(c.Name, func(t *testing.T) {
			err := c.run(t, index.Tolerance)
			require.NoError(t, err, "%s: %s", c.Kind, c.Why)
		})
	}
}

func (c *checkpointCase) path(name string) string {
	return filepath.Join(c.root, filepath.FromSlash(name))
}

// run returns what is wrong.
func (c *checkpointCase) run(t *testing.T, tolerance float64) error {
	err := c.answer(t, tolerance)
	if c.Never != "" {
		if _, stat := os.Stat(c.Never); stat == nil {
			return errors.New("a pickle was run: it made " + c.Never)
		}
	}
	switch {
	case err != nil && strings.HasPrefix(err.Error(), "panic"):
		return err
	case c.Error != nil && err == nil && c.OrWorks:
		return nil
	case c.Error != nil:
		return c.Error.check(err)
	case c.OrError != nil && err != nil:
		return c.OrError.check(err)
	}
	return err
}

// answer opens the checkpoint and asks it. A panic is never right, and so it
// is an error that no case expects.
func (c *checkpointCase) answer(t *testing.T, tolerance float64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	switch c.Model {
	case "sam":
		return c.predict(t, c.Path, "")
	case "embedding":
		return c.predict(t, c.With, c.Path)
	}
	return c.encode(t, tolerance)
}

// predict answers a click on a picture, or on a saved embedding.
func (c *checkpointCase) predict(t *testing.T, path, embedding string) error {
	m, err := sam.Open(c.path(path))
	if err != nil {
		return err
	}
	var e *sam.Embedding
	if embedding == "" {
		e, err = m.Encode(t.Context(), gradient(60, 40))
	} else {
		var f *os.File
		f, err = os.Open(c.path(embedding))
		require.NoError(t, err)
		defer f.Close()
		e, err = sam.ReadEmbedding(f)
	}
	if err != nil {
		return err
	}
	_, err = m.Predict(t.Context(), e, []sam.Prompt{{Points: []sam.Point{{X: 3, Y: 4, Label: sam.Foreground}}}})
	return err
}

// encode compares a CLIP's answers with those of PyTorch.
func (c *checkpointCase) encode(t *testing.T, tolerance float64) error {
	var fileOptions []weights.Option
	if c.Surplus {
		fileOptions = append(fileOptions, weights.AllowSurplus())
	}
	if err := c.list(fileOptions); err != nil {
		return err
	}
	var opts []vit.Option
	if c.Heads != nil {
		opts = append(opts, vit.Heads(c.Heads[0], c.Heads[1]))
	}
	if c.Activation == "gelu" {
		opts = append(opts, vit.Activation(simd.GELU))
	}
	clip, err := c.open(fileOptions, opts)
	if err != nil {
		return err
	}
	if c.LogitScale != nil {
		require.InDelta(t, *c.LogitScale, float64(clip.LogitScale()), 1e-4)
	}
	if c.TextsExpect.Error != nil {
		_, err := clip.EncodeText(t.Context(), c.Texts)
		if err := c.TextsExpect.Error.check(err); err != nil {
			return err
		}
		_, err = clip.EncodeLabels(t.Context(), c.Texts, []string{"{}"})
		if err := c.TextsExpect.Error.check(err); err != nil {
			return err
		}
	}
	if c.Expected == "" {
		return nil
	}
	want, err := golden.ReadFile(c.path(c.Expected))
	require.NoError(t, err)
	if c.Picture != "" {
		f, err := os.Open(c.path(c.Picture))
		require.NoError(t, err)
		defer f.Close()
		img, err := png.Decode(f)
		require.NoError(t, err)
		p, err := clip.Preprocess(img, vit.CenterCrop(c.Crop))
		if err != nil {
			return err
		}
		if err := near("prepared", p.Data, want["prepared"].F32, 1e-6); err != nil {
			return err
		}
	}
	if pixels, ok := want["pixels"]; ok {
		p := vit.Pixels{Height: pixels.Shape[2], Width: pixels.Shape[3], Data: pixels.F32}
		f, err := clip.EncodePixels(t.Context(), p)
		if err != nil {
			return err
		}
		if err := near("image", f.Tokens.Data[:f.Tokens.Cols], want["image"].F32, tolerance); err != nil {
			return err
		}
	}
	if c.Tokens == nil {
		return nil
	}
	text, err := clip.EncodeTokens(t.Context(), c.Tokens)
	if err != nil {
		return err
	}
	return near("text", text.Data, want["text"].F32, tolerance)
}

// open loads the checkpoint with vit.Open, or with the options of weights.
func (c *checkpointCase) open(fileOptions []weights.Option, opts []vit.Option) (*vit.CLIP, error) {
	if fileOptions == nil {
		return vit.Open(c.path(c.Path), opts...)
	}
	f, err := weights.Open(c.path(c.Path), fileOptions...)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return vit.Load(f, opts...)
}

// list checks the names that the file must list, and those that it cannot read.
func (c *checkpointCase) list(opts []weights.Option) error {
	if c.Listed == nil {
		return nil
	}
	f, err := weights.Open(c.path(c.Path), opts...)
	if err != nil {
		return err
	}
	defer f.Close()
	names := "\n" + strings.Join(f.Names(), "\n") + "\n"
	for _, name := range c.Listed {
		if !strings.Contains(names, "\n"+name+"\n") {
			return errors.New(name + " is not listed")
		}
	}
	for _, name := range c.Unreadable {
		if _, err := f.Float32(name); !errors.Is(err, weights.ErrDType) && !errors.Is(err, weights.ErrGlobal) {
			return errors.New(name + " is read")
		}
	}
	return nil
}

// near compares with a tolerance relative to the largest wanted value.
func near(what string, got, want []float32, tolerance float64) error {
	if len(got) != len(want) {
		return errors.New(what + ": another length")
	}
	var largest, worst float64
	for i, v := range want {
		largest = max(largest, math.Abs(float64(v)))
		worst = max(worst, math.Abs(float64(v)-float64(got[i])))
	}
	if !(worst <= tolerance*max(largest, 1e-30)) {
		return errors.New(what + ": other values")
	}
	return nil
}

func gradient(width, height int) image.Image {
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = uint8(i * 5)
	}
	return img
}
