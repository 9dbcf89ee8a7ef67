package clipsurgery

import (
	"math"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery"
)

// nearest is the guess of r that correlates best with a heat map.
func nearest(r sam.Result, heat *surgery.HeatMap) sam.Mask {
	best, most := r.Best(), math.Inf(-1)
	for _, m := range r.Masks {
		if c := correlation(m, heat); c > most {
			best, most = m, c
		}
	}
	return best
}

// correlation is Pearson's, of a mask and a heat map of the same size; NaN if
// one of them is constant.
func correlation(m sam.Mask, heat *surgery.HeatMap) float64 {
	var sum, squares, inside float64
	for i, a := range m.Alpha().Pix {
		v := float64(heat.Values[i])
		sum += v
		squares += v * v
		if a > 0 {
			inside += v
		}
	}
	n := float64(len(heat.Values))
	share, mean := float64(m.Area())/n, sum/n
	return (inside/n - share*mean) / math.Sqrt(share*(1-share)*(squares/n-mean*mean))
}
