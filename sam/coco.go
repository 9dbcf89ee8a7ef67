package sam

import (
	"encoding/json"
	"fmt"
	"image"
	"io"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/option"
	"github.com/clipsurgery/clipsurgery/internal/runs"
)

// ErrRLE reports run lengths that do not describe a mask of the given size.
var ErrRLE = runs.ErrRuns

// COCO returns the mask as COCO's compressed run lengths: the "counts" of a
// segmentation whose "size" is [Size.Y, Size.X].
func (m Mask) COCO() string { return runs.Compress(m.counts()) }

// ParseCOCO reads COCO's compressed run lengths of a picture of the given size
// in pixels. Counts that are damaged or do not add up to the picture are
// [ErrRLE], an impossible size is [ErrSize].
func ParseCOCO(size image.Point, counts string) (Mask, error) {
	if err := checkSize(size); err != nil {
		return Mask{}, fmt.Errorf("sam: %w", err)
	}
	all, err := runs.Decompress(size, counts)
	if err != nil {
		return Mask{}, fmt.Errorf("sam: %w", err)
	}
	return Mask{Size: size, runs: all}, nil
}

// Runs returns the mask as COCO's uncompressed run lengths: of pixels column by
// column, each from top to bottom, outside and inside by turns, the first of
// them outside (segment_anything/utils/amg.py, mask_to_rle_pytorch).
func (m Mask) Runs() []uint32 { return slices.Clone(m.counts()) }

// FromRuns returns the mask that uncompressed run lengths describe, as
// [Mask.Runs] returns them, of a picture of the given size in pixels. Runs of
// length 0 are accepted. Runs that do not add up to the picture are [ErrRLE],
// an impossible size is [ErrSize].
func FromRuns(size image.Point, counts []uint32) (Mask, error) {
	if err := checkSize(size); err != nil {
		return Mask{}, fmt.Errorf("sam: %w", err)
	}
	all, err := runs.Check(size, counts)
	if err != nil {
		return Mask{}, fmt.Errorf("sam: %w", err)
	}
	return Mask{Size: size, runs: all}, nil
}

// WriteCOCO writes masks of one picture as a COCO data set in JSON: the picture
// with the id 1, an annotation with compressed run lengths for each mask, and
// one category, "object". Boxes are x, y, width and height, and cover whole
// pixels. As in Segment Anything's own data set, annotations also have
// predicted_iou, if [Model.Predict] or [Model.Everything] made the mask, and
// stability_score (null for NaN), point_coords and crop_box, if
// [Model.Everything] did.
//
// file is the name of the picture's file. A picture without masks has an entry
// too, without width and height unless [PictureSize] gives them. Masks of
// different sizes are [ErrSize].
func WriteCOCO(w io.Writer, file string, masks []Mask, opts ...COCOOption) error {
	var o cocoOptions
	if err := option.Apply(&o, opts, COCOOption.coco); err != nil {
		return fmt.Errorf("sam: %w", err)
	}
	if o.size == (image.Point{}) && len(masks) > 0 {
		o.size = masks[0].Size
	}
	set := cocoSet{
		Images:      []cocoImage{{ID: 1, FileName: file, Width: o.size.X, Height: o.size.Y}},
		Annotations: []cocoAnnotation{},
		Categories:  []cocoCategory{{ID: 1, Name: "object"}},
	}
	for i, m := range masks {
		if err := sameSize(Mask{Size: o.size}, m); err != nil {
			return err
		}
		set.Annotations = append(set.Annotations, annotationOf(i+1, m))
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
	Width    int    `json:"width,omitempty"`
	Height   int    `json:"height,omitempty"`
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

	// Unknown properties of the mask are left out.
	IoU       *number      `json:"predicted_iou,omitempty"`
	Stability *number      `json:"stability_score,omitempty"`
	Points    [][2]float32 `json:"point_coords,omitempty"`
	Crop      *[4]int      `json:"crop_box,omitempty"`
}

// number becomes null in JSON if it is not finite, as JSON has no such numbers.
type number float32

func (n number) MarshalJSON() ([]byte, error) {
	if !nn.Finite(float32(n)) {
		return []byte("null"), nil
	}
	return json.Marshal(float32(n))
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
	}
	// A caller may have set any of them.
	everything := !m.Crop.Empty()
	if m.predicted || m.IoU != 0 {
		a.IoU = (*number)(&m.IoU)
	}
	if everything || m.Stability != 0 {
		a.Stability = (*number)(&m.Stability)
	}
	if everything || m.Point != (Point{}) {
		a.Points = [][2]float32{{m.Point.X, m.Point.Y}}
	}
	if everything {
		crop := corner(m.Crop)
		a.Crop = &crop
	}
	return a
}

// corner is x, y, width and height.
func corner(r image.Rectangle) [4]int { return [4]int{r.Min.X, r.Min.Y, r.Dx(), r.Dy()} }
