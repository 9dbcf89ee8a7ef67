//go:build purego || noasm || !(amd64 || arm64)

package simd

// machine returns no table: all assembly is off.
func machine() []*impl { return nil }
