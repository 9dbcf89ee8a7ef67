package surgery_test

import (
	"context"
	"fmt"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

// demo is the embedded model and a picture of a blue triangle and a red
// star on paper.
func demo() (*vit.CLIP, *shapes.Scene, error) {
	f, err := shapes.CLIP()
	if err != nil {
		return nil, nil, err
	}
	clip, err := vit.Load(f)
	if err != nil {
		return nil, nil, err
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		return nil, nil, err
	}
	return clip, &scenes[0], nil
}

// A plan of one's own: value-value attention that favours neighbours, in the
// last three blocks beside the untouched stream.
func ExampleCompose() {
	clip, scene, err := demo()
	if err != nil {
		fmt.Println(err)
		return
	}
	plan := surgery.Compose(
		surgery.LastBlocks(3),
		surgery.Beside(),
		surgery.Attend(vit.V, vit.V, surgery.Gaussian(4)),
		surgery.WithoutFFN())
	features, err := clip.EncodeImage(context.Background(), scene.Picture, vit.Operate(plan))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(features.Grid, features.Tokens.Rows, features.Tokens.Cols)
	// Output: (12,12) 145 64
}
