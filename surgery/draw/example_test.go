package draw_test

import (
	"context"
	"fmt"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

// Heat maps of several labels on one contact sheet.
func Example() {
	ctx := context.Background()
	f, err := shapes.CLIP()
	if err != nil {
		fmt.Println(err)
		return
	}
	clip, err := vit.Load(f)
	if err != nil {
		fmt.Println(err)
		return
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		fmt.Println(err)
		return
	}
	scene := scenes[0] // a blue triangle and a red star on paper
	labels := []string{"triangle", "star"}
	text, err := clip.EncodeLabels(ctx, labels, surgery.Templates())
	if err != nil {
		fmt.Println(err)
		return
	}
	features, err := clip.EncodeImage(ctx, scene.Picture, vit.Operate(surgery.CLIPSurgery()))
	if err != nil {
		fmt.Println(err)
		return
	}
	scores, err := surgery.FeatureSurgery(features, text)
	if err != nil {
		fmt.Println(err)
		return
	}
	tiles := []draw.Tile{{Picture: scene.Picture, Caption: "picture"}}
	for i, label := range labels {
		heat, err := scores.Map(i)
		if err != nil {
			fmt.Println(err)
			return
		}
		overlay, err := draw.Overlay(scene.Picture, heat)
		if err != nil {
			fmt.Println(err)
			return
		}
		tiles = append(tiles, draw.Tile{Picture: overlay, Caption: label})
	}
	sheet, err := draw.Sheet(tiles, draw.Columns(3))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sheet.Bounds().Size())
	// Output: (416,168)
}
