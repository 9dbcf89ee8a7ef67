package sam_test

import (
	"bytes"
	"context"
	"fmt"
	"image"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

// demo is the embedded model and a picture of a blue triangle and a red star.
// Published models are opened with [sam.Open].
func demo() (*sam.Model, image.Image, error) {
	f, err := shapes.SAM()
	if err != nil {
		return nil, nil, err
	}
	model, err := sam.Load(f)
	if err != nil {
		return nil, nil, err
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		return nil, nil, err
	}
	return model, scenes[0].Picture, nil
}

// A picture is encoded once and asked about a click and a box.
func Example() {
	ctx := context.Background()
	model, picture, err := demo()
	if err != nil {
		fmt.Println(err)
		return
	}
	embedding, err := model.Encode(ctx, picture)
	if err != nil {
		fmt.Println(err)
		return
	}
	results, err := model.Predict(ctx, embedding, []sam.Prompt{
		sam.Clicks([]image.Point{{X: 50, Y: 85}}, nil),
		{Box: &sam.Box{X0: 55, Y0: 23, X1: 100, Y1: 69}, Single: true},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, what := range []string{"triangle", "star"} {
		mask := results[i].Best()
		fmt.Printf("%s: one of %d, about %d pixels\n", what, len(results[i].Masks), (mask.Area()+50)/100*100)
	}
	// Output:
	// triangle: one of 3, about 1300 pixels
	// star: one of 1, about 800 pixels
}

// The logits of a result are the mask prompt of the next question.
func ExampleModel_Predict_refine() {
	ctx := context.Background()
	model, picture, err := demo()
	if err != nil {
		fmt.Println(err)
		return
	}
	embedding, err := model.Encode(ctx, picture)
	if err != nil {
		fmt.Println(err)
		return
	}
	prompt := sam.Clicks([]image.Point{{X: 50, Y: 85}}, nil)
	first, err := model.Predict(ctx, embedding, []sam.Prompt{prompt})
	if err != nil {
		fmt.Println(err)
		return
	}
	prompt.Points = append(prompt.Points, sam.Point{X: 80, Y: 45, Label: sam.Background})
	prompt.Mask, prompt.Single = &first[0].LowRes[0], true
	second, err := model.Predict(ctx, embedding, []sam.Prompt{prompt})
	if err != nil {
		fmt.Println(err)
		return
	}
	iou, err := sam.IoU(first[0].Masks[0], second[0].Best())
	fmt.Println(len(second[0].Masks), iou > 0.9, err)
	// Output: 1 true <nil>
}

// All objects of a picture, best first.
func ExampleModel_EverythingSeq() {
	model, picture, err := demo()
	if err != nil {
		fmt.Println(err)
		return
	}
	n := 0
	for mask, err := range model.EverythingSeq(context.Background(), picture,
		sam.PointsPerSide(16), sam.MinIoU(0.85), sam.MinStability(0.88)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		if mask.Area() > 0 {
			n++
		}
	}
	fmt.Println(n, "masks: the background and two objects")
	// Output: 3 masks: the background and two objects
}

// An embedding outlives the program that made it.
func ExampleReadEmbedding() {
	model, picture, err := demo()
	if err != nil {
		fmt.Println(err)
		return
	}
	embedding, err := model.Encode(context.Background(), picture)
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	if _, err := embedding.WriteTo(&file); err != nil {
		fmt.Println(err)
		return
	}
	again, err := sam.ReadEmbedding(&file)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(again.Size(), again.Grid(), again.Features().Cols)
	// Output: (128,128) (16,16) 64
}

// Masks as COCO's run lengths and as polygons.
func ExampleMask_Polygons() {
	frame := image.NewAlpha(image.Rect(0, 0, 6, 5))
	for y := 1; y < 4; y++ {
		for x := 1; x < 5; x++ {
			frame.Pix[y*frame.Stride+x] = 255
		}
	}
	frame.Pix[2*frame.Stride+2] = 0
	mask := sam.MaskOf(frame)
	fmt.Println(mask.Area(), mask.Bounds(), mask.COCO(), mask.Runs())
	for _, p := range mask.Polygons() {
		fmt.Println("outer", p.Outer, "holes", len(p.Holes))
	}
	// Output:
	// 11 (1,1)-(5,4) 632NO012004 [6 3 2 1 1 1 2 3 2 3 6]
	// outer [{5 1} {5 4} {1 4} {1 1}] holes 1
}
