// Command ours is this module's side of the comparison with its peers: for
// every line "workload threads" on standard input it runs the workload once
// and prints its milliseconds, or what went wrong. ../peers.py talks to it.
//
//	echo "vit-b16-224 2" | go run ./tools/peers/ours
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	var current session
	for in.Scan() {
		var name string
		var threads int
		if _, err := fmt.Sscan(in.Text(), &name, &threads); err != nil {
			fmt.Printf("%q is not a workload and threads: %v\n", in.Text(), err)
			continue
		}
		took, err := current.time(context.Background(), name, threads)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(float64(took.Nanoseconds()) / 1e6)
	}
}

// session keeps what the last workload needs, since that is made once and run
// many times.
type session struct {
	name    string
	threads int
	run     run
}

func (s *session) time(ctx context.Context, name string, threads int) (time.Duration, error) {
	if s.name != name || s.threads != threads {
		prepare, ok := workloads[name]
		if !ok {
			return 0, fmt.Errorf("no workload %s", name)
		}
		*s = session{}
		run, err := prepare(ctx, threads)
		if err != nil {
			return 0, err
		}
		*s = session{name, threads, run}
	}
	start := time.Now()
	err := s.run(ctx)
	return time.Since(start), err
}
