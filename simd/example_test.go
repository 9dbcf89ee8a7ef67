package simd_test

import (
	"fmt"

	"github.com/clipsurgery/clipsurgery/simd"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// A layer of a network: its weights are packed once and used for every input.
func Example() {
	k := simd.Best()
	weights := simd.Pack(k, blas32.General{Rows: 2, Cols: 3, Stride: 3, Data: []float32{
		1, 0, -1,
		2, 2, 2,
	}})
	x := blas32.General{Rows: 1, Cols: 3, Stride: 3, Data: []float32{3, 4, 5}}
	y := blas32.General{Rows: 1, Cols: 2, Stride: 2, Data: make([]float32, 2)}
	k.MatMul(nil, y, x, weights, simd.Epilogue{Bias: []float32{0.5, 0}, Act: simd.ReLU})
	fmt.Println(y.Data)
	// Output: [0 24]
}

// Any program that uses gonum's blas32 gains by one line.
func ExampleBLAS() {
	blas32.Use(simd.BLAS(simd.Best()))

	a := blas32.General{Rows: 2, Cols: 2, Stride: 2, Data: []float32{1, 2, 3, 4}}
	c := blas32.General{Rows: 2, Cols: 2, Stride: 2, Data: make([]float32, 4)}
	blas32.Gemm(blas.NoTrans, blas.Trans, 1, a, a, 0, c)
	fmt.Println(c.Data)
	// Output: [5 11 11 25]
}
