package weights_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/clipsurgery/clipsurgery/weights"
)

// A checkpoint is written, opened again and read.
func Example() {
	f, err := weights.FromFunc(
		[]weights.TensorInfo{{Name: "visual.proj", Shape: []int{2, 3}, DType: weights.F32}},
		func(name string, dst []float32) error {
			for i := range dst {
				dst[i] = float32(i) / 2
			}
			return nil
		})
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "weights")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model.safetensors")
	if err := weights.Save(context.Background(), path, f, weights.F16); err != nil {
		log.Fatal(err)
	}

	f, err = weights.Open(path) // or a .pt, a .pth, a directory
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		fmt.Println(name, info.DType, info.Shape)
	}
	proj, err := f.Float32("visual.proj", -1, 3)
	fmt.Println(proj, err)
	_, err = f.Float32("visual.proj", 4, 3)
	fmt.Println(errors.Is(err, weights.ErrShape))
	// Output:
	// visual.proj F16 [2 3]
	// [0 0.5 1 1.5 2 2.5] <nil>
	// true
}

// A pickle that asks to run something is refused by what it asks for.
func ExampleFromBytes() {
	_, err := weights.FromBytes([]byte("\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."))
	fmt.Println(errors.Is(err, weights.ErrGlobal))
	fmt.Println(err)
	// Output:
	// true
	// weights: bytes: not a readable checkpoint: pickle: not one of torch.save: forbidden global: "os.system"
}
