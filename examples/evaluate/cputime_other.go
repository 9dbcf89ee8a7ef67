//go:build !unix

package main

import "time"

var started = time.Now()

// cpuTime is the time on the clock, where the system has no simple answer.
func cpuTime() time.Duration { return time.Since(started) }
