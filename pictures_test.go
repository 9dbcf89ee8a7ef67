package clipsurgery_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/webp"
)

// pictureCase is an entry of testdata/cases/pictures.json, which cases.md beside
// it describes.
type pictureCase struct {
	File, Kind, Why string
	Width, Height   int
	Mode            string
	RGBHash         string   `json:"rgb_sha256"`
	SmallHash       string   `json:"small_sha256"`
	SquareHash      string   `json:"square_sha256"`
	OrError         []string `json:"or_error"`
	Error           []string
	Via             string
	Crop            int
	CropHash        string `json:"crop_sha256"`
}

func readPictureCases(t testing.TB) (dir string, cases struct{ Pictures, Crops []pictureCase }) {
	dir = filepath.Join(golden.Root(t), "..", "cases")
	data, err := os.ReadFile(filepath.Join(dir, "pictures.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &cases))
	require.NotEmpty(t, cases.Pictures)
	require.NotEmpty(t, cases.Crops)
	return dir, cases
}

// Every case holds to the byte, JPEGs too; what may be refused is read.
func TestPictureCases(t *testing.T) {
	dir, cases := readPictureCases(t)
	for _, c := range cases.Pictures {
		t.Run(c.File, func(t *testing.T) {
			img, err := openCase(dir, c)
			if c.Error != nil {
				require.ErrorIs(t, err, clipsurgery.ErrPicture)
				for _, word := range c.Error {
					require.Contains(t, strings.ToLower(err.Error()), word)
				}
				return
			}
			require.NoError(t, err, c.Why)
			if p, ok := img.(*pix.Picture); ok {
				require.Equal(t, c.Mode, p.Mode.String())
			}
			rgb, err := pix.ToRGB(t.Context(), img)
			require.NoError(t, err)
			require.Equal(t, image.Pt(c.Width, c.Height), image.Pt(rgb.Width, rgb.Height))
			c.compare(t, "rgb", rgb, c.RGBHash)
			for name, size := range map[string]image.Point{"small": image.Pt(37, 29), "square": image.Pt(32, 32)} {
				got, err := pix.Resize(t.Context(), img, pix.Whole(size, pix.Bicubic()))
				require.NoError(t, err)
				hash := c.SmallHash
				if name == "square" {
					hash = c.SquareHash
				}
				c.compare(t, name, got, hash)
			}
		})
	}
}

// Files of every format as Pillow reads and resizes them, made for this test.
func TestPicturesAsPillow(t *testing.T) {
	dir := filepath.Join(golden.Root(t), "..", "pictures")
	data, err := os.ReadFile(filepath.Join(dir, "pictures.json"))
	require.NoError(t, err)
	var cases struct{ Pictures []pictureCase }
	require.NoError(t, json.Unmarshal(data, &cases))
	require.NotEmpty(t, cases.Pictures)
	for _, c := range cases.Pictures {
		t.Run(c.File, func(t *testing.T) {
			img, err := clipsurgery.OpenPicture(filepath.Join(dir, c.File))
			require.NoError(t, err)
			require.Equal(t, c.Mode, img.(*pix.Picture).Mode.String())
			rgb, err := pix.ToRGB(t.Context(), img)
			require.NoError(t, err)
			c.compare(t, "rgb", rgb, c.RGBHash)
			small, err := pix.Resize(t.Context(), img, pix.Whole(image.Pt(37, 29), pix.Bicubic()))
			require.NoError(t, err)
			c.compare(t, "small", small, c.SmallHash)
		})
	}
}

func openCase(dir string, c pictureCase) (image.Image, error) {
	path := filepath.Join(dir, c.File)
	if c.Via == "" {
		return clipsurgery.OpenPicture(path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return webp.Decode(bytes.NewReader(data))
}

// compare demands the right bytes.
func (c pictureCase) compare(t *testing.T, name string, got *pix.RGB, hash string) {
	t.Helper()
	sum := sha256.Sum256(got.Pix)
	require.Equal(t, hash, hex.EncodeToString(sum[:]), "%s: %s", name, c.Why)
}

// CenterCrop computes only what it keeps, through the public way.
func TestCropCases(t *testing.T) {
	dir, cases := readPictureCases(t)
	f, err := shapes.CLIP()
	require.NoError(t, err)
	clip, err := vit.Load(f)
	require.NoError(t, err)
	for _, c := range cases.Crops {
		t.Run(c.File, func(t *testing.T) {
			img, err := clipsurgery.OpenPicture(filepath.Join(dir, c.File))
			require.NoError(t, err)
			target, err := pix.CenterCrop(img.Bounds().Size(), c.Crop, pix.Bicubic())
			require.NoError(t, err)
			rgb, err := pix.Resize(t.Context(), img, target)
			require.NoError(t, err)
			sum := sha256.Sum256(rgb.Pix)
			require.Equal(t, c.CropHash, hex.EncodeToString(sum[:]), c.Why)
			p, err := clip.Preprocess(img, vit.CenterCrop(c.Crop))
			require.NoError(t, err)
			want := make([]float32, len(rgb.Pix))
			rgb.Planes(want, true, clip.Config().Mean, clip.Config().Std)
			require.Equal(t, want, p.Data)
		})
	}
}

func TestDecodePictureMisuse(t *testing.T) {
	_, err := clipsurgery.DecodePicture(nil)
	require.ErrorIs(t, err, clipsurgery.ErrPicture)
	_, err = clipsurgery.DecodePicture(bytes.NewReader(nil))
	require.ErrorIs(t, err, clipsurgery.ErrPicture)
	require.ErrorIs(t, err, image.ErrFormat)
	_, err = clipsurgery.OpenPicture(filepath.Join(t.TempDir(), "none.png"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = clipsurgery.OpenPicture(t.TempDir())
	require.Error(t, err)

	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewRGBA(image.Rect(0, 0, 100, 100))))
	_, err = clipsurgery.DecodePicture(bytes.NewReader(b.Bytes()), clipsurgery.MaxPictureBytes(40000))
	require.NoError(t, err)
	_, err = clipsurgery.DecodePicture(bytes.NewReader(b.Bytes()), clipsurgery.MaxPictureBytes(29999))
	require.ErrorIs(t, err, clipsurgery.ErrPictureSize)
	require.ErrorIs(t, err, clipsurgery.ErrPicture)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = clipsurgery.DecodePicture(bytes.NewReader(b.Bytes()), clipsurgery.PictureContext(ctx))
	require.ErrorIs(t, err, context.Canceled)
}
