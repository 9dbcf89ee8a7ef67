package hub

import (
	"context"
	"os"
	"time"
)

// lock waits until this process alone holds a lock file. The system lets go of
// it when the process ends, however it ends; the empty file stays.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	for {
		held, err := tryLock(f)
		if held {
			return func() { f.Close() }, nil
		}
		if err == nil {
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-time.After(50 * time.Millisecond):
				continue
			}
		}
		f.Close()
		return nil, err
	}
}
