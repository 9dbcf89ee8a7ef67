package eval

import (
	"cmp"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"io/fs"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/runs"
	"github.com/clipsurgery/clipsurgery/surgery"
)

// COCO is a data set in COCO's JSON with masks of objects.
type COCO struct {
	// Classes are "background", then the categories in the order of their ids.
	Classes []string
	Items   []Item
}

type cocoFile struct {
	Images []struct {
		ID            int64  `json:"id"`
		File          string `json:"file_name"`
		Width, Height int
	}
	Categories []struct {
		ID   int64
		Name string
	}
	Annotations []cocoObject
}

type cocoObject struct {
	Image        int64 `json:"image_id"`
	Category     int64 `json:"category_id"`
	Area         float64
	Crowd        int `json:"iscrowd"`
	Segmentation json.RawMessage
	class        int
}

// maxSet bounds the JSON of a data set: COCO's own training set has half a
// gigabyte.
const maxSet int64 = 2 << 30

// ReadCOCO reads a data set; its pictures lie in fsys. In label maps a pixel is
// of the class of the smallest object that covers it, 0 where none does, and
// Ignore under crowds. Masks are polygons, drawn as COCO's own code does, or
// run lengths, plain or compressed. At most 2 GiB are read.
func ReadCOCO(r io.Reader, pictures fs.FS) (*COCO, error) {
	var f cocoFile
	if err := json.NewDecoder(io.LimitReader(r, maxSet)).Decode(&f); err != nil {
		return nil, fmt.Errorf("eval: %w: %w", ErrFormat, err)
	}
	slices.SortStableFunc(f.Categories, func(a, b struct {
		ID   int64
		Name string
	}) int {
		return cmp.Compare(a.ID, b.ID)
	})
	set := &COCO{Classes: []string{"background"}}
	classes := map[int64]int{}
	for i, c := range f.Categories {
		if _, ok := classes[c.ID]; ok {
			return nil, fmt.Errorf("eval: %w: category %d twice", ErrFormat, c.ID)
		}
		classes[c.ID] = 1 + i
		set.Classes = append(set.Classes, c.Name)
	}
	if len(set.Classes) > maxClasses {
		return nil, fmt.Errorf("eval: %w: %d categories", ErrFormat, len(f.Categories))
	}
	objects := map[int64][]cocoObject{}
	for _, o := range f.Annotations {
		class, ok := classes[o.Category]
		if !ok {
			return nil, fmt.Errorf("eval: %w: an object of category %d", ErrFormat, o.Category)
		}
		o.class = class
		objects[o.Image] = append(objects[o.Image], o)
	}
	for _, img := range f.Images {
		if err := checkSize(img.Width, img.Height); err != nil {
			return nil, fmt.Errorf("eval: image %d: %w", img.ID, err)
		}
		if !fs.ValidPath(img.File) {
			return nil, fmt.Errorf("eval: %w: image %d is file %q", ErrFormat, img.ID, img.File)
		}
		own := objects[img.ID]
		delete(objects, img.ID)
		set.Items = append(set.Items, Item{
			Name:    img.File,
			Picture: func() (image.Image, error) { return picture(pictures, img.File) },
			Truth: func() (Truth, error) {
				m, err := paint(own, img.Width, img.Height)
				if err != nil {
					return Truth{}, fmt.Errorf("eval: image %d: %w", img.ID, err)
				}
				return Truth{Labels: m}, nil
			},
		})
	}
	if len(objects) > 0 {
		return nil, fmt.Errorf("eval: %w: objects of %d images that are not listed, or are listed twice", ErrFormat, len(objects))
	}
	return set, nil
}

// paint draws objects over one another, the largest first.
func paint(objects []cocoObject, width, height int) (*surgery.LabelMap, error) {
	objects = slices.Clone(objects)
	slices.SortStableFunc(objects, func(a, b cocoObject) int {
		return cmp.Or(cmp.Compare(b.Crowd, a.Crowd), cmp.Compare(b.Area, a.Area))
	})
	m := surgery.NewLabelMap(image.Pt(width, height))
	for i, o := range objects {
		mask, err := segmentation(o.Segmentation, image.Pt(width, height))
		if err != nil {
			return nil, fmt.Errorf("object %d of %d: %w", i, len(objects), err)
		}
		label := uint16(o.class)
		if o.Crowd != 0 {
			label = surgery.Ignore
		}
		for s := range runs.Segments(mask, height) {
			for y := s.Y0; y < s.Y1; y++ {
				m.Labels[y*width+s.X] = label
			}
		}
	}
	return m, nil
}

// segmentation returns the run lengths of the mask that COCO's JSON describes:
// an array of polygons, or an object of run lengths.
func segmentation(data json.RawMessage, size image.Point) ([]uint32, error) {
	if len(data) > 0 && data[0] == '[' {
		return polygons(data, size)
	}
	var rle struct {
		Size   [2]int // height, width
		Counts json.RawMessage
	}
	if err := json.Unmarshal(data, &rle); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if rle.Size != [2]int{size.Y, size.X} {
		return nil, fmt.Errorf("%w: run lengths of %d×%d pixels, the picture has %d×%d", ErrFormat, rle.Size[1], rle.Size[0], size.X, size.Y)
	}
	var mask []uint32
	var text string
	err := json.Unmarshal(rle.Counts, &text)
	if err == nil {
		mask, err = runs.Decompress(size, text)
	} else {
		var counts []int64
		if err = json.Unmarshal(rle.Counts, &counts); err == nil {
			mask, err = runs.Check(size, counts)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return mask, nil
}

// polygons returns the run lengths of the union of polygons.
func polygons(data json.RawMessage, size image.Point) ([]uint32, error) {
	var all [][]float64
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	mask := []uint32{uint32(size.X * size.Y)}
	for _, xy := range all {
		one, err := runs.Polygon(size, xy)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		mask = runs.Union(mask, one)
	}
	return mask, nil
}
