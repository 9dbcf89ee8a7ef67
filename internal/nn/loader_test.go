package nn

import (
	"testing"

	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// bn are the tensors of a small batch norm and of the convolution before it.
var bn = map[string][]float32{
	"visual.conv1.weight":     {1, 2, 3, 4, 5, 6},
	"visual.bn1.weight":       {2, 3},
	"visual.bn1.bias":         {1, -1},
	"visual.bn1.running_mean": {0.5, 2},
	"visual.bn1.running_var":  {4, 0.25},
	"visual.proj":             {1, 2, 3, 4},
}

// read runs code that makes a network twice, as a loader's users do.
func read(t *testing.T, tensors map[string][]float32, build func(l *Loader)) *Loader {
	list := new(Loader)
	build(list)
	require.True(t, list.Listing())
	f, err := weights.FromFunc(list.Listed, func(name string, dst []float32) error {
		copy(dst, tensors[name])
		return nil
	})
	require.NoError(t, err)
	view, err := weights.NewView(f, weights.Model{Name: "net", Tensors: []string{"visual.*"}, Layouts: []weights.Layout{{Name: "plain"}}})
	require.NoError(t, err)
	require.NoError(t, view.Check(list.Listed))
	l := &Loader{View: view}
	build(l)
	return l
}

func TestLoaderFoldsBatchNorm(t *testing.T) {
	var weight, bias []float32
	var proj Linear
	var seen []string
	l := read(t, bn, func(l *Loader) {
		l.Seen = func(name string, _ []int, _ []float32) { seen = append(seen, name) }
		factor, shift := l.BatchNorm("visual.bn1", 2, 0)
		weight, bias = append([]float32{}, l.Scaled(factor, "visual.conv1.weight", 2, 3)...), shift
		proj = l.Pack(l.Passing("visual.proj", 2, 2), 2, 2, nil)
	})
	require.NoError(t, l.Err)
	require.Equal(t, []float32{1, 2, 3, 24, 30, 36}, weight, "2/√4 and 3/√¼ times")
	require.Equal(t, []float32{0.5, -13}, bias)
	require.Equal(t, 2, proj.Weight.N())
	require.Len(t, seen, 6)
	require.Equal(t, "visual.proj", seen[5])
}

func TestLoaderKeepsTheFirstError(t *testing.T) {
	tensors := map[string][]float32{"visual.bn1.weight": {1, 1}, "visual.bn1.running_var": {1, -1}}
	l := read(t, tensors, func(l *Loader) {
		factor, _ := l.BatchNorm("visual.bn1", 2, 1e-5)
		require.Nil(t, l.Scaled(factor, "visual.conv1.weight", 2, 3))
		require.Nil(t, l.Tensor("visual.proj", 2, 2))
		require.Zero(t, l.Matrix("visual.proj2", 2, 2))
		require.Zero(t, l.Pack(nil, 2, 2, nil))
	})
	require.ErrorIs(t, l.Err, weights.ErrNotFinite)
	require.ErrorContains(t, l.Err, "visual.bn1")

	l.Err = nil
	require.Nil(t, l.Tensor("visual.absent", 2))
	require.ErrorIs(t, l.Err, weights.ErrMissing)
	require.True(t, l.Listing())
}
