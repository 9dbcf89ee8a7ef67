package clipsurgery

import (
	"image"
	"math"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/surgery"
)

// components divides clicks into the connected parts of their foreground: those
// on cells of the halved grid that touch by a side or a corner. All parts have
// the same background.
func components(all surgery.Clicks, scores *surgery.Scores) []surgery.Clicks {
	points := all.Foreground
	grid, region := scores.Grid.Div(2), scores.Region
	cell := func(p image.Point) image.Point { // of a pixel's centre
		p = p.Sub(region.Min)
		return image.Pt((2*p.X+1)*grid.X/(2*region.Dx()), (2*p.Y+1)*grid.Y/(2*region.Dy()))
	}
	part := make([]int, len(points)) // by its first point
	for i := range points {
		part[i] = i
		for j := range i {
			d := cell(points[i]).Sub(cell(points[j]))
			if max(d.X, -d.X, d.Y, -d.Y) > 1 || part[i] == part[j] {
				continue
			}
			from, to := max(part[i], part[j]), min(part[i], part[j])
			for k := range i + 1 {
				if part[k] == from {
					part[k] = to
				}
			}
		}
	}
	var parts []surgery.Clicks
	for first := range points {
		c := surgery.Clicks{Background: all.Background}
		for i, p := range points {
			if part[i] == first {
				c.Foreground = append(c.Foreground, p)
			}
		}
		if len(c.Foreground) > 0 {
			parts = append(parts, c)
		}
	}
	return parts
}

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
