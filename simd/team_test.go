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
