package sam

import (
	"image"
	"math"
)

// crop is a part of a picture that everything mode works on, and how often
// the picture was divided to get it.
type crop struct {
	box   image.Rectangle
	layer int
}

// cropsOf divides a picture: the whole of it, then, in layer i, 2ⁱ by 2ⁱ
// parts, column by column, that overlap by the given share of the shorter side
// (twice that of layer 1 in all; segment_anything/utils/amg.py,
// generate_crop_boxes). Parts without pixels, which a tiny picture has, are
// left out.
func cropsOf(size image.Point, layers int, overlap float64) []crop {
	whole := image.Rectangle{Max: size}
	all := []crop{{whole, 0}}
	for layer := 1; layer <= layers; layer++ {
		n := 1 << layer
		shared := int(overlap * float64(min(size.X, size.Y)) * (2 / float64(n)))
		length := func(side int) int { return int(math.Ceil(float64(shared*(n-1)+side) / float64(n))) }
		part := image.Pt(length(size.X), length(size.Y))
		for x := range n {
			for y := range n {
				at := image.Pt((part.X-shared)*x, (part.Y-shared)*y)
				box := image.Rectangle{at, at.Add(part)}
				if box.Max.X, box.Max.Y = min(box.Max.X, size.X), min(box.Max.Y, size.Y); !box.Empty() {
					all = append(all, crop{box, layer})
				}
			}
		}
	}
	return all
}

// pointGrid is n by n points evenly spread over the unit square, row by row,
// as x and y.
func pointGrid(n int) [][2]float64 {
	offset := 1 / float64(2*n)
	along := make([]float64, n)
	for i := range along {
		along[i] = offset
		if n > 1 {
			along[i] += float64(float64(i) * ((1 - 2*offset) / float64(n-1)))
		}
	}
	grid := make([][2]float64, 0, n*n)
	for _, y := range along {
		for _, x := range along {
			grid = append(grid, [2]float64{x, y})
		}
	}
	return grid
}

// pointGrids has a grid for the whole picture and for each layer of crops,
// every time with fewer points per side by the factor downscale.
func pointGrids(n, layers, downscale int) [][][2]float64 {
	grids := make([][][2]float64, 0, layers+1)
	for i := range layers + 1 {
		if i > 0 && downscale == 1 {
			grids = append(grids, grids[0])
			continue
		}
		grids = append(grids, pointGrid(int(float64(n)/math.Pow(float64(downscale), float64(i)))))
	}
	return grids
}

// nearEdge is how near to a crop's edge, in pixels, everything mode does not
// trust a mask.
const nearEdge = 20

// cut reports whether a side of box, in a crop's own pixels, lies at the edge of
// the crop and not at that of the picture, so that the object probably goes
// on beyond it.
func (c crop) cut(box Box, picture image.Point) bool {
	near := func(v float32, crop, picture int) bool {
		return math.Abs(float64(v)-float64(crop)) <= nearEdge && math.Abs(float64(v)-float64(picture)) > nearEdge
	}
	box = box.add(c.box.Min)
	return near(box.X0, c.box.Min.X, 0) || near(box.Y0, c.box.Min.Y, 0) ||
		near(box.X1, c.box.Max.X, picture.X) || near(box.Y1, c.box.Max.Y, picture.Y)
}

func (b Box) add(p image.Point) Box {
	x, y := float32(p.X), float32(p.Y)
	return Box{b.X0 + x, b.Y0 + y, b.X1 + x, b.Y1 + y}
}
