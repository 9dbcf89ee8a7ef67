package surgery

import (
	"context"
	"fmt"
	"image"
	"math"

	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/simd"
)

// PAMR is pixel-adaptive mask refinement: in each iteration the score of a
// pixel becomes the mean of its neighbors' scores, weighted by the similarity
// of their colors to its own,
//
//	m ← Σₙ wₙ·mₙ,  w = softmax over n of −mean over channels of |x − xₙ|/(10⁻⁸ + 0.1·σ),
//
// where n runs over the 8 neighbors at each distance, edges repeated, and σ is
// the channel's standard deviation over them and the pixel itself (which counts
// once per distance).
// Source: visinf/1-stage-wseg models/mods/pamr.py (Araslanov and Roth, arXiv
// 2005.08104, section 3.3).
type PAMR struct {
	Iterations int
	Distances  []int // in pixels
}

// DefaultPAMR is the refinement that NACLIP reports: 10 iterations, distances 8
// and 16.
func DefaultPAMR() PAMR { return PAMR{10, []int{8, 16}} }

// maxIterations bounds PAMR: scores are flat long before.
const maxIterations = 1000

// check reports a meaningless refinement.
func (p PAMR) check() error {
	if p.Iterations < 0 || p.Iterations > maxIterations || len(p.Distances) == 0 {
		return fmt.Errorf("%w: PAMR of %d iterations at distances %v, want 0 to %d at one distance or more", ErrOption, p.Iterations, p.Distances, maxIterations)
	}
	for _, d := range p.Distances {
		if d < 1 {
			return fmt.Errorf("%w: PAMR at distance %d, want at least 1 pixel", ErrOption, d)
		}
	}
	return nil
}

// refine smooths planes of the size of the picture, in place.
func (p PAMR) refine(ctx context.Context, team *simd.Team, img image.Image, planes [][]float32) error {
	rgb, err := pix.ToRGB(ctx, img)
	if err != nil {
		return fmt.Errorf("surgery: PAMR: %w", err)
	}
	size := image.Pt(rgb.Width, rgb.Height)
	weights := p.affinity(team, rgb)
	next := make([]float32, size.X*size.Y)
	offsets := p.offsets()
	for c := range planes {
		for range p.Iterations {
			if err := ctx.Err(); err != nil {
				return err
			}
			plane := planes[c]
			team.Do(size.Y, func(_, y int) {
				row := next[y*size.X : (y+1)*size.X]
				clear(row)
				for n, o := range offsets {
					from := plane[min(max(y+o.Y, 0), size.Y-1)*size.X:][:size.X]
					w := weights[n][y*size.X:][:size.X]
					// Columns whose neighbor is inside, then the two edges.
					lo, hi := min(max(-o.X, 0), size.X), max(min(size.X-o.X, size.X), 0)
					for x := lo; x < hi; x++ {
						row[x] += float32(w[x] * from[x+o.X])
					}
					for x := range lo {
						row[x] += float32(w[x] * from[0])
					}
					for x := max(hi, lo); x < size.X; x++ {
						row[x] += float32(w[x] * from[size.X-1])
					}
				}
			})
			planes[c], next = next, plane
		}
	}
	return nil
}

// offsets are the neighbors of a pixel, distance by distance.
func (p PAMR) offsets() []image.Point {
	var all []image.Point
	for _, d := range p.Distances {
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				if dx != 0 || dy != 0 {
					all = append(all, image.Pt(dx*d, dy*d))
				}
			}
		}
	}
	return all
}

// affinity returns a plane of weights for each neighbor.
func (p PAMR) affinity(team *simd.Team, img *pix.RGB) [][]float32 {
	size, offsets := image.Pt(img.Width, img.Height), p.offsets()
	weights := make([][]float32, len(offsets))
	for n := range weights {
		weights[n] = make([]float32, size.X*size.Y)
	}
	type scratch struct{ colors, distance []float64 }
	all := make([]scratch, team.Size())
	for i := range all {
		all[i] = scratch{make([]float64, len(offsets)), make([]float64, len(offsets))}
	}
	count := float64(len(offsets) + len(p.Distances))
	team.Do(size.Y, func(worker, y int) {
		s := all[worker]
		for x := range size.X {
			clear(s.distance)
			for c := range 3 {
				own := float64(img.Pix[3*(y*size.X+x)+c])
				sum := own * float64(len(p.Distances))
				for n, o := range offsets {
					v := min(max(y+o.Y, 0), size.Y-1)
					u := min(max(x+o.X, 0), size.X-1)
					s.colors[n] = float64(img.Pix[3*(v*size.X+u)+c])
					sum += s.colors[n]
				}
				mean := sum / count
				squares := (own - mean) * (own - mean) * float64(len(p.Distances))
				for _, v := range s.colors {
					squares += (v - mean) * (v - mean)
				}
				deviation := math.Sqrt(squares / (count - 1))
				for n, v := range s.colors {
					s.distance[n] -= math.Abs(own-v) / (1e-8 + 0.1*deviation) / 3
				}
			}
			sum := 0.0
			for n, d := range s.distance { // never above 0
				s.distance[n] = math.Exp(d)
				sum += s.distance[n]
			}
			for n, w := range s.distance {
				weights[n][y*size.X+x] = float32(w / sum)
			}
		}
	})
	return weights
}
