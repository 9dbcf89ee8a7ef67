// Package hostile makes checkpoints that are wrong in any way, for the fuzz
// tests of what loads them, and checkpoints under odd names, which must load.
package hostile

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// Add seeds a fuzz test of changes to a checkpoint of so many tensors.
func Add(f *testing.F, tensors int) {
	f.Add([]byte{})
	for i := range byte(tensors) {
		f.Add([]byte{i, 0, 0})
		f.Add([]byte{i, 1, 7, i, 0, 9, i, 2, 3})
		f.Add([]byte{i, dropped, 0})
		f.Add([]byte{i, appended, 1})
		f.Add([]byte{i, typed, 3})
		f.Add([]byte{i, stray, 1, i, prefixed, i})
	}
}

// What a change does: from which second byte on. Less is a dimension.
const (
	typed    = 50
	appended = 100
	dropped  = 200
	stray    = 230
	prefixed = 240
)

// File is a checkpoint of these tensors with changes, three bytes each: which
// tensor, what happens to it, and the new value. Tensors too large to be
// filled in a fuzz test are left out.
func File(t testing.TB, tensors []weights.TensorInfo, changes []byte) *weights.File {
	changed, gone, prefix := slices.Clone(tensors), map[int]bool{}, ""
	var strays []weights.TensorInfo
	for ; len(changes) >= 3; changes = changes[3:] {
		i, what, value := int(changes[0])%len(changed), int(changes[1]), int(changes[2])
		c := &changed[i]
		c.Shape = slices.Clone(c.Shape)
		switch {
		case what >= prefixed:
			prefix = []string{"module.", "model.clip.", "ema.", "visual."}[value%4]
		case what >= stray:
			// Beside the model, or a copy of a tensor under another beginning.
			name := []string{"head.weight", "teacher." + c.Name, "n_averaged"}[value%3]
			strays = append(strays, weights.TensorInfo{Name: fmt.Sprintf("%s.%d", name, len(strays)), Shape: c.Shape})
		case what >= dropped:
			gone[i] = true
		case what >= appended:
			c.Shape = append(c.Shape, value%3)
		case what >= typed || len(c.Shape) == 0:
			c.DType = weights.DType(value % 13)
		default:
			c.Shape[what%len(c.Shape)] = value % 40
		}
	}
	var left []weights.TensorInfo
	for i := range changed {
		changed[i].Name = prefix + changed[i].Name
	}
	for i, c := range append(changed, strays...) {
		n := 1
		for _, d := range c.Shape {
			n *= d
		}
		if !gone[i] && len(c.Shape) <= 8 && n <= 1<<18 {
			left = append(left, c)
		}
	}
	f, err := weights.FromFunc(left, func(_ string, dst []float32) error {
		for i := range dst {
			dst[i] = float32(i%7-3) / 8
		}
		return nil
	})
	require.NoError(t, err)
	return f
}

// RequireKnown fails unless err, of loading a checkpoint, is of a kind that the
// weights package or one of its callers documents.
func RequireKnown(t testing.TB, err error, kinds ...error) {
	t.Helper()
	for _, kind := range append(kinds, weights.ErrMissing, weights.ErrSurplus, weights.ErrShape, weights.ErrDType, weights.ErrNotFinite, weights.ErrFormat) {
		if errors.Is(err, kind) {
			return
		}
	}
	t.Fatalf("untyped error: %v", err)
}
