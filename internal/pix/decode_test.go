package pix

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"
)

// withOrientation puts an EXIF segment behind the start marker of a JPEG.
func withOrientation(jpg []byte, orientation uint16) []byte {
	be := binary.BigEndian
	tiff := []byte("MM\x00\x2a\x00\x00\x00\x08\x00\x01")
	tiff = be.AppendUint16(tiff, 0x0112)
	tiff = be.AppendUint16(tiff, 3)
	tiff = be.AppendUint32(tiff, 1)
	tiff = be.AppendUint16(tiff, orientation)
	tiff = append(tiff, 0, 0, 0, 0, 0, 0)
	body := append([]byte("Exif\x00\x00"), tiff...)
	segment := be.AppendUint16([]byte{0xff, 0xe1}, uint16(len(body)+2))
	out := append([]byte(nil), jpg[:2]...)
	out = append(out, segment...)
	out = append(out, body...)
	return append(out, jpg[2:]...)
}

// A white mark in the corner that is the upper left one of the scene must come
// out there, whichever way the camera was held.
func TestDecodeTurnsUpright(t *testing.T) {
	corner := map[uint16]image.Point{1: {0, 0}, 2: {1, 0}, 3: {1, 1}, 4: {0, 1}, 5: {0, 0}, 6: {0, 1}, 7: {1, 1}, 8: {1, 0}}
	for orientation, c := range corner {
		img := image.NewGray(image.Rect(0, 0, 32, 48))
		for y := range 16 {
			for x := range 16 {
				img.SetGray(c.X*16+x, c.Y*32+y, color.Gray{255})
			}
		}
		var b bytes.Buffer
		require.NoError(t, jpeg.Encode(&b, img, nil))
		got, err := Decode(bytes.NewReader(withOrientation(b.Bytes(), orientation)))
		require.NoError(t, err)
		want := image.Pt(32, 48)
		if orientation >= 5 {
			want = image.Pt(48, 32)
		}
		require.Equal(t, want, got.Bounds().Size(), "orientation %d", orientation)
		y := color.GrayModel.Convert(got.At(3, 3)).(color.Gray).Y
		require.Greater(t, y, uint8(200), "orientation %d", orientation)
	}
}

// djpeg 2.1.5 (libjpeg-turbo), default "fancy" upsampling, of one row of
// chroma samples 0 100 200 next to 100 100 100.
func TestTriangleUpsampling(t *testing.T) {
	out := make([]uint8, 6)
	h2v1(out, []uint8{0, 100, 200})
	require.Equal(t, []uint8{0, 25, 75, 125, 175, 200}, out)
	h2v2(out, []int32{3*0 + 100, 3*100 + 100, 3*200 + 100})
	require.Equal(t, []uint8{25, 44, 81, 119, 156, 175}, out)
}

func TestDecodeRefusesBombs(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))))
	data := b.Bytes()
	binary.BigEndian.PutUint32(data[16:], 1<<20)
	binary.BigEndian.PutUint32(data[20:], 1<<20)
	// The header's checksum is now wrong too; either is an error, none a crash.
	_, err := Decode(bytes.NewReader(data))
	require.Error(t, err)
	_, err = Decode(bytes.NewReader(nil))
	require.ErrorIs(t, err, image.ErrFormat)
}

func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewRGBA(image.Rect(0, 0, 9, 7)), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(withOrientation(b.Bytes(), 6))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, _, err := image.DecodeConfig(bytes.NewReader(data)); err == nil && c.Width*c.Height > 1<<20 {
			return
		}
		_, _ = Decode(bytes.NewReader(data))
	})
}
