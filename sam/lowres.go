package sam

// cleaned returns side × side logits without holes and islands of up to area
// cells that are connected by sides or corners: cells of small holes become 10,
// those of small islands -10. Both are found on the logits as they are
// (sam2/utils/transforms.py, SAM2Transforms.postprocess_masks, whose components
// need a GPU).
func cleaned(logits []float32, side, area int) []float32 {
	out := append([]float32(nil), logits...)
	seen := make([]bool, len(logits))
	var component, open []int
	for start := range logits {
		if seen[start] {
			continue
		}
		inside := logits[start] > 0
		component, open = component[:0], append(open[:0], start)
		seen[start] = true
		for len(open) > 0 {
			at := open[len(open)-1]
			open = open[:len(open)-1]
			component = append(component, at)
			y, x := at/side, at%side
			for ny := max(y-1, 0); ny <= min(y+1, side-1); ny++ {
				for nx := max(x-1, 0); nx <= min(x+1, side-1); nx++ {
					if n := ny*side + nx; !seen[n] && logits[n] > 0 == inside {
						seen[n] = true
						open = append(open, n)
					}
				}
			}
		}
		if len(component) > area {
			continue
		}
		value := float32(10)
		if inside {
			value = -10
		}
		for _, at := range component {
			out[at] = value
		}
	}
	return out
}
