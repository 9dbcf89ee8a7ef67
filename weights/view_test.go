package weights

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestViewTellsWhatElseAFileHolds(t *testing.T) {
	require.Equal(t, "0 tensors", beginning(nil))
	require.Equal(t, `4 tensors, beginning "a", "b", "c"`, beginning([]string{"a", "b", "c", "d"}))
	require.Less(t, len(beginning([]string{strings.Repeat("x", 1<<20)})), 120)
}

func TestStrayTensorsOfACLIPAreKnown(t *testing.T) {
	for _, l := range clipLayouts() {
		for _, name := range []string{"n_averaged", "logit_bias", "text_model.embeddings.position_ids"} {
			require.True(t, l.known(name), "%s: %s", l.name, name)
		}
		require.False(t, l.known("visual.proj"), l.name)
	}
}
