package picturefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
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
		got, err := Decode(t.Context(), bytes.NewReader(withOrientation(b.Bytes(), orientation)), MaxBytes)
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

// drawn are small pictures of formulas, as Pillow 13 writes them: the file, and
// SHA-256 of the pixels that Pillow reads, as RGB, and after a bicubic resize to
// 6×5. Pictures that the camera turned are compared upright.
var drawn = map[string]struct{ file, pixels, resized string }{
	"WebP": {
		"UklGRl4AAABXRUJQVlA4IFIAAAAQAgCdASoJAAcAAoBCJbACdDXAAZAkKmdgAPw6BPkHzHkOB+l1Ew/w4fMQ9aD4EYT/8NDZG8Sxl+X7aK3xaux+YrL/3S/qSRPteH6/X/BvUgAA",
		"774cfd263e1a061f24a55e73fa41ca87d56e021a12574d15e5bb799c8e1eac7b",
		"13c381f74a9b0bff2f089302900285ccd0a4ece6e269a9223f94679f7b3f81a7",
	},
	"WebP with alpha": {
		"UklGRpAAAABXRUJQVlA4WAoAAAAQAAAACAAABgAAQUxQSBcAAAABuYzof4BI22ZsEuZf7NENREzABDBTJwBWUDggUgAAABACAJ0BKgkABwACgEIlsAJ0NcABbw+wD2AA/DoE+QfMeQ4HxO2xM1+zE0PkW/BHFP/DQ2RvFDJl+X7Rivi1dj+dmU/zF/5d5+H2eL6/4N6kAAA=",
		"e2c38a3ec6491c9460cdea03b970ef2a563bb339752710a7a00230cc24b57c45",
		"54e45fc64a1bd25973489d0783222889953dd52ef423400f47fcf4b828e19262",
	},
	"WebP turned": {
		"UklGRnYAAABXRUJQVlA4WAoAAAAIAAAAAgAAAQAAVlA4TDUAAAAvAkAAAC9AIEAR/j/tgxtCghTbqKpt24ZxSf//2yzzHw8HHCb5mwOFbCPAoXs9TuEi+h/LCwBFWElGGgAAAE1NACoAAAAIAAEBEgADAAAAAQAGAAAAAAAA",
		"42a8a510b1fc477d12eb15ffeea0e45bb802c9897c665350976f1f1ac9042255",
		"46c448dba28435b14c70ceea2f0d1b7fa675c3d595afe4d47a3d4492c6ec226f",
	},
	"TIFF turned": {
		"SUkqAAgAAAALAAABBAABAAAAAwAAAAEBBAABAAAAAgAAAAIBAwADAAAAkgAAAAMBAwABAAAAAQAAAAYBAwABAAAAAgAAABEBBAABAAAAmAAAABIBAwABAAAABgAAABUBAwABAAAAAwAAABYBBAABAAAAAgAAABcBBAABAAAAEgAAABwBAwABAAAAAQAAAAAAAAAIAAgACAAA/wAX7gAu3QAHAgAe8QU14Ao=",
		"42a8a510b1fc477d12eb15ffeea0e45bb802c9897c665350976f1f1ac9042255",
		"46c448dba28435b14c70ceea2f0d1b7fa675c3d595afe4d47a3d4492c6ec226f",
	},
	"PNG with a transparent color": {
		"iVBORw0KGgoAAAANSUhEUgAAAAkAAAAHCAIAAABV+fA3AAAABnRSTlMAcQDEADwT3Yz1AAAAO0lEQVR4nGNk+M8g/h47YmFnZmB/z8rOjAWxsDMzsDOzsjNzYSJkOX40hCYngoww5SThCCb3HllODoIAjRcP1kkF+LEAAAAASUVORK5CYII=",
		"a929edfce5dd11e50b6a31df307284bc53998aea952eb88d2ce0492bb056de3e",
		"a16b191dcaaa5f9ae0067b64f94f8995f29a97972a89f6662c3482d083179b69",
	},
	"PNG with a transparent gray": {
		"iVBORw0KGgoAAAANSUhEUgAAAAkAAAAHCAAAAAD/8Di8AAAAAnRSTlMAnI8qElcAAAA2SURBVHicBcGBEYAgEAPBew012LhDtSRhd7aPbdvz/o7jWNLTJIm00qaNpNK2SKtAYT72wMAFUdkkzYydkksAAAAASUVORK5CYII=",
		"d32ee8cbfc784ce29c698fc7a67c590d7828a1c97c144ee0a079be57341827ae",
		"c92c324746aced27d6ae8770864a042994850e890f919a796868008569ea1855",
	},
	"PNG of two grays": {
		"iVBORw0KGgoAAAANSUhEUgAAAAkAAAAHCAAAAAD/8Di8AAAAHElEQVR4nGNkYGBgYGD4z8DABGNAWQz4WP9RxQCFrAMLEfLlRgAAAABJRU5ErkJggg==",
		"b0ba0909d2eb90bcf1c4732e9c1dc76489e59fea5ba138260c50def67ac8f116",
		"6f4543acafd8cc10ebd83e446c783829ca957e10c1ecb9575a790690bec77fe6",
	},
	"PNG of single bits": {
		"iVBORw0KGgoAAAANSUhEUgAAAAkAAAAHAQAAAADy4FrNAAAAFklEQVR4nGNkrmViYWBigCEOBiYGBgAKlwCaqU+JkQAAAABJRU5ErkJggg==",
		"b0ba0909d2eb90bcf1c4732e9c1dc76489e59fea5ba138260c50def67ac8f116",
		"67ec8c390a63194bd3ea279de17d04cff4b604463b5b439c7bd841a2ee000e1e",
	},
}

