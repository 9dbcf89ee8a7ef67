package simd

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
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
	n, err := w.take(ctx, cap(w.slots))
	if err != nil {
		return nil, err
	}
	t := NewTeam(n)
	t.from, t.held = w, n
	return t, nil
}

// take takes as many workers as are free, from one, for which it waits until
// ctx is done, to most.
func (w *Workers) take(ctx context.Context, most int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for n := 1; ; n++ {
		if n == most {
			return n, nil
		}
		select {
		case w.slots <- struct{}{}:
		default:
			return n, nil
		}
	}
}

// A Team is the workers of one call: the caller and helpers, goroutines that
// start with the first Do, spin for the next one, since the operations of a
// network follow each other within microseconds, and end when none comes for
// a moment or with Close. A nil Team is the caller alone.
type Team struct {
	from    *Workers
	held    int // workers taken from it
	helpers []helper
	ended   atomic.Bool // the context of Until has ended
	forget  func() bool // forgets that context; or nil

	busy    sync.Mutex // held by the Do under way
	f       func(worker, i int)
	n       int
	call    uint64        // number of the Do under way
	tickets atomic.Uint64 // call, and in the lower half how many of its n are not yet taken
	left    atomic.Int64  // how many are not yet done
	parked  atomic.Bool   // the caller waits for done
	done    chan struct{}
	closed  atomic.Bool
}

// helper is one goroutine of a team, or the place for it.
type helper struct {
	running atomic.Bool
	run     func() // made once, so that starting it allocates nothing
	_       [cacheLine]byte
}

// NewTeam returns a team of n that belongs to no Workers, for tests and for
// programs that multiply outside a model.
func NewTeam(n int) *Team {
	t := &Team{helpers: make([]helper, max(n, 1)-1), done: make(chan struct{}, 1)}
	for i := range t.helpers {
		t.helpers[i].run = func() { t.help(i) }
	}
	return t
}

// Size is the number of workers, the caller included.
func (t *Team) Size() int {
	if t == nil {
		return 1
	}
	return 1 + len(t.helpers)
}

// Close ends the helpers and gives the workers back. It may be called on a
// nil Team; a closed one is the caller alone.
func (t *Team) Close() {
	if t == nil || t.closed.Swap(true) {
		return
	}
	for i := range t.helpers {
		for t.helpers[i].running.Load() {
			runtime.Gosched()
		}
	}
	if t.forget != nil {
		t.forget()
	}
	t.release()
}

// Do calls f(worker, i) once for every i in [0, n), spread over the team, and
// returns when all are done. worker is in [0, Size) and tells scratch apart:
// no two calls with the same worker run at once. Which worker gets which i is
// not fixed, so f's results must not depend on it. A Do inside f, or beside
// another on the same team, is done by its caller alone.
func (t *Team) Do(n int, f func(worker, i int)) {
	helpers := min(t.strength(), n) - 1
	if helpers <= 0 || t.closed.Load() || !t.busy.TryLock() {
		for i := 0; i < n && !t.Ended(); i++ {
			f(0, i)
		}
		return
	}
	t.f, t.n = f, n
	t.left.Store(int64(n))
	t.call++
	t.tickets.Store(t.call<<32 | uint64(n))
	for i := range helpers {
		if h := &t.helpers[i]; h.running.CompareAndSwap(false, true) {
			go h.run()
		}
	}
	t.work(0)
	t.wait()
	t.f = nil
	t.busy.Unlock()
}

// patience is how long a worker spins before it stops using the processor:
// longer than the single-threaded stretches between the operations of a
// network, and than most differences between the parts of an operation.
const patience = 100 * time.Microsecond

// spin calls ready until it says yes, for as long as patience lasts.
func spin(ready func() bool) bool {
	for start := time.Now(); ; {
		for range 100 {
			if ready() {
				return true
			}
		}
		if time.Since(start) > patience {
			return false
		}
		runtime.Gosched()
	}
}

// help is the life of a helper.
func (t *Team) help(i int) {
	for {
		t.work(1 + i)
		if !spin(func() bool { return uint32(t.tickets.Load()) != 0 || t.closed.Load() }) || t.closed.Load() {
			t.helpers[i].running.Store(false)
			return
		}
	}
}

// work takes and does what is left of the Do under way, if any.
func (t *Team) work(worker int) {
	for {
		tickets := t.tickets.Load()
		left := int(uint32(tickets))
		if left == 0 {
			return
		}
		// The number of the call keeps a ticket of an earlier one from passing.
		if !t.tickets.CompareAndSwap(tickets, tickets-1) {
			continue
		}
		if !t.ended.Load() {
			t.f(worker, t.n-left) // which stay until this call of f is done
		}
		if t.left.Add(-1) == 0 && t.parked.CompareAndSwap(true, false) {
			t.done <- struct{}{}
		}
	}
}

// wait returns when every part of the Do under way is done.
func (t *Team) wait() {
	if spin(func() bool { return t.left.Load() == 0 }) {
		return
	}
	for t.left.Load() != 0 {
		t.parked.Store(true)
		if t.left.Load() == 0 && t.parked.CompareAndSwap(true, false) {
			return
		}
		<-t.done // perhaps from a helper late from an earlier Do: look again
	}
}
