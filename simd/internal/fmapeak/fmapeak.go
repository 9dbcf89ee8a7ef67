// Package fmapeak measures how many multiply-adds the machine can do: the
// ceiling that benchmarks are compared with.
package fmapeak

import "time"

// Measure returns the GFLOP/s of one core that multiplies and adds registers
// with a kernel's instructions and does nothing else, two operations for each
// multiply-add: the best of several runs, about 0.2 ms each, for the given
// time. It is 0 for a kernel without such instructions here.
func Measure(kernel string, during time.Duration) float64 {
	run, flops := loop(kernel)
	if run == nil {
		return 0
	}
	const turns = 50_000
	var best float64
	for start := time.Now(); time.Since(start) < during; {
		from := time.Now()
		run(turns)
		best = max(best, float64(turns*flops)/float64(time.Since(from).Nanoseconds()))
	}
	return best
}
