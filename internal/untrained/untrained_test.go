package untrained_test

import (
	"fmt"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/untrained"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/stretchr/testify/require"
)

func Example() {
	f, err := untrained.CLIP(untrained.ViTB16())
	if err != nil {
		fmt.Println(err)
		return
	}
	shape, _ := f.Shape("visual.conv1.weight")
	fmt.Println(len(f.Names()), "tensors, patches of", shape)
	// Output: 302 tensors, patches of [768 3 16 16]
}

// TestLoads: what is made is complete, and of the architecture that was asked
// for.
func TestLoads(t *testing.T) {
	want := untrained.SAMViTB(1)
	f, err := untrained.SAM(want)
	require.NoError(t, err)
	m, err := sam.Load(f)
	require.NoError(t, err)
	require.Equal(t, want, m.Config())

	for _, name := range untrained.SAM2Names()[:2] {
		want = untrained.SAM2(name) // what its options would be follows from its shapes
		f, err = untrained.SAM(want)
		require.NoError(t, err)
		m, err = sam.Load(f)
		require.NoError(t, err)
		require.Equal(t, want, m.Config())
	}

	small := untrained.ResNet(32, 64, 8, [4]int{1, 1, 1, 1}, 64)
	f, err = untrained.CLIP(small)
	require.NoError(t, err)
	c, err := vit.Load(f)
	require.NoError(t, err)
	require.Equal(t, small.Vision.Stages, c.Config().Vision.Stages)
	_, err = untrained.CLIP(vit.Config{})
	require.ErrorIs(t, err, vit.ErrConfig)
}

func TestLabels(t *testing.T) { require.Len(t, untrained.Labels(), 59) }