func TestDecodeAsPillow(t *testing.T) {
	for name, c := range drawn {
		t.Run(name, func(t *testing.T) {
			data, err := base64.StdEncoding.DecodeString(c.file)
			require.NoError(t, err)
			img, err := Decode(t.Context(), bytes.NewReader(data), MaxBytes)
			require.NoError(t, err)
			rgb, err := pix.ToRGB(t.Context(), img)
			require.NoError(t, err)
			require.Equal(t, c.pixels, fmt.Sprintf("%x", sha256.Sum256(rgb.Pix)))
			rgb, err = pix.Resize(t.Context(), img, pix.Whole(image.Pt(6, 5), pix.Bicubic()))
			require.NoError(t, err)
			require.Equal(t, c.resized, fmt.Sprintf("%x", sha256.Sum256(rgb.Pix)))
		})
	}
}

// A header that promises more pixels than are accepted is refused before
// anything is allocated for them.
func TestDecodeRefusesBombs(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))))
	data := b.Bytes()
	const name, width, height, checksum = 12, 16, 20, 29 // in a PNG's header
	for _, side := range []uint32{1<<14 + 1, 1<<31 - 1} {
		binary.BigEndian.PutUint32(data[width:], side)
		binary.BigEndian.PutUint32(data[height:], side)
		binary.BigEndian.PutUint32(data[checksum:], crc32.ChecksumIEEE(data[name:checksum]))
		_, err := Decode(t.Context(), bytes.NewReader(data), MaxBytes)
		require.ErrorIs(t, err, ErrPicture)
		require.ErrorIs(t, err, pix.ErrSize)
	}
	_, err := Decode(t.Context(), bytes.NewReader(nil), MaxBytes)
	require.ErrorIs(t, err, image.ErrFormat)
}

func FuzzDecode(f *testing.F) {
	img := image.NewPaletted(image.Rect(0, 0, 9, 7), color.Palette{color.Black, color.White})
	var b bytes.Buffer
	require.NoError(f, jpeg.Encode(&b, img, nil))
	f.Add(withOrientation(b.Bytes(), 6))
	for _, encode := range []func(io.Writer) error{
		func(w io.Writer) error { return gif.Encode(w, img, nil) },
		func(w io.Writer) error { return png.Encode(w, img) },
		func(w io.Writer) error { return bmp.Encode(w, img) },
		func(w io.Writer) error { return tiff.Encode(w, img, &tiff.Options{Compression: tiff.Deflate}) },
	} {
		b.Reset()
		require.NoError(f, encode(&b))
		f.Add(bytes.Clone(b.Bytes()))
	}
	for _, c := range drawn {
		data, err := base64.StdEncoding.DecodeString(c.file)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, dir := range []string{"pictures", "cases/pictures"} {
		files, err := filepath.Glob(filepath.Join(golden.Root(f), "..", dir, "*"))
		require.NoError(f, err)
		require.NotEmpty(f, files)
		for _, path := range files {
			data, err := os.ReadFile(path)
			require.NoError(f, err)
			f.Add(data)
		}
	}
	// The limit, not the header, keeps memory small.
	f.Fuzz(func(t *testing.T, data []byte) {
		const maxBytes = 4 << 20
		img, err := Decode(t.Context(), bytes.NewReader(data), maxBytes)
		if err != nil {
			require.True(t, errors.Is(err, ErrPicture), "%v", err)
			return
		}
		require.LessOrEqual(t, len(img.Pix), maxBytes)
		_, err = pix.Resize(t.Context(), img, pix.Whole(image.Pt(3, 2), pix.Bicubic()))
		require.NoError(t, err)
	})
}
