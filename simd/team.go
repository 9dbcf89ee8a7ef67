package simd

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Workers bounds how many goroutines the calls on one model use together. It
// is safe for concurrent use.
type Workers struct {
	slots chan struct{}
}

// NewWorkers returns a bound of n goroutines; n <= 0 means GOMAXPROCS.
func NewWorkers(n int) *Workers {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return &Workers{slots: make(chan struct{}, n)}
}

// Team takes the workers that are free, at least one: it waits for the first
// until ctx is done. The caller is one of them. Close gives them back.
func (w *Workers) Team(ctx context.Context) (*Team, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n := 1
	for n < cap(w.slots) {
		select {
		case w.slots <- struct{}{}:
			n++
			continue
		default:
		}
		break
	}
	return &Team{size: n, from: w}, nil
}

// A Team is the workers of one call. No goroutine of a team outlives the Do
// that it works for. A nil Team is the caller alone.
type Team struct {
	size int
	from *Workers
}

// NewTeam returns a team of n that belongs to no Workers, for tests and for
// programs that multiply outside a model.
func NewTeam(n int) *Team { return &Team{size: max(n, 1)} }

// Size is the number of workers, the caller included.
func (t *Team) Size() int {
	if t == nil {
		return 1
	}
	return t.size
}

// Close gives the workers back. It may be called on a nil Team.
func (t *Team) Close() {
	if t == nil || t.from == nil {
		return
	}
	for range t.size {
		<-t.from.slots
	}
	t.from = nil
}

// Do calls f(worker, i) once for every i in [0, n), spread over the team, and
// returns when all are done. worker is in [0, Size) and tells scratch apart:
// no two calls with the same worker run at once. Which worker gets which i is
// not fixed, so f's results must not depend on it.
func (t *Team) Do(n int, f func(worker, i int)) {
	workers := min(t.Size(), n)
	if workers <= 1 {
		for i := range n {
			f(0, i)
		}
		return
	}
	var next atomic.Int64
	run := func(worker int) {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			f(worker, i)
		}
	}
	var wg sync.WaitGroup
	for w := 1; w < workers; w++ {
		wg.Go(func() { run(w) })
	}
	run(0)
	wg.Wait()
}
