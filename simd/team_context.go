package simd

import "context"

// Until makes the team stop when ctx ends: every Do from then on, and the one
// under way, leaves out what it has not begun. Nobody may use the results of a
// team that has stopped: whoever calls Until looks at [Team.Ended], or at ctx,
// when the work is done. It is called once, before the first Do.
func (t *Team) Until(ctx context.Context) {
	if ctx.Done() != nil {
		t.forget = context.AfterFunc(ctx, func() { t.ended.Store(true) })
	}
}

// Ended tells whether the team has stopped.
func (t *Team) Ended() bool { return t != nil && t.ended.Load() }

// Outside calls f, a function of the user's, without holding workers of the
// model, so that f may call the model too: with the workers held it would wait
// for them for ever. Afterwards it takes as many as are free again, but for
// those that the team did not have; it waits for the first until ctx ends. If
// f panics, the workers stay given back.
func (t *Team) Outside(ctx context.Context, f func()) error {
	t.release()
	f()
	if t.from == nil {
		return ctx.Err()
	}
	n, err := t.from.take(ctx, t.Size())
	t.held = n
	return err
}

// release gives the workers back.
func (t *Team) release() {
	for ; t.held > 0; t.held-- {
		<-t.from.slots
	}
}

// strength is how many workers may work.
func (t *Team) strength() int {
	if t == nil || t.from == nil {
		return t.Size()
	}
	return t.held
}
