//go:build !purego && !noasm

package fmapeak

//go:noescape
func neon(turns int)

func loop(kernel string) (run func(turns int), flops int) {
	if kernel == "neon" {
		return neon, 24 * 4 * 2
	}
	return nil, 0
}
