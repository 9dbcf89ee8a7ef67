package sam

import (
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"slices"
)

// ErrRLE reports run lengths that no mask of that size has.
var ErrRLE = errors.New("run lengths")

// Compressed run lengths are numbers of variable length in characters from '0'
// on: five bits each, the lowest first, a sixth that says that more follow. The
// last five bits are signed. From the fourth on, a number is the difference
// from the one before the last (cocoapi common/maskApi.c, rleToString).
const (
	cocoZero = '0'
	cocoMore = 0x20
	cocoSign = 0x10
	cocoBits = 5
)

// COCO returns the mask as COCO's compressed run lengths: the "counts" of a
// segmentation whose "size" is [Size.Y, Size.X].
func (m Mask) COCO() string {
	runs := m.counts()
	out := make([]byte, 0, 2*len(runs))
	for i, n := range runs {
		v := int64(n)
		if i > 2 {
			v -= int64(runs[i-2])
		}
		for more := true; more; {
			c := byte(v & (1<<cocoBits - 1))
			v >>= cocoBits
			sign := int64(0)
			if c&cocoSign != 0 {
				sign = -1
			}
			if more = v != sign; more {
				c |= cocoMore
			}
			out = append(out, cocoZero+c)
		}
	}
	return string(out)
}

// ParseCOCO reads COCO's compressed run lengths of a picture of the given size
// in pixels. Counts that are damaged or do not add up to the picture are
// [ErrRLE], an impossible size is [ErrSize].
func ParseCOCO(size image.Point, counts string) (Mask, error) {
	if err := checkSize(size); err != nil {
		return Mask{}, fmt.Errorf("sam: %w", err)
	}
	bad := func(i int, format string, a ...any) (Mask, error) {
		return Mask{}, fmt.Errorf("sam: %w at byte %d: %s", ErrRLE, i, fmt.Sprintf(format, a...))
	}
	var (
		b     runBuilder
		value int64
		shift uint
		last  [2]int64 // the run before this one, and the one before that
		n     int      // runs read
		left  = int64(size.X) * int64(size.Y)
	)
	for i := range len(counts) {
		c := counts[i] - cocoZero
		if c >= 2*cocoMore {
			return bad(i, "character %q", counts[i])
		}
		if shift > 30 { // no picture has 2³⁵ pixels
			return bad(i, "a run of more than seven characters")
		}
		value |= int64(c&(1<<cocoBits-1)) << shift
		shift += cocoBits
		if c&cocoMore != 0 {
			continue
		}
		if c&cocoSign != 0 {
			value |= -1 << shift
		}
		if n > 2 {
			value += last[1]
		}
		if value < 0 || value > left {
			return bad(i, "a run of %d pixels, %d are left", value, left)
		}
		b.add(n%2 == 1, uint32(value))
		left -= value
		last = [2]int64{value, last[0]}
		value, shift = 0, 0
		n++
	}
	if shift != 0 {
		return bad(len(counts), "ends inside a run")
	}
	if left != 0 {
		return bad(len(counts), "%d of %d×%d pixels are missing", left, size.X, size.Y)
	}
	return Mask{Size: size, runs: b.runs}, nil
}

// Runs returns the mask as COCO's uncompressed run lengths: of pixels column by
// column, each from top to bottom, outside and inside by turns, the first of
// them outside (segment_anything/utils/amg.py, mask_to_rle_pytorch).
func (m Mask) Runs() []uint32 { return slices.Clone(m.counts()) }

// FromRuns returns the mask of uncompressed run lengths, as [Mask.Runs] has
// them, of a picture of the given size in pixels. Runs of nothing are as good as
// none. Runs that do not add up to the picture are [ErrRLE], an impossible size
// is [ErrSize].
func FromRuns(size image.Point, runs []uint32) (Mask, error) {
	if err := checkSize(size); err != nil {
		return Mask{}, fmt.Errorf("sam: %w", err)
	}
	var b runBuilder
	left := int64(size.X) * int64(size.Y)
	for i, n := range runs {
		if left -= int64(n); left < 0 {
			return Mask{}, fmt.Errorf("sam: %w: run %d ends beyond %d×%d pixels", ErrRLE, i, size.X, size.Y)
		}
		b.add(i%2 == 1, n)
	}
	if left != 0 {
		return Mask{}, fmt.Errorf("sam: %w: %d of %d×%d pixels are missing", ErrRLE, left, size.X, size.Y)
	}
	return Mask{Size: size, runs: b.runs}, nil
}

// WriteCOCO writes masks of one picture as a COCO data set in JSON: the
// picture with the id 1, an annotation with compressed run lengths for each
// mask, and one category, "object". Boxes are x, y, width, height and hold the
// whole of their pixels. Annotations also have what the masks of Segment
// Anything's own data set have: predicted_iou, stability_score, point_coords
// and crop_box.
//
// file is the name of the picture's file. Masks of different sizes are
// [ErrSize].
func WriteCOCO(w io.Writer, file string, masks []Mask) error {
	set := cocoSet{
		Images:      []cocoImage{},
		Annotations: []cocoAnnotation{},
		Categories:  []cocoCategory{{ID: 1, Name: "object"}},
	}
	for i, m := range masks {
		if err := sameSize(masks[0], m); err != nil {
			return err
		}
		set.Annotations = append(set.Annotations, annotationOf(i+1, m))
	}
	if len(masks) > 0 {
		set.Images = append(set.Images, cocoImage{ID: 1, FileName: file, Width: masks[0].Size.X, Height: masks[0].Size.Y})
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false) // run lengths have '<' and '>'
	return out.Encode(set)
}

type cocoSet struct {
	Images      []cocoImage      `json:"images"`
	Annotations []cocoAnnotation `json:"annotations"`
	Categories  []cocoCategory   `json:"categories"`
}

type cocoImage struct {
	ID       int    `json:"id"`
	FileName string `json:"file_name"`
	Width    int    `json:"width"`
	Height   int    `json:"height"`
}

type cocoCategory struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

type cocoAnnotation struct {
	ID           int              `json:"id"`
	Image        int              `json:"image_id"`
	Category     int              `json:"category_id"`
	Segmentation cocoSegmentation `json:"segmentation"`
	Area         int              `json:"area"`
	Box          [4]int           `json:"bbox"`
	Crowd        int              `json:"iscrowd"`
	IoU          float32          `json:"predicted_iou"`
	Stability    *float32         `json:"stability_score"` // null where it is NaN, which JSON has no name for
	Points       [][2]float32     `json:"point_coords"`
	Crop         [4]int           `json:"crop_box"`
}

type cocoSegmentation struct {
	Size   [2]int `json:"size"` // height, width
	Counts string `json:"counts"`
}

func annotationOf(id int, m Mask) cocoAnnotation {
	a := cocoAnnotation{
		ID: id, Image: 1, Category: 1,
		Segmentation: cocoSegmentation{Size: [2]int{m.Size.Y, m.Size.X}, Counts: m.COCO()},
		Area:         m.Area(),
		Box:          corner(m.Bounds()),
		IoU:          m.IoU,
		Points:       [][2]float32{{m.Point.X, m.Point.Y}},
		Crop:         corner(m.Crop),
	}
	if finite(m.Stability) {
		a.Stability = &m.Stability
	}
	return a
}

// corner is x, y, width and height.
func corner(r image.Rectangle) [4]int { return [4]int{r.Min.X, r.Min.Y, r.Dx(), r.Dy()} }
