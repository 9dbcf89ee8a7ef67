package golden

import (
	"math"
	"strings"
	"sync"
)

// Procedural returns the tensor of that name: a + b·u, u in [-1, 1) from a hash
// of the name and the index, rounded after each step.
func Procedural(name string, shape []int, a, b float32) []float32 {
	dst := make([]float32, count(shape))
	ProceduralInto(dst, name, a, b)
	return dst
}

// ProceduralInto fills dst as Procedural does.
func ProceduralInto(dst []float32, name string, a, b float32) {
	h := fnv1a(name)
	const chunk = 1 << 20
	var wg sync.WaitGroup
	for lo := 0; lo < len(dst); lo += chunk {
		part := dst[lo:min(lo+chunk, len(dst))]
		start := h + uint64(lo)*0x9E3779B97F4A7C15
		wg.Go(func() { fill(part, start, a, b) })
	}
	wg.Wait()
}

func fill(dst []float32, x0 uint64, a, b float32) {
	for i := range dst {
		x0 += 0x9E3779B97F4A7C15
		x := x0
		x ^= x >> 30
		x *= 0xBF58476D1CE4E5B9
		x ^= x >> 27
		x *= 0x94D049BB133111EB
		x ^= x >> 31
		u := float32(int64(x>>40)-1<<23) * (1.0 / (1 << 23))
		dst[i] = float32(a + float32(b*u)) // the conversions forbid a fused multiply-add
	}
}

func fnv1a(name string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return h
}

// Weight returns the checkpoint tensor key of that shape: the first rule that
// matches the key decides its range, prefix + key its values.
func Weight(key, prefix string, shape []int) []float32 {
	dst := make([]float32, count(shape))
	WeightInto(dst, key, prefix, shape)
	return dst
}

// WeightInto fills dst as Weight does.
func WeightInto(dst []float32, key, prefix string, shape []int) {
	a, b := rule(key, shape)
	ProceduralInto(dst, prefix+key, a, b)
}

// rule is the table of weight rules, R01 to R20, in the README's order.
func rule(key string, shape []int) (a, b float32) {
	ends := func(suffixes ...string) bool {
		for _, s := range suffixes {
			if strings.HasSuffix(key, s) {
				return true
			}
		}
		return false
	}
	fan := func(g float64, n int) float32 { return float32(math.Sqrt(3 * g / float64(n))) }
	rank := len(shape)
	inLayer := strings.HasPrefix(key, "visual.layer")
	switch {
	case ends("num_batches_tracked"):
		return 0, 0
	case key == "logit_scale":
		return 4.6052, 0
	case ends("running_mean"):
		return 0, 0.1
	case ends("running_var"):
		return 1, 0.5
	case ends("positional_encoding_gaussian_matrix"):
		return 0, float32(math.Sqrt(3))
	case ends("rel_pos_h", "rel_pos_w"):
		return 0, 0.2
	case ends("attention_biases"):
		return 0, 0.5
	case ends("visual.class_embedding"):
		return 0, 1
	case ends("visual.positional_embedding"):
		return 0, 0.5
	case ends("attnpool.positional_embedding"):
		return 0, 1.5
	case ends("positional_embedding"):
		return 0, 0.25
	case ends("token_embedding.weight"):
		return 0, 0.5
	case ends("image_encoder.pos_embed", "trunk.pos_embed", "trunk.pos_embed_window") || key == "no_mem_embed":
		return 0, 0.5
	case ends("mask_decoder.obj_score_token.weight"):
		return 0, 1
	case rank == 2 && strings.Contains(key, ".pred_obj_score_head."):
		return 0, fan(2, shape[1])
	case ends("prompt_encoder.not_a_point_embed.weight", "prompt_encoder.no_mask_embed.weight",
		"mask_decoder.iou_token.weight", "mask_decoder.mask_tokens.weight"),
		strings.Contains(key, ".point_embeddings."):
		return 0, 1
	case inLayer && ends(".bn3.weight"):
		return 0.15, 0.1
	case inLayer && ends(".bn3.bias"):
		return 0, 0.1
	case inLayer && rank == 1 && ends("bias"):
		return -0.1, 0.5
	case rank == 1 && ends("weight"):
		return 1, 0.1
	case rank == 1 && ends("bias"):
		return 0, 0.05
	case key == "visual.proj" || key == "text_projection":
		return 0, fan(1, shape[0])
	case rank == 4 && strings.Contains(key, ".output_upscaling."):
		return 0, fan(2, shape[0])
	case rank == 4:
		n := shape[1] * shape[2] * shape[3]
		stem := key == "visual.conv1.weight"
		if strings.HasPrefix(key, "visual.") && !stem || stem && shape[2] == 3 || ends(".c.weight") {
			return 0, fan(2, n)
		}
		return 0, fan(1, n)
	case rank == 2 && (strings.Contains(key, ".output_hypernetworks_mlps.") || strings.Contains(key, ".iou_prediction_head.")):
		return 0, fan(2, shape[1])
	case rank == 2 && strings.Contains(key, ".attnpool.") && !ends(".c_proj.weight"):
		return 0, fan(0.5, shape[1])
	case rank == 2:
		return 0, fan(1, shape[1])
	}
	panic("golden: no rule for the weight " + key)
}

// Blocky returns blocks of cell × cell plus noise over the last two axes.
func Blocky(name string, shape []int, cell int, bBlock, bNoise float32) []float32 {
	h, w := shape[len(shape)-2], shape[len(shape)-1]
	bh, bw := (h+cell-1)/cell, (w+cell-1)/cell
	planes := count(shape) / max(h*w, 1)
	block := Procedural(name+"/block", []int{planes, bh, bw}, 0, bBlock)
	out := Procedural(name, shape, 0, bNoise)
	for p := range planes {
		for y := range h {
			for x := range w {
				i := (p*h+y)*w + x
				out[i] = block[(p*bh+y/cell)*bw+x/cell] + out[i]
			}
		}
	}
	return out
}

// U8Image returns an RGB picture, h × w × 3 bytes.
func U8Image(name string, h, w, cell int, bBlock, bNoise float32) []byte {
	planes := Blocky(name, []int{3, h, w}, cell, bBlock, bNoise)
	out := make([]byte, h*w*3)
	for c := range 3 {
		for i := range h * w {
			out[3*i+c] = uint8(min(max(planes[c*h*w+i]+127.5, 0), 255))
		}
	}
	return out
}

// UnitRows returns rows of noise plus a common row, scaled to length one.
func UnitRows(name string, shape []int, b float32, common string, commonB float32) []float32 {
	cols := shape[len(shape)-1]
	out := Procedural(name, shape, 0, b)
	shared := Procedural(common, []int{cols}, 0, commonB)
	for lo := 0; lo < len(out); lo += cols {
		row := out[lo : lo+cols]
		var sq float64
		for i := range row {
			row[i] += shared[i]
			sq += float64(row[i]) * float64(row[i])
		}
		norm := float32(math.Sqrt(sq))
		for i := range row {
			row[i] /= norm
		}
	}
	return out
}

func count(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
