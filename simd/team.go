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
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n, err := w.take(ctx, cap(w.slots))
	if err != nil {
		return nil, err
	}
	t := NewTeam(n)
	t.from = w
	return t, nil
}

// take takes up to most free workers; it waits for the first.
func (w *Workers) take(ctx context.Context, most int) (n int, err error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	default:
	}
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for n = 1; n < most; n++ {
		select {
		case w.slots <- struct{}{}:
		default:
			return n, nil
		}
	}
	return n, nil
}

// give gives n workers back.
func (w *Workers) give(n int) {
	for range n {
		<-w.slots
	}
}

// A Team is the workers of one call: the caller and helpers, goroutines that
// start with the first Do, spin for the next one, since the operations of a
// network follow each other within microseconds, and end when none comes for
// a moment or with Close. A nil Team is the caller alone.
type Team struct {
	from    *Workers
	helpers []helper
	workers int         // that the team has now, at most Size
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
	failed  atomic.Pointer[failure]
	closed  atomic.Bool
}

// failure is why a part of a Do did not end.
type failure struct {
	exited bool // by runtime.Goexit
	value  any  // of the panic
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
	n = max(n, 1)
	t := &Team{helpers: make([]helper, n-1), workers: n, done: make(chan struct{}, 1)}
	for i := range t.helpers {
		t.helpers[i].run = func() { t.help(i) }
	}
	return t
}

// Size is the most workers that the team has at once, the caller included.
func (t *Team) Size() int {
	if t == nil {
		return 1
	}
	return 1 + len(t.helpers)
}

// Close ends the helpers and gives the workers back. It may be called on a
// nil Team; a closed one is the caller alone.
func (t *Team) Close() {
	if t == nil {
		return
	}
	if t.forget != nil {
		t.forget()
	}
	if !t.closed.Swap(true) {
		t.dismiss()
	}
}

// dismiss waits for the helpers of a closed team to end and gives the workers
// back.
func (t *Team) dismiss() {
	for i := range t.helpers {
		for t.helpers[i].running.Load() {
			runtime.Gosched()
		}
	}
	if t.from != nil {
		t.from.give(t.workers)
	}
	t.workers = 1
}

// Until makes the team stop when ctx ends: every Do from then on, and the one
// under way, leaves out what it has not begun. Nobody may use the results of a
// team that has stopped: whoever calls Until looks at [Team.Ended], or at ctx,
// when the work is done. It is called once, before the first Do.
func (t *Team) Until(ctx context.Context) {
	if ctx.Done() != nil {
		t.forget = context.AfterFunc(ctx, func() { t.ended.Store(true) })
	}
}

// Ended reports whether the team has stopped.
func (t *Team) Ended() bool { return t != nil && t.ended.Load() }

// Outside calls f, a user's function, while the workers are free for other
// calls, so that f may call the model whose call it interrupts: with the
// workers held it would wait for them forever. Then it waits for a worker until
// ctx is done and takes those that are free, at most Size. If ctx ends, which
// is the error, or f panics, the team is closed. Outside must not be called
// inside Do.
func (t *Team) Outside(ctx context.Context, f func()) error {
	if t == nil || t.from == nil || t.closed.Swap(true) {
		f()
		return ctx.Err()
	}
	t.dismiss()
	f()
	n, err := t.from.take(ctx, t.Size())
	if err != nil {
		return err
	}
	t.workers = n
	t.closed.Store(false)
	return nil
}

// Do calls f(worker, i) once for every i in [0, n), spread over the team, and
// returns when all are done. worker is in [0, Size) and tells scratch apart:
// no two calls with the same worker run at once. Which worker gets which i is
// not fixed, so f's results must not depend on it. A Do inside f, or beside
// another on the same team, is done by its caller alone.
//
// If a call of f panics, Do panics with its value after the other calls under
// way have returned, and begins no further ones; the team remains usable.
func (t *Team) Do(n int, f func(worker, i int)) {
	if t == nil || min(t.workers, n) <= 1 || t.closed.Load() || !t.busy.TryLock() {
		for i := 0; i < n && !t.Ended(); i++ {
			f(0, i)
		}
		return
	}
	defer t.end() // even where f ends this goroutine
	t.f, t.n = f, n
	t.left.Store(int64(n))
	t.call++
	t.tickets.Store(t.call<<32 | uint64(n))
	for i := range min(t.workers, n) - 1 {
		if h := &t.helpers[i]; h.running.CompareAndSwap(false, true) {
			go h.run()
		}
	}
	t.work(0)
}

// end waits for all parts of a Do and passes on a failure of one.
func (t *Team) end() {
	t.work(0) // what is left where the caller's own part ended its goroutine
	t.wait()
	failed := t.failed.Swap(nil)
	t.f = nil
	t.busy.Unlock()
	switch {
	case failed == nil:
	case failed.exited:
		runtime.Goexit()
	default:
		panic(failed.value)
	}
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

// help runs helper i until the team closes or it has waited in vain.
func (t *Team) help(i int) {
	defer t.helpers[i].running.Store(false)
	for {
		t.work(1 + i)
		if !spin(func() bool { return uint32(t.tickets.Load()) != 0 || t.closed.Load() }) || t.closed.Load() {
			return
		}
	}
}

// work takes and does what is left of the Do under way, if any.
func (t *Team) work(worker int) {
	for !t.parts(worker) {
	}
}

// parts does parts of the Do under way until none is left to take, or one
// panics.
func (t *Team) parts(worker int) (none bool) {
	running := false
	defer func() {
		if running {
			v := recover()
			t.failed.CompareAndSwap(nil, &failure{exited: v == nil, value: v})
			t.count()
		}
	}()
	for {
		tickets := t.tickets.Load()
		left := int(uint32(tickets))
		if left == 0 {
			return true
		}
		// The number of the call keeps a ticket of an earlier one from passing.
		if !t.tickets.CompareAndSwap(tickets, tickets-1) {
			continue
		}
		if t.failed.Load() == nil && !t.ended.Load() {
			running = true
			t.f(worker, t.n-left) // which stay until this call of f is done
			running = false
		}
		t.count()
	}
}

// count notes that a part is done.
func (t *Team) count() {
	if t.left.Add(-1) == 0 && t.parked.CompareAndSwap(true, false) {
		t.done <- struct{}{}
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
