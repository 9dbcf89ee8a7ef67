package surgery_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"gonum.org/v1/gonum/blas/blas32"
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

// A plan of one's own: value-value attention that favors neighbors, in the
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

// Where a model sees each of some labels: the method of the paper, end to end.
func Example() {
	ctx := context.Background()
	clip, scene, err := demo()
	if err != nil {
		fmt.Println(err)
		return
	}
	labels := []string{"paper", "triangle", "star", "ring"}
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
	for i, thing := range scene.Things {
		label := slices.Index(labels, thing.Shape)
		heat, err := scores.Map(label)
		if err != nil {
			fmt.Println(err)
			return
		}
		at := heat.Peak()
		fmt.Printf("%s: hottest on it: %v\n", labels[label], scene.Mask(i).AlphaAt(at.X, at.Y).A > 0)
	}
	// Output:
	// triangle: hottest on it: true
	// star: hottest on it: true
}

// One text by itself, and clicks for a segmenter.
func ExampleRemoveRedundant() {
	ctx := context.Background()
	clip, scene, err := demo()
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := clip.EncodeLabels(ctx, []string{"red star", ""}, surgery.Templates())
	if err != nil {
		fmt.Println(err)
		return
	}
	features, err := clip.EncodeImage(ctx, scene.Picture, vit.Operate(surgery.CLIPSurgery()))
	if err != nil {
		fmt.Println(err)
		return
	}
	row := func(i int) blas32.General {
		return blas32.General{Rows: 1, Cols: text.Cols, Stride: text.Stride, Data: text.Data[i*text.Stride:]}
	}
	scores, err := surgery.RemoveRedundant(features, row(0), row(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	clicks, err := scores.Points(0, 0.8)
	if err != nil {
		fmt.Println(err)
		return
	}
	best := clicks.Foreground[len(clicks.Foreground)-1]
	fmt.Println(best, best.In(scene.Things[1].Box))
	// Output: (74,53) true
}

// Which words of a sentence a picture supports. Package draw shows it.
func ExampleWords() {
	ctx := context.Background()
	clip, scene, err := demo()
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := clip.TextTokens(ctx, "a blue triangle and a red star on paper")
	if err != nil {
		fmt.Println(err)
		return
	}
	features, err := clip.EncodeImage(ctx, scene.Picture, vit.Operate(surgery.CLIPSurgery()))
	if err != nil {
		fmt.Println(err)
		return
	}
	scores, err := surgery.Words(features, tokens)
	if err != nil {
		fmt.Println(err)
		return
	}
	support := scores.Support()
	best := 1 // behind the start token
	for i := range len(support) - 2 {
		if support[1+i] > support[best] {
			best = 1 + i
		}
	}
	fmt.Println(scores.Cols, "tokens, the best supported:", tokens.Pieces[best])
	// Output: 11 tokens, the best supported: paper
}
