package hub

import (
	"context"
	"os"
	"time"
)

// lock waits until this process alone holds a lock file. The system lets go of
// it when the process ends, however it ends; the empty file stays.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	held, err := await(ctx, f)
	if err != nil || !held {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

func await(ctx context.Context, f *os.File) (held bool, err error) {
	for {
		if held, err = tryLock(f); held || err != nil {
			return held, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
