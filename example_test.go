package clipsurgery_test

import (
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

// load returns the embedded models and a drawn scene. Published models are
// opened with [vit.Open] and [sam.Open].
func load(scene int) (*vit.CLIP, *sam.Model, image.Image, error) {
	f, err := shapes.CLIP()
	if err != nil {
		return nil, nil, nil, err
	}
	clip, err := vit.Load(f)
	if err != nil {
		return nil, nil, nil, err
	}
	if f, err = shapes.SAM(); err != nil {
		return nil, nil, nil, err
	}
	model, err := sam.Load(f)
	if err != nil {
		return nil, nil, nil, err
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		return nil, nil, nil, err
	}
	return clip, model, scenes[scene].Picture, nil
}

// The whole way, from words to masks, in a picture of a heart on water; what is
// not in the picture is not found.
func ExampleSegment() {
	clip, model, picture, err := load(3)
	if err != nil {
		fmt.Println(err)
		return
	}
	cutouts, err := clipsurgery.Segment(context.Background(), clip, model, picture,
		[]string{"heart", "star"},
		clipsurgery.Among(shapes.Classes()...), clipsurgery.Rerank(), clipsurgery.MinPresence(-0.11))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range cutouts {
		if errors.Is(c.Err, clipsurgery.ErrNotPresent) {
			fmt.Println(c.Label, "is not there")
			continue
		}
		b := c.Mask.Bounds()
		fmt.Printf("%s: about %d pixels around %v\n", c.Label, c.Mask.Area()/100*100, b.Min.Add(b.Max).Div(20).Mul(10))
	}
	// Output:
	// heart: about 2500 pixels around (50,70)
	// star is not there
}

// Labels that are encoded once, for many pictures: here one, with two diamonds.
func ExampleSegmenter() {
	ctx := context.Background()
	clip, model, picture, err := load(13)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := clipsurgery.NewSegmenter(ctx, clip, model, []string{"diamond"},
		clipsurgery.Among(shapes.Classes()...), clipsurgery.Components())
	if err != nil {
		fmt.Println(err)
		return
	}
	cutouts, err := s.Segment(ctx, picture)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range cutouts {
		fmt.Printf("%s: %d parts\n", c.Label, len(c.Mask.Polygons()))
	}
	// Output:
	// diamond: 2 parts
}

// A picture of a camera, upright, in the colors that the models were trained
// on. Reading it ends with the context; larger pictures than usual are allowed.
func ExampleOpenPicture() {
	ctx := context.Background()
	img, err := clipsurgery.OpenPicture("park.jpg",
		clipsurgery.PictureContext(ctx), clipsurgery.MaxPictureBytes(1<<30))
	if errors.Is(err, clipsurgery.ErrPicture) {
		fmt.Println("not a picture that can be read:", err)
	}
	if err != nil {
		return
	}
	fmt.Println(img.Bounds())
}
