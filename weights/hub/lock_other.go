//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package hub

import "os"

// tryLock has no locks here: who fetches the same file twice at once may have
// to fetch it again.
func tryLock(*os.File) (bool, error) { return true, nil }
