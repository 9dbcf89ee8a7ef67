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

// What every pixel is: classes of several texts each.
func ExampleSegment() {
	ctx := context.Background()
	clip, scene, err := demo()
	if err != nil {
		fmt.Println(err)
		return
	}
	classes, err := surgery.EncodeClasses(ctx, clip, []surgery.Class{
		{Name: "ground", Texts: []string{"paper", "sand", "sky"}},
		{Name: "thing", Texts: []string{"triangle", "star"}},
	}, surgery.Templates())
	if err != nil {
		fmt.Println(err)
		return
	}
	labels, err := surgery.Segment(ctx, clip, scene.Picture, classes)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(classes.Classes[labels.At(5, 5)], classes.Classes[labels.At(55, 88)])
	// Output: ground thing
}

// Which labels a picture shows.
func ExampleRecognize() {
	ctx := context.Background()
	clip, scene, err := demo()
	if err != nil {
		fmt.Println(err)
		return
	}
	names := []string{"red circle", "red star", "green heart", "blue triangle"}
	text, err := clip.EncodeLabels(ctx, names, surgery.Templates())
	if err != nil {
		fmt.Println(err)
		return
	}
	features, err := clip.EncodeImage(ctx, scene.Picture)
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := surgery.Recognize(features, text, clip.LogitScale())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, top := range surgery.Top(r.Cosine, 2) {
		fmt.Println(names[top.Label])
	}
	// Output:
	// blue triangle
	// red star
}
