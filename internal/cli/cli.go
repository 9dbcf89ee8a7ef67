// Package cli is what the example programs share around their few lines of
// substance: one clear line for a mistake, pictures in and out, progress on a
// terminal.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

// Main parses the flags and runs the program until it returns or is
// interrupted. An error becomes one line and exit status 1, one in the flags
// exit status 2.
func Main(run func(ctx context.Context) error) {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	fail := func(status int, err error) {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(status)
	}
	flags := flag.CommandLine
	flags.Init(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	err := flags.Parse(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(os.Stdout)
		fmt.Printf("Usage of %s:\n", name)
		flags.PrintDefaults()
		return
	case err == nil && flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		fail(2, fmt.Errorf("%w (-help lists the flags)", err))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fail(1, err)
	}
}
