package untrained_test

import (
	"fmt"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/untrained"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/stretchr/testify/require"
)

func Example() {
	f, err := untrained.ViTB16.File()
	if err != nil {
		fmt.Println(err)
		return
	}
	shape, _ := f.Shape("visual.conv1.weight")
	fmt.Println(len(f.Names()), "tensors, patches of", shape)
	// Output: 302 tensors, patches of [768 3 16 16]
}

func TestSAMIsComplete(t *testing.T) {
	f, err := untrained.SAMViTB(1)
	require.NoError(t, err)
	_, err = sam.Load(f)
	require.NoError(t, err)
}

func TestLabels(t *testing.T) { require.Len(t, untrained.Labels(), 59) }
