//go:build !purego && !noasm

package simd

// machine returns the tables that this machine can run, slowest first.
func machine() []*impl { return nil }
