//go:build purego || noasm || !(amd64 || arm64)

package fmapeak

func loop(string) (run func(turns int), flops int) { return nil, 0 }
