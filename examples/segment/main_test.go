package main

import (
	"testing"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/stretchr/testify/require"
)

func TestParsePrompt(t *testing.T) {
	p, err := parsePrompt("1, 2.5,+; -3,4,- ;", " 1,2, 3,4")
	require.NoError(t, err)
	require.Equal(t, &sam.Prompt{
		Points: []sam.Point{{X: 1, Y: 2.5, Label: sam.Foreground}, {X: -3, Y: 4, Label: sam.Background}},
		Box:    &sam.Box{X0: 1, Y0: 2, X1: 3, Y1: 4},
	}, p)
	p, err = parsePrompt("", "")
	require.NoError(t, err)
	require.Nil(t, p)
	for _, bad := range []string{";", "1,2", "1,2,*", "a,2,+", "1,2,+;1", "1,2,3,+"} {
		_, err := parsePrompt(bad, "")
		require.ErrorContains(t, err, "want", bad)
	}
	for _, bad := range []string{",", "1,2,3", "1,2,3,4,5", "1,2,3,x"} {
		_, err := parsePrompt("", bad)
		require.ErrorContains(t, err, "want", bad)
	}
}
