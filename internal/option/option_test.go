package option

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

type setting interface{ set(*[]int) error }

type number int

var errNegative = errors.New("negative")

func (n number) set(o *[]int) error {
	if n < 0 {
		return errNegative
	}
	*o = append(*o, int(n))
	return nil
}

func TestApply(t *testing.T) {
	var o []int
	require.NoError(t, Apply(&o, []setting{number(1), nil, number(2)}, setting.set))
	require.Equal(t, []int{1, 2}, o)
	require.ErrorIs(t, Apply(&o, []setting{number(3), number(-1), number(4)}, setting.set), errNegative)
	require.Equal(t, []int{1, 2, 3}, o)
	require.NoError(t, Apply(&o, nil, setting.set))
}
