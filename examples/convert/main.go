// Convert turns a checkpoint of any kind that the package weights reads
// (.pt, .pth, .bin, shards, safetensors, a published name) into one safetensors
// file. Tensors pass one by one, so that it needs the memory of the largest.
//
//	go run ./examples/convert -in ViT-B-16.pt -out vit-b-16.safetensors
//	go run ./examples/convert -in sam_vit_h_4b8939.pth -out sam_vit_h.safetensors -dtype f16
//	go run ./examples/convert -in FILE                     # lists the tensors
//
// Names stay as they are. The configuration beside the checkpoint, which tells
// what no shape does, is copied beside the result.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/weights"
)

var (
	in    = flag.String("in", "", "checkpoint: file, directory or published name")
	out   = flag.String("out", "", "safetensors file to write; default: list the tensors instead")
	dtype = flag.String("dtype", "f32", "type of the elements: f32, f16 or bf16")
)

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	to, ok := map[string]weights.DType{"f32": weights.F32, "f16": weights.F16, "bf16": weights.BF16}[*dtype]
	switch {
	case *in == "":
		return errors.New("-in FILE is needed; see -help")
	case !ok:
		return fmt.Errorf("-dtype %s: want f32, f16 or bf16", *dtype)
	}
	path, err := cli.Checkpoint(ctx, *in)
	if err != nil {
		return err
	}
	start := time.Now()
	f, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if *out == "" {
		return list(f, time.Since(start))
	}
	if err := os.MkdirAll(filepath.Dir(*out), 0o755); err != nil {
		return err
	}
	if err := beside(*out, "config.json", f.Config()); err != nil {
		return err
	}
	if err := beside(*out, "preprocessor_config.json", f.PreprocessorConfig()); err != nil {
		return err
	}
	if err := weights.Save(ctx, *out, f, to, weights.WithProgress(cli.Bytes("writing"))); err != nil {
		return err
	}
	info, err := os.Stat(*out)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d tensors as %v, %.1f MB, in %v\n", *out, len(f.Names()), to,
		float64(info.Size())/1e6, time.Since(start).Round(time.Millisecond))
	return nil
}

// beside writes a configuration beside the result. One of another model there
// would be taken for the result's, which is an error.
func beside(path, name string, config []byte) error {
	path = filepath.Join(filepath.Dir(path), name)
	there, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && config != nil:
		return os.WriteFile(path, config, 0o644)
	case errors.Is(err, os.ErrNotExist) || err == nil && bytes.Equal(there, config):
		return nil
	case err == nil:
		return fmt.Errorf("%s is another checkpoint's: write to another folder", path)
	}
	return err
}

func list(f *weights.File, opened time.Duration) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	elements := 0
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		fmt.Fprintf(table, "%s\t%v\t%v\n", name, info.DType, info.Shape)
		n := 1
		for _, d := range info.Shape {
			n *= d
		}
		elements += n
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Printf("%d tensors, %d elements, opened in %v\n", len(f.Names()), elements, opened.Round(10*time.Microsecond))
	return nil
}
