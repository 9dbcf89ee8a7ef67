package hub_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/clipsurgery/clipsurgery/weights/hub"
)

// Take a checkpoint from the cache, or say that it has to be fetched: nothing
// is downloaded that was not asked for.
func ExampleFetch() {
	ctx := context.Background()
	_, err := hub.Fetch(ctx, "ViT-B/16", hub.Dir("empty-cache"), hub.Offline())
	if errors.Is(err, hub.ErrOffline) {
		// _, err = hub.Fetch(ctx, "ViT-B/16", hub.WithProgress(show)) would download it.
		fmt.Println("not here yet")
	}
	// Output: not here yet
}

func ExampleNames() {
	for _, name := range hub.Names() {
		fmt.Println(name)
	}
	// Output:
	// RN101
	// RN50
	// RN50x16
	// RN50x4
	// RN50x64
	// ViT-B/16
	// ViT-B/32
	// ViT-L/14
	// ViT-L/14@336px
	// mobile_sam
	// sam2.1_hiera_base_plus
	// sam2.1_hiera_large
	// sam2.1_hiera_small
	// sam2.1_hiera_tiny
	// sam2_hiera_base_plus
	// sam2_hiera_large
	// sam2_hiera_small
	// sam2_hiera_tiny
	// sam_vit_b
	// sam_vit_h
	// sam_vit_l
}
