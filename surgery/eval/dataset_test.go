package eval

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/stretchr/testify/require"
)

// Masks of pycocotools: see tools/coco/coco.py.
func TestCOCOMasks(t *testing.T) {
	data, err := os.ReadFile("testdata/coco.json")
	require.NoError(t, err)
	var f struct {
		Images []struct{ Width, Height int }
		Masks  []string
		cocoFile
	}
	require.NoError(t, json.Unmarshal(data, &f))
	var file cocoFile
	require.NoError(t, json.Unmarshal(data, &file))
	require.Len(t, f.Masks, len(file.Annotations))
	for i, o := range file.Annotations {
		size := file.Images[o.Image-100]
		mask, err := segmentation(o.Segmentation, image.Pt(size.Width, size.Height))
		require.NoError(t, err)
		var got strings.Builder
		for i, n := range mask {
			got.WriteString(strings.Repeat("01"[i%2:i%2+1], int(n)))
		}
		require.Equal(t, f.Masks[i], got.String(), "object %d", i)
	}

	set, err := ReadCOCO(bytes.NewReader(data), fstest.MapFS{})
	require.NoError(t, err)
	require.Equal(t, []string{"background", "cat", "bus", "dog"}, set.Classes)
	require.Len(t, set.Items, 12)
	seen := map[uint16]bool{}
	for i, item := range set.Items {
		truth, err := item.Truth()
		require.NoError(t, err)
		require.Equal(t, file.Images[i].Width, truth.Labels.Width)
		for _, c := range truth.Labels.Labels {
			seen[c] = true
		}
	}
	require.Len(t, seen, 5, "all classes, nothing and crowds")
	_, err = set.Items[0].Picture()
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Smaller objects lie on larger ones, and crowds below all.
func TestCOCOOrder(t *testing.T) {
	set, err := ReadCOCO(strings.NewReader(`{"images":[{"id":1,"file_name":"a.jpg","width":6,"height":4}],
		"categories":[{"id":9,"name":"b"},{"id":2,"name":"a"}],"annotations":[
		{"image_id":1,"category_id":2,"area":4,"segmentation":[[1,1,3,1,3,3,1,3]]},
		{"image_id":1,"category_id":9,"area":16,"segmentation":[[0,0,4,0,4,4,0,4]]},
		{"image_id":1,"category_id":9,"area":1,"iscrowd":1,"segmentation":{"size":[4,6],"counts":[8,16]}}]}`), fstest.MapFS{})
	require.NoError(t, err)
	truth, err := set.Items[0].Truth()
	require.NoError(t, err)
	no := uint16(surgery.Ignore)
	require.Equal(t, []uint16{
		2, 2, 2, 2, no, no,
		2, 1, 1, 2, no, no,
		2, 1, 1, 2, no, no,
		2, 2, 2, 2, no, no}, truth.Labels.Labels)
}

func TestCOCOErrors(t *testing.T) {
	const image = `{"id":1,"file_name":"a.jpg","width":6,"height":4}`
	for _, data := range []string{
		``, `{`, `[]`,
		`{"images":[{"id":1,"file_name":"../a","width":6,"height":4}]}`,
		`{"images":[{"id":1,"file_name":"a","width":6}]}`,
		`{"images":[{"id":1,"file_name":"a","width":1000000,"height":1000000}]}`,
		`{"annotations":[{"image_id":1,"category_id":2}]}`,
		`{"categories":[{"id":2},{"id":2}]}`,
		`{"categories":[{"id":2}],"annotations":[{"image_id":1,"category_id":2}]}`,
	} {
		_, err := ReadCOCO(strings.NewReader(data), fstest.MapFS{})
		require.ErrorIs(t, err, ErrFormat, data)
	}
	for _, seg := range []string{`null`, `7`, `[[1,2]]`, `[[1,2,3,4,5]]`, `[[1e300,2,3,4,5,6]]`, `[["a"]]`,
		`{"size":[4,6],"counts":[25]}`, `{"size":[4,6],"counts":[-1,25]}`, `{"size":[4,6],"counts":[3]}`, `{"size":[6,4],"counts":[24]}`,
		`{"size":[4,6],"counts":"\u00ff"}`, `{"size":[4,6],"counts":"P"}`, `{"size":[4,6],"counts":"oooooooooooo0"}`, `{"size":[4,6]}`} {
		set, err := ReadCOCO(strings.NewReader(`{"images":[`+image+`],"categories":[{"id":2}],"annotations":[{"image_id":1,"category_id":2,"segmentation":`+seg+`}]}`), fstest.MapFS{})
		require.NoError(t, err, seg)
		_, err = set.Items[0].Truth()
		require.ErrorIs(t, err, ErrFormat, seg)
	}
}

func encodePNG(t testing.TB, img image.Image) *fstest.MapFile {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	return &fstest.MapFile{Data: b.Bytes()}
}

func TestVOC(t *testing.T) {
	truth := image.NewPaletted(image.Rect(0, 0, 3, 2), surgery.Palette(256))
	copy(truth.Pix, []uint8{0, 1, 20, 255, 3, 0})
	gray := image.NewGray16(image.Rect(0, 0, 2, 1))
	gray.SetGray16(0, 0, color.Gray16{458})
	gray.SetGray16(1, 0, color.Gray16{65535})
	fsys := fstest.MapFS{
		"ImageSets/Segmentation/val.txt":        {Data: []byte("one\n\n two -1\r\n")},
		"ImageSets/SegmentationContext/val.txt": {Data: []byte("one\n")},
		"JPEGImages/one.png":                    encodePNG(t, image.NewGray(image.Rect(0, 0, 3, 2))),
		"SegmentationClass/one.png":             encodePNG(t, truth),
		"SegmentationClass/two.png":             encodePNG(t, gray),
		"SegmentationClassContext/one.png":      encodePNG(t, truth),
		"SegmentationClass/bad.png":             encodePNG(t, image.NewNRGBA(image.Rect(0, 0, 1, 1))),
	}
	items, err := OpenVOC(fsys, VOC{})
	require.NoError(t, err)
	require.Len(t, items, 2)
	img, err := items[0].Picture()
	require.NoError(t, err)
	require.Equal(t, image.Pt(3, 2), img.Bounds().Size())
	x, err := items[0].Truth()
	require.NoError(t, err)
	no := uint16(surgery.Ignore)
	require.Equal(t, []uint16{0, 1, 20, no, 3, 0}, x.Labels.Labels)
	x, err = items[1].Truth()
	require.NoError(t, err)
	require.Equal(t, []uint16{458, no}, x.Labels.Labels)
	_, err = items[1].Picture()
	require.ErrorIs(t, err, os.ErrNotExist)

	context := PASCALContext()
	context.WithoutZero = true
	items, err = OpenVOC(fsys, context)
	require.NoError(t, err)
	x, err = items[0].Truth()
	require.NoError(t, err)
	require.Equal(t, []uint16{no, 0, 19, no, 2, no}, x.Labels.Labels)

	for list, want := range map[string]string{"": "no names", "../up\n": "want the name of a picture", "a\na\n": "twice"} {
		fsys["bad.txt"] = &fstest.MapFile{Data: []byte(list)}
		_, err = OpenVOC(fsys, VOC{List: "bad.txt"})
		require.ErrorIs(t, err, ErrFormat)
		require.ErrorContains(t, err, want)
	}
	_, err = OpenVOC(fsys, VOC{List: "none.txt"})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = ReadLabels(fsys, "SegmentationClass/bad.png")
	require.ErrorIs(t, err, ErrFormat)
	_, err = ReadLabels(fsys, "bad.txt")
	require.ErrorIs(t, err, ErrFormat)
}

func FuzzReadCOCO(f *testing.F) {
	f.Add([]byte(`{"images":[{"id":1,"file_name":"a","width":6,"height":4}],"categories":[{"id":2}],"annotations":[{"image_id":1,"category_id":2,"segmentation":[[1,1,3,1,3,3,1,3]]}]}`))
	f.Add([]byte(`{"images":[{"id":1,"file_name":"a","width":6,"height":4}],"categories":[{"id":2}],"annotations":[{"image_id":1,"category_id":2,"segmentation":{"size":[4,6],"counts":"P3"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ReadCOCO(bytes.NewReader(data), fstest.MapFS{})
		if err != nil {
			return
		}
		for i, item := range set.Items {
			if truth, err := item.Truth(); err == nil && i < 4 {
				_ = truth.Labels.Present(len(set.Classes))
			}
			if i == 4 {
				break
			}
		}
	})
}

func FuzzLabels(f *testing.F) {
	f.Add(encodePNG(f, image.NewGray(image.Rect(0, 0, 3, 2))).Data)
	f.Add(encodePNG(f, image.NewPaletted(image.Rect(0, 0, 3, 2), surgery.Palette(4))).Data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 24 && bytes.Contains(data[16:24], []byte{0xff}) {
			return // large pictures are slow, not wrong
		}
		m, err := decodeLabels(data)
		if err == nil {
			require.Len(t, m.Labels, m.Width*m.Height)
		}
	})
}

func FuzzList(f *testing.F) {
	f.Add([]byte("2007_000033\n2007_000042 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := readList(bytes.NewReader(data))
		require.Equal(t, err == nil, len(names) > 0)
	})
}
