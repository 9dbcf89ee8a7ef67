package eval_test

import (
	"fmt"
	"log"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/eval"
)

// Two machines score a half of the pictures each; their sum is one run.
func ExampleConfusion() {
	truth := &surgery.LabelMap{Width: 4, Height: 1, Labels: []uint16{0, 0, 1, surgery.Ignore}}
	first, err := eval.NewConfusion(2)
	if err != nil {
		log.Fatal(err)
	}
	second, err := eval.NewConfusion(2)
	if err != nil {
		log.Fatal(err)
	}
	for _, err := range []error{
		first.Add(&surgery.LabelMap{Width: 4, Height: 1, Labels: []uint16{0, 1, 1, 1}}, truth),
		second.Add(&surgery.LabelMap{Width: 4, Height: 1, Labels: []uint16{0, 0, 1, 0}}, truth),
		first.Merge(second),
	} {
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Printf("mIoU %.3f, pixel accuracy %.3f\n", first.MeanIoU(), first.PixelAccuracy())
	// Output: mIoU 0.708, pixel accuracy 0.833
}
