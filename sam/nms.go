package sam

import (
	"cmp"
	"slices"
)

// suppress is non-maximum suppression: the indices of the boxes that remain,
// best first, when each box drops all worse ones with which its IoU is above
// the threshold. Of equal scores the first is the best. Boxes are taken as
// continuous (torchvision ops/nms, csrc/ops/cpu/nms_kernel.cpp).
func suppress(boxes []Box, scores []float32, threshold float64) []int {
	order := make([]int, len(boxes))
	areas := make([]float32, len(boxes))
	for i, b := range boxes {
		order[i] = i
		areas[i] = (b.X1 - b.X0) * (b.Y1 - b.Y0)
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(scores[j], scores[i]) })
	kept := order[:0:0]
	dropped := make([]bool, len(boxes))
	for k, i := range order {
		if dropped[i] {
			continue
		}
		kept = append(kept, i)
		a := boxes[i]
		for _, j := range order[k+1:] {
			if dropped[j] {
				continue
			}
			b := boxes[j]
			w := max(0, min(a.X1, b.X1)-max(a.X0, b.X0))
			h := max(0, min(a.Y1, b.Y1)-max(a.Y0, b.Y0))
			both := float32(w * h)
			dropped[j] = float64(both/(areas[i]+areas[j]-both)) > threshold
		}
	}
	return kept
}
