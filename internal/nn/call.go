package nn

import (
	"context"

	"github.com/clipsurgery/clipsurgery/internal/scratch"
	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas/blas32"
)

// Call is one call on a model: what it computes with, where it stops, and who
// watches it. It is not safe for concurrent use, but for its Exec.
type Call struct {
	Exec
	*Workspace
	// Context ends the call: its workers then stop, and what they computed is
	// void.
	Context context.Context
	// Step is called after each unit of work with the number of units done.
	Step func(units int)
	// Trace sees intermediate rows by the fixtures' names; nil outside tests.
	Trace func(name string, rows blas32.General)

	pool *scratch.Pool[Workspace]
}

// Begin takes workers for a call, which stop when ctx ends, then a workspace
// from the pool. [Call.End] gives both back.
func Begin(ctx context.Context, k simd.Kernel, workers *simd.Workers, pool *scratch.Pool[Workspace]) (*Call, error) {
	x, err := Take(ctx, k, workers)
	if err != nil {
		return nil, err
	}
	return &Call{
		Exec:      x,
		Workspace: pool.Get(),
		Context:   ctx,
		Step:      func(int) {},
		pool:      pool,
	}, nil
}

// End gives back what Begin took.
func (c *Call) End() {
	c.Team.Close()
	c.Workspace.Reset()
	c.pool.Put(c.Workspace)
}

// Report makes every step tell progress, which may be nil, how many of total
// units are done.
func (c *Call) Report(progress func(done, total int), total int) {
	if progress == nil {
		return
	}
	done := 0
	c.Step = func(units int) {
		done += units
		c.Outside(func() { progress(done, total) })
	}
}

// Outside calls a user's function, which may call the model, without holding
// the workers. If the context ends meanwhile, the next look at it tells.
func (c *Call) Outside(f func()) { _ = c.Team.Outside(c.Context, f) }

// Show passes intermediate rows to Trace.
func (c *Call) Show(name string, rows blas32.General) {
	if c.Trace != nil {
		c.Trace(name, rows)
	}
}
