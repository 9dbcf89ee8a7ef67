package simd

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUntil: after the context's end no part of a Do is begun, but for those
// that the workers are about to begin.
func TestUntil(t *testing.T) {
	for _, size := range []int{1, 2, 4} {
		ctx, cancel := context.WithCancel(t.Context())
		team := NewTeam(size)
		team.Until(ctx)
		var late atomic.Int64
		team.Do(10_000, func(_, i int) {
			if team.Ended() {
				late.Add(1)
			}
			if i >= 10 {
				cancel()
				for !team.Ended() { // context.AfterFunc has a goroutine of its own
				}
			}
		})
		require.LessOrEqual(t, late.Load(), int64(size), "parts begun with the context's end")
		require.True(t, team.Ended())
		team.Do(10, func(_, _ int) { t.Error("a part was begun after the end") })
		team.Close()
	}
	team := NewTeam(2)
	team.Until(context.Background())
	team.Close()
	require.False(t, team.Ended())
	require.False(t, (*Team)(nil).Ended())
}

// TestOutside: a function of the user's may use the workers of the call that
// calls it.
func TestOutside(t *testing.T) {
	w := NewWorkers(2)
	team, err := w.Team(t.Context())
	require.NoError(t, err)
	require.NoError(t, team.Outside(t.Context(), func() {
		inner, err := w.Team(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, inner.Size())
		inner.Close()
	}))
	require.Equal(t, 2, team.strength())

	// Somebody else keeps one of them.
	require.NoError(t, team.Outside(t.Context(), func() { w.slots <- struct{}{} }))
	require.Equal(t, 1, team.strength())
	sum := 0
	team.Do(5, func(worker, i int) { sum += i + worker })
	require.Equal(t, 10, sum, "the caller alone")
	<-w.slots

	// The wait for a worker ends with the context.
	ctx, cancel := context.WithCancel(t.Context())
	err = team.Outside(ctx, func() {
		w.slots <- struct{}{}
		w.slots <- struct{}{}
		cancel()
	})
	require.ErrorIs(t, err, context.Canceled)
	team.Close()
	require.Len(t, w.slots, 2, "nothing is given back that was not taken")

	<-w.slots
	<-w.slots
	team, err = w.Team(t.Context())
	require.NoError(t, err)
	require.Panics(t, func() {
		defer team.Close()
		_ = team.Outside(t.Context(), func() { panic("user") })
	})
	require.Empty(t, w.slots)
}
