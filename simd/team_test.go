package simd

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDo runs many short calls, with pauses in which helpers end.
func TestDo(t *testing.T) {
	for _, size := range []int{1, 2, 3, 5} {
		team := NewTeam(size)
		require.Equal(t, size, team.Size())
		busy := make([]atomic.Bool, size)
		for call := range 2000 {
			n := call % 17
			counts := make([]int, n)
			team.Do(n, func(worker, i int) {
				if busy[worker].Swap(true) {
					t.Error("one worker twice at a time")
				}
				counts[i]++
				if call%100 == 99 && i == n-1 {
					time.Sleep(3 * patience) // the caller parks
				}
				busy[worker].Store(false)
			})
			for i, c := range counts {
				require.Equal(t, 1, c, "call %d, part %d of %d", call, i, n)
			}
			if call%100 == 0 {
				time.Sleep(2 * patience)
			}
		}
		team.Close()
		team.Close()
		var after int
		team.Do(3, func(worker, i int) { after += 1 + worker })
		require.Equal(t, 3, after, "a closed team is its caller")
	}
}

func TestDoInsideDo(t *testing.T) {
	team := NewTeam(3)
	defer team.Close()
	var sum atomic.Int64
	team.Do(10, func(_, i int) {
		team.Do(10, func(_, j int) { sum.Add(int64(10*i + j)) })
	})
	require.EqualValues(t, 99*100/2, sum.Load())
}

func TestDoSpreads(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	var meet sync.WaitGroup
	meet.Add(2)
	team.Do(2, func(_, _ int) { // two that wait for each other
		meet.Done()
		meet.Wait()
	})
}

func TestNilTeam(t *testing.T) {
	var team *Team
	var n int
	team.Do(4, func(worker, i int) { n += i + 10*worker })
	require.Equal(t, 6, n)
	require.Equal(t, 1, team.Size())
	team.Close()
}

func TestDoAllocatesNothing(t *testing.T) {
	team := NewTeam(2)
	defer team.Close()
	var sum atomic.Int64
	f := func(_, i int) { sum.Add(int64(i)) }
	require.Zero(t, testing.AllocsPerRun(100, func() { team.Do(50, f) }))
}

func TestWorkers(t *testing.T) {
	before := runtime.NumGoroutine()
	w := NewWorkers(3)
	first, err := w.Team(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, first.Size())
	first.Do(10, func(_, _ int) {})

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = w.Team(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	first.Close()
	second, err := w.Team(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, second.Size())
	second.Close()
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(time.Millisecond)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before, "helpers outlive their team")
	require.Equal(t, runtime.GOMAXPROCS(0), cap(NewWorkers(0).slots))
}

// TestDoPanics: a panic of any part, whoever computes it, is the caller's, and
// the team goes on.
func TestDoPanics(t *testing.T) {
	for _, size := range []int{1, 2, 4} {
		w := NewWorkers(size)
		team, err := w.Team(t.Context())
		require.NoError(t, err)
		for call := range 200 {
			n := 1 + call%9
			require.PanicsWithValue(t, call, func() {
				team.Do(n, func(_, i int) {
					if i == call%n {
						panic(call)
					}
				})
			})
			require.Panics(t, func() { team.Do(n, func(_, _ int) { panic("all of them") }) })
			var sum atomic.Int64
			team.Do(n, func(_, i int) { sum.Add(int64(i)) })
			require.EqualValues(t, n*(n-1)/2, sum.Load())
			require.Panics(t, func() { // of a Do inside another
				team.Do(n, func(_, _ int) { team.Do(3, func(_, _ int) { panic("inside") }) })
			})
		}
		team.Close()
		again, err := w.Team(t.Context())
		require.NoError(t, err)
		require.Equal(t, size, again.Size())
		again.Close()
	}
}

// TestDoExits: a part that ends its goroutine, as t.FailNow does, ends the
// caller's, and the team goes on.
func TestDoExits(t *testing.T) {
	team := NewTeam(3)
	defer team.Close()
	for call := range 50 {
		returned := true
		done := make(chan struct{})
		go func() {
			defer close(done)
			team.Do(7, func(_, i int) {
				if i == call%7 {
					runtime.Goexit()
				}
			})
			returned = false
		}()
		<-done
		require.True(t, returned, "Do returned")
		var sum atomic.Int64
		team.Do(10, func(_, i int) { sum.Add(int64(i)) })
		require.EqualValues(t, 45, sum.Load())
	}
}

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
	require.Equal(t, 2, team.workers)

	// Somebody else keeps one of them.
	require.NoError(t, team.Outside(t.Context(), func() { w.slots <- struct{}{} }))
	require.Equal(t, 1, team.workers)
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

// TestOutsideNested: while the function runs the workers are free, afterwards the team
// has those that are left.
func TestOutsideNested(t *testing.T) {
	w := NewWorkers(3)
	team, err := w.Team(t.Context())
	require.NoError(t, err)
	do := func() {
		var sum atomic.Int64
		team.Do(10, func(_, i int) { sum.Add(int64(i)) })
		require.EqualValues(t, 45, sum.Load())
	}
	do()
	var inner *Team
	require.NoError(t, team.Outside(t.Context(), func() {
		do()
		inner, err = w.Team(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, inner.Size())
		require.NoError(t, inner.Outside(t.Context(), func() {
			third, err := w.take(t.Context(), 2)
			require.NoError(t, err)
			require.Equal(t, 2, third)
		}))
		require.Equal(t, 1, inner.workers)
		inner.Close()
	}))
	require.Equal(t, 1, team.workers)
	do()
	w.give(2)
	require.NoError(t, team.Outside(t.Context(), func() {}))
	require.Equal(t, 3, team.workers)
	do()

	ctx, cancel := context.WithCancel(t.Context())
	require.ErrorIs(t, team.Outside(ctx, cancel), context.Canceled)
	do()
	team.Close()
	require.Empty(t, w.slots)

	team, err = w.Team(t.Context())
	require.NoError(t, err)
	require.Panics(t, func() { _ = team.Outside(t.Context(), func() { panic("callback") }) })
	team.Close()
	require.Empty(t, w.slots)

	called := 0
	require.NoError(t, NewTeam(2).Outside(t.Context(), func() { called++ }))
	require.NoError(t, (*Team)(nil).Outside(t.Context(), func() { called++ }))
	require.Equal(t, 2, called)
}

// BenchmarkDo is the cost of handing out work and collecting it.
func BenchmarkDo(b *testing.B) {
	team := NewTeam(2)
	defer team.Close()
	f := func(_, _ int) {}
	b.ReportAllocs()
	for b.Loop() {
		team.Do(2, f)
	}
}
