package nn

import (
	"context"
	"fmt"

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
	// Trace sees intermediate rows by the fixtures' names; nil outside tests.
	Trace func(name string, rows blas32.General)

	progress    func(done, total int)
	done, total int
	pool        *scratch.Pool[Workspace]
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
		pool:      pool,
	}, nil
}

// End gives back what Begin took.
func (c *Call) End() {
	c.Team.Close()
	c.Workspace.Reset()
	c.pool.Put(c.Workspace)
}

// Report makes the following steps call progress, a user's function or nil,
// with the number of units done out of total.
func (c *Call) Report(progress func(done, total int), total int) {
	c.progress, c.done, c.total = progress, 0, total
}

// Step books units of work as done. It returns the error of a context that has
// ended. The user's function may call the model: the workers are free meanwhile.
func (c *Call) Step(units int) error {
	c.done += units
	if c.progress != nil {
		if err := c.Team.Outside(c.Context, func() { c.progress(c.done, c.total) }); err != nil {
			return err
		}
	}
	return c.Context.Err()
}

// Show passes intermediate rows to Trace under a name, a format of args.
func (c *Call) Show(rows blas32.General, name string, args ...any) {
	if c.Trace != nil {
		c.Trace(fmt.Sprintf(name, args...), rows)
	}
}
