package untrained

import (
	"hash/fnv"
	"math"
	"strings"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights"
)

// CLIP is a checkpoint of the architecture.
func CLIP(c vit.Config) (*weights.File, error) { return checkpoint(c.Tensors()) }

// SAM is a checkpoint of the architecture.
func SAM(c sam.Config) (*weights.File, error) { return checkpoint(c.Tensors()) }

// checkpoint has the tensors of an architecture; values are made when they are
// read.
func checkpoint(tensors []weights.TensorInfo, err error) (*weights.File, error) {
	if err != nil {
		return nil, err
	}
	shapes := map[string][]int{}
	for _, t := range tensors {
		shapes[t.Name] = t.Shape
	}
	return weights.FromFunc(tensors, func(name string, dst []float32) error {
		center, spread := distribution(name, shapes[name])
		h := fnv.New64a()
		h.Write([]byte(name))
		fill(dst, h.Sum64(), center, spread)
		return nil
	})
}

// distribution is the middle and the half width of a tensor's values: layers
// keep the variance of their input, norms change nothing.
func distribution(name string, shape []int) (center, spread float32) {
	switch {
	case name == "logit_scale":
		return float32(math.Log(100)), 0
	case strings.HasSuffix(name, "running_var"):
		return 1, 0
	case len(shape) == 1 && strings.HasSuffix(name, "weight"):
		return 1, 0
	case strings.HasSuffix(name, "bias") || strings.HasSuffix(name, "running_mean"):
		return 0, 0
	case len(shape) < 2 || strings.Contains(name, "embed") || strings.Contains(name, "token"):
		return 0, 0.5
	}
	in := 1
	for _, d := range shape[1:] {
		in *= d
	}
	return 0, float32(math.Sqrt(3 / float64(in)))
}

// fill stores uniform numbers. Source: SplitMix64 (Steele, Lea and Flood, 2014).
func fill(dst []float32, state uint64, center, spread float32) {
	for i := range dst {
		state += 0x9E3779B97F4A7C15
		x := state
		x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
		x = (x ^ x>>27) * 0x94D049BB133111EB
		dst[i] = center + spread*float32(int32((x^x>>31)>>32))*(1.0/(1<<31))
	}
}
