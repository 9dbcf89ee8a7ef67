package plot

import (
	"bytes"
	"fmt"
	"image/png"
	"math"
	"testing"

	"github.com/clipsurgery/clipsurgery/surgery/eval"
)

// ranking is two classes, the second ranked perfectly, and a third that no
// picture shows.
func ranking() (*eval.Ranking, error) {
	r, err := eval.NewRanking(3)
	if err != nil {
		return nil, err
	}
	for i := range 12 {
		s := float32(i)
		if err := r.Add([]float32{s, s, s}, []bool{i%3 == 0, i > 6, false}); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func TestPlots(t *testing.T) {
	r, err := ranking()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"circle", "square", "nowhere"}
	var curves, bars bytes.Buffer
	if err := PrecisionRecall(&curves, "png", r, names, 0, 1, 2); err != nil {
		t.Fatal(err)
	}
	if err := Bars(&bars, "PNG", "IoU", names, []float64{0.4, 0.7, math.NaN()}); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*bytes.Buffer{&curves, &bars} {
		img, err := png.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		colors := map[[3]uint32]bool{}
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				r, g, b, _ := img.At(x, y).RGBA()
				colors[[3]uint32{r, g, b}] = true
			}
		}
		if len(colors) < 3 {
			t.Errorf("nothing but axes: %d colors", len(colors))
		}
	}
	for _, err := range []error{
		PrecisionRecall(&curves, "png", r, names[:2], 0),
		PrecisionRecall(&curves, "png", r, names, 3),
		PrecisionRecall(&curves, "none", r, names, 0),
		Bars(&bars, "png", "IoU", names, nil),
	} {
		if err == nil {
			t.Error("accepted")
		}
	}
}

func ExamplePrecisionRecall() {
	r, err := ranking()
	if err != nil {
		fmt.Println(err)
		return
	}
	var svg bytes.Buffer
	if err := PrecisionRecall(&svg, "svg", r, []string{"circle", "square", "nowhere"}, 0, 1); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(bytes.Contains(svg.Bytes(), []byte("square, 1.000")))
	// Output: true
}
