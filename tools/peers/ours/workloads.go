package main

import (
	"context"
	"image"
	"math/rand/v2"

	"github.com/clipsurgery/clipsurgery/internal/untrained"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

// run does the work that is timed.
type run func(context.Context) error

// workloads prepare what peers.py asks for by these names.
var workloads = map[string]func(ctx context.Context, threads int) (run, error){
	"gemm-1025x768x3072": gemm(1025, 768, 3072),
	"gemm-197x768x768":   gemm(197, 768, 768),
	"vit-b16-224":        tower(untrained.ViTB16(), 224, vit.Plan{}),
	"vit-l14-224":        tower(untrained.ViTL14(), 224, vit.Plan{}),
	"cs-vit-b16-512":     tower(untrained.ViTB16(), 512, surgery.CLIPSurgery()),
	"rn50-224":           tower(untrained.RN50(), 224, vit.Plan{}),
	"labels-59x85":       labels,
	"sam-vit-b-1024":     samEncoder,
	"sam-decoder-1":      samDecoder(1),
	"sam-decoder-64":     samDecoder(64),
}

func random(n int) []float32 {
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = 2*r.Float32() - 1
	}
	return x
}

func matrix(rows, cols int) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: random(rows * cols)}
}

// gemm multiplies by packed weights, as a network does.
func gemm(m, k, n int) func(context.Context, int) (run, error) {
	return func(_ context.Context, threads int) (run, error) {
		kernel, team := simd.Best(), simd.NewTeam(threads)
		a, b, dst := matrix(m, k), simd.Pack(kernel, matrix(n, k)), matrix(m, n)
		return func(context.Context) error {
			kernel.MatMul(team, dst, a, b, simd.Epilogue{})
			return nil
		}, nil
	}
}

func clip(c vit.Config, threads int) (*vit.CLIP, error) {
	f, err := untrained.CLIP(c)
	if err != nil {
		return nil, err
	}
	return vit.Load(f, vit.WithWorkers(threads))
}

// tower encodes one prepared picture.
func tower(c vit.Config, side int, plan vit.Plan) func(context.Context, int) (run, error) {
	return func(_ context.Context, threads int) (run, error) {
		model, err := clip(c, threads)
		if err != nil {
			return nil, err
		}
		pixels := vit.Pixels{Width: side, Height: side, Data: random(3 * side * side)}
		return func(ctx context.Context) error {
			_, err := model.EncodePixels(ctx, pixels, vit.Operate(plan))
			return err
		}, nil
	}
}

func labels(_ context.Context, threads int) (run, error) {
	model, err := clip(untrained.ViTB16(), threads)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := model.EncodeLabels(ctx, untrained.Labels(), surgery.Templates())
		return err
	}, nil
}

func samModel(blocks, threads int) (*sam.Model, error) {
	f, err := untrained.SAM(untrained.SAMViTB(blocks))
	if err != nil {
		return nil, err
	}
	return sam.Load(f, sam.WithWorkers(threads))
}

func samEncoder(_ context.Context, threads int) (run, error) {
	model, err := samModel(12, threads)
	if err != nil {
		return nil, err
	}
	pixels := sam.Pixels{Width: 1024, Height: 1024, Data: random(3 << 20)}
	return func(ctx context.Context) error {
		_, err := model.EncodePixels(ctx, pixels, image.Pt(1024, 1024))
		return err
	}, nil
}

// samDecoder predicts three masks for each of n clicks on a picture of
// 1024×768.
func samDecoder(n int) func(context.Context, int) (run, error) {
	return func(ctx context.Context, threads int) (run, error) {
		model, err := samModel(1, threads)
		if err != nil {
			return nil, err
		}
		embedding, err := model.EncodePixels(ctx, sam.Pixels{Width: 1024, Height: 768, Data: random(3 * 1024 * 768)}, image.Pt(1024, 768))
		if err != nil {
			return nil, err
		}
		at := random(2 * n)
		prompts := make([]sam.Prompt, n)
		for i := range prompts {
			prompts[i].Points = []sam.Point{{X: 512 + 511*at[2*i], Y: 384 + 383*at[2*i+1], Label: sam.Foreground}}
		}
		return func(ctx context.Context) error {
			_, err := model.Predict(ctx, embedding, prompts)
			return err
		}, nil
	}
}
