package hub

import (
	"context"
	"errors"
	"io"
	"time"
)

// errStalled is the cause where a server kept us waiting.
var errStalled = errors.New("the server sends nothing, or next to nothing")

// watch ends a context when a server takes too long: when fewer than least
// bytes came in window, counting only the time that was spent waiting for it.
type watch struct {
	window time.Duration
	least  int64

	timer *time.Timer
	since time.Time     // when this wait began
	left  time.Duration // of the window
	got   int64         // in the window
}

// newWatch returns a watch that waits already, and its context.
func newWatch(ctx context.Context, window time.Duration, least int64) (_ context.Context, w *watch, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w = &watch{window: window, least: least, since: time.Now(), left: window}
	w.timer = time.AfterFunc(window, func() { cancel(errStalled) })
	return ctx, w, func() { w.timer.Stop(); cancel(nil) }
}

// wait begins to wait.
func (w *watch) wait() {
	w.since = time.Now()
	w.timer.Reset(w.left)
}

// heard ends a wait that brought n bytes.
func (w *watch) heard(n int64) {
	w.timer.Stop()
	w.left -= time.Since(w.since)
	if w.got += n; w.got >= w.least {
		w.left, w.got = w.window, 0
	}
}

// passing is an error of the network, unless it is that of the caller's
// context.
func passing(ctx context.Context, err error) error {
	switch context.Cause(ctx) {
	case nil:
		return transient{err}
	case errStalled:
		return transient{errStalled}
	}
	return clipped{err}
}

// transient is an error that may go away.
type transient struct{ error }

func (t transient) Error() string { return clip(t.error.Error()) }
func (t transient) Unwrap() error { return t.error }

// clip shortens what a server or a caller says for an error's text.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// clipped is an error with a text of bounded length.
type clipped struct{ error }

func (c clipped) Error() string { return clip(c.error.Error()) }
func (c clipped) Unwrap() error { return c.error }

// reader ends with its context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
