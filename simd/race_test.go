//go:build race

package simd

// raced is whether the race detector is on, under which a sync.Pool forgets at
// random and so something allocates.
const raced = true
