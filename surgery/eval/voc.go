package eval

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/clipsurgery/clipsurgery/surgery"
)

// VOC says where a data set in the manner of PASCAL VOC keeps its parts.
// Paths are relative to its folder; the zero value is VOC 2012's validation
// set.
type VOC struct {
	Pictures string // folder of NAME.jpg or NAME.png; default JPEGImages
	Labels   string // folder of NAME.png; default SegmentationClass
	List     string // file of names, one a line; default ImageSets/Segmentation/val.txt
	// WithoutZero makes label 0 Ignore and label n class n-1, as for the 59
	// classes of PASCAL Context and the 20 of VOC.
	WithoutZero bool
}

// PASCALContext is where PASCAL Context's 59 classes and their background lie,
// as MMSegmentation has them.
func PASCALContext() VOC {
	return VOC{Labels: "SegmentationClassContext", List: "ImageSets/SegmentationContext/val.txt"}
}

// OpenVOC lists the pictures of such a data set in the order of its list.
func OpenVOC(fsys fs.FS, v VOC) ([]Item, error) {
	pictures, labels := orDefault(v.Pictures, "JPEGImages"), orDefault(v.Labels, "SegmentationClass")
	list := orDefault(v.List, "ImageSets/Segmentation/val.txt")
	f, err := fsys.Open(list)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	defer f.Close()
	names, err := readList(f)
	if err != nil {
		return nil, fmt.Errorf("eval: %s: %w", list, err)
	}
	items := make([]Item, len(names))
	for i, name := range names {
		items[i] = Item{
			Name: name,
			Picture: func() (image.Image, error) {
				img, err := picture(fsys, path.Join(pictures, name+".jpg"))
				if errors.Is(err, fs.ErrNotExist) {
					return picture(fsys, path.Join(pictures, name+".png"))
				}
				return img, err
			},
			Truth: func() (Truth, error) {
				m, err := ReadLabels(fsys, path.Join(labels, name+".png"))
				if err == nil && v.WithoutZero {
					withoutZero(m)
				}
				return Truth{Labels: m}, err
			},
		}
	}
	return items, nil
}

func orDefault(s, without string) string {
	if s == "" {
		return without
	}
	return s
}

func withoutZero(m *surgery.LabelMap) {
	for i, c := range m.Labels {
		switch c {
		case 0:
			m.Labels[i] = surgery.Ignore
		case surgery.Ignore:
		default:
			m.Labels[i] = c - 1
		}
	}
}

// readList reads names, the first field of each line.
func readList(r io.Reader) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		name := fields[0]
		if !fs.ValidPath(name) || name == "." {
			return nil, fmt.Errorf("%w: %q: want the name of a picture", ErrFormat, name)
		}
		if seen[name] {
			return nil, fmt.Errorf("%w: %q is listed twice", ErrFormat, name)
		}
		seen[name] = true
		names = append(names, name)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: no names", ErrFormat)
	}
	return names, nil
}
