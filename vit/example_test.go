package vit_test

import (
	"bytes"
	"context"
	"fmt"
	"log"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"gonum.org/v1/gonum/blas/blas32"
)

// demo is the embedded model and a picture of a blue triangle and a red star
// on paper. A checkpoint of one's own is vit.Open("ViT-B-16.safetensors").
func demo() (*vit.CLIP, *shapes.Scene) {
	f, err := shapes.CLIP()
	if err != nil {
		log.Fatal(err)
	}
	clip, err := vit.Load(f)
	if err != nil {
		log.Fatal(err)
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		log.Fatal(err)
	}
	return clip, &scenes[0]
}

// cosine is that of two vectors.
func cosine(a, b blas32.Vector) float32 {
	return blas32.Dot(a, b) / (blas32.Nrm2(a) * blas32.Nrm2(b))
}

func row(m blas32.General, i int) blas32.Vector {
	return blas32.Vector{N: m.Cols, Inc: 1, Data: m.Data[i*m.Stride:]}
}

// What CLIP was made for: which of some texts fits a picture best.
func Example() {
	ctx := context.Background()
	clip, scene := demo()
	features, err := clip.EncodeImage(ctx, scene.Picture)
	if err != nil {
		log.Fatal(err)
	}
	texts := []string{"a blue triangle on paper", "a green heart on water"}
	text, err := clip.EncodeText(ctx, texts)
	if err != nil {
		log.Fatal(err)
	}
	best := 0
	for i := range texts {
		if cosine(row(features.Tokens, 0), row(text, i)) > cosine(row(features.Tokens, 0), row(text, best)) {
			best = i
		}
	}
	fmt.Println(texts[best])
	// Output: a blue triangle on paper
}

// Several plans of one picture share the blocks that they leave alone. On a
// ViT surgery does not touch the class token.
func ExampleCLIP_EncodePlans() {
	clip, scene := demo()
	both, err := clip.EncodePlans(context.Background(), scene.Picture, []vit.Plan{{}, surgery.CLIPSurgery()}, vit.ShortSide(192))
	if err != nil {
		log.Fatal(err)
	}
	plain, operated := both[0].Tokens, both[1].Tokens
	fmt.Println(both[0].Grid)
	fmt.Printf("class tokens %.1f, first patches %.1f\n",
		cosine(row(plain, 0), row(operated, 0)), cosine(row(plain, 1), row(operated, 1)))
	// Output:
	// (24,24)
	// class tokens 1.0, first patches 0.4
}

// A vocabulary is encoded once and kept.
func ExampleCLIP_Labels() {
	clip, _ := demo()
	labels, err := clip.Labels(context.Background(), []string{"circle", "star", "heart"}, surgery.Templates())
	if err != nil {
		log.Fatal(err)
	}
	var file bytes.Buffer
	if _, err := labels.WriteTo(&file); err != nil {
		log.Fatal(err)
	}
	f, err := weights.FromBytes(file.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	again, err := clip.LoadLabels(f)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again.Names, again.Features.Rows, again.Features.Cols)
	// Output: [circle star heart] 3 64
}
