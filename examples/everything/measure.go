package main

import (
	"fmt"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/sam"
)

// measure returns the share of the picture that lies in a mask and, of a scene,
// how many of its objects a mask shows with an IoU of a half or more.
func measure(p cli.Picture, masks []sam.Mask) (covered float64, found string, err error) {
	all := sam.Mask{Size: p.Bounds().Size()}
	for _, m := range masks {
		if all, err = all.Union(m); err != nil {
			return 0, "", err
		}
	}
	covered = float64(all.Area()) / float64(all.Size.X*all.Size.Y)
	if p.Scene == nil {
		return covered, "", nil
	}
	n := 0
	for i := range p.Scene.Things {
		shown, err := anyLike(masks, sam.MaskOf(p.Scene.Mask(i)))
		if err != nil {
			return 0, "", err
		}
		if shown {
			n++
		}
	}
	return covered, fmt.Sprintf("%d of %d", n, len(p.Scene.Things)), nil
}

// anyLike reports whether one of the masks is much like the true one.
func anyLike(masks []sam.Mask, truth sam.Mask) (bool, error) {
	for _, m := range masks {
		if iou, err := sam.IoU(truth, m); err != nil || iou >= 0.5 {
			return err == nil, err
		}
	}
	return false, nil
}
