package picturefile

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"runtime"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/pix"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// bombs are small files of large pictures, by the bytes that a pixel takes.
func bombs(t *testing.T) map[string][]byte {
	const side = 3000
	r := image.Rect(0, 0, side, side)
	files := make(map[string][]byte)
	add := func(name string, encode func(w io.Writer) error) {
		var b bytes.Buffer
		require.NoError(t, encode(&b))
		files[name] = b.Bytes()
	}
	fast := png.Encoder{CompressionLevel: png.BestSpeed}
	two := color.Palette{color.Black, color.White}
	add("png gray", func(w io.Writer) error { return fast.Encode(w, image.NewGray(r)) })
	add("png 16 bits", func(w io.Writer) error { return fast.Encode(w, image.NewNRGBA64(image.Rect(0, 0, side, side/4))) })
	add("png wide", func(w io.Writer) error { return fast.Encode(w, image.NewGray(image.Rect(0, 0, 1<<23, 1))) })
	add("png tall", func(w io.Writer) error { return fast.Encode(w, image.NewPaletted(image.Rect(0, 0, 1, 1<<22), two)) })
	add("gif", func(w io.Writer) error { return gif.Encode(w, image.NewPaletted(r, two), nil) })
	add("bmp", func(w io.Writer) error { return bmp.Encode(w, image.NewGray(r)) })
	add("tiff", func(w io.Writer) error {
		return tiff.Encode(w, image.NewGray(r), &tiff.Options{Compression: tiff.Deflate})
	})
	files["tiff strips"] = stripsTIFF(side, side)
	add("jpeg", func(w io.Writer) error { return jpeg.Encode(w, image.NewGray(r), nil) })
	add("jpeg color", func(w io.Writer) error {
		return jpeg.Encode(w, image.NewYCbCr(r, image.YCbCrSubsampleRatio420), nil)
	})
	// 4000×4000 of one color, by Pillow 13.
	webp, err := base64.StdEncoding.DecodeString(bigWebP)
	require.NoError(t, err)
	files["webp"] = append(webp, make([]byte, bigWebPZeros)...)
	return files
}

// The memory of decoding and of the resize after it follows the picture: twice
// its bytes and a constant at most.
func TestDecodeMemory(t *testing.T) {
	for name, data := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p, err := Decode(t.Context(), bytes.NewReader(data), MaxBytes)
			require.NoError(t, err)
			_, err = pix.Resize(t.Context(), p, pix.Whole(image.Pt(224, 224), pix.Bicubic()))
			require.NoError(t, err)
			_, err = new(pix.Scratch).ResizeRGB(t.Context(), p, pix.Whole(image.Pt(256, 200), pix.Triangle()))
			require.NoError(t, err)
			runtime.ReadMemStats(&after)
			used := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d bytes of file, %d of picture: %d allocated", len(data), len(p.Pix), used)
			require.Less(t, used, uint64(2*len(p.Pix)+64<<20))
		})
	}
}

// A limit is looked at before anything of the picture's size is allocated.
func TestLimitBeforeMemory(t *testing.T) {
	for name, data := range bombs(t) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(t.Context(), bytes.NewReader(data), max(1<<20, int64(len(data))))
		runtime.ReadMemStats(&after)
		if name == "bmp" { // as large as its picture
			continue
		}
		require.ErrorIs(t, err, pix.ErrSize, name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(2*len(data)+1<<20), name)
	}
}

// endless gives zeros behind a PNG's signature.
type endless struct{ began bool }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	if !e.began {
		e.began = true
		copy(p, "\x89PNG\r\n\x1a\n")
	}
	return len(p), nil
}

func TestEndlessFile(t *testing.T) {
	_, err := Decode(t.Context(), new(endless), 1<<20)
	require.ErrorIs(t, err, pix.ErrSize)
	_, err = Decode(t.Context(), zeros{}, 1<<20)
	require.ErrorIs(t, err, ErrPicture)
}

// stuck gives nothing behind a PNG's signature.
type stuck struct{ endless }

func (s *stuck) Read(p []byte) (int, error) {
	if s.began {
		return 0, nil
	}
	return s.endless.Read(p)
}

func TestStuckReader(t *testing.T) {
	_, err := Decode(t.Context(), new(stuck), 1<<20)
	require.ErrorIs(t, err, io.ErrNoProgress)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// later is canceled once it was asked some times.
type later struct {
	context.Context
	asked *int
	end   int
}

func (l later) Err() error {
	if *l.asked++; *l.asked > l.end {
		return context.Canceled
	}
	return nil
}

// Every decoder asks its context while it works.
func TestContextEndsDecoding(t *testing.T) {
	for name, data := range bombs(t) {
		for _, end := range []int{0, 4} {
			asked := 0
			_, err := Decode(later{t.Context(), &asked, end}, bytes.NewReader(data), MaxBytes)
			require.ErrorIs(t, err, context.Canceled, name)
		}
	}
}

// Headers that lie about what follows are errors, for every format.
func TestTruncated(t *testing.T) {
	for name, data := range bombs(t) {
		for _, n := range []int{3, 16, 20, 30, len(data) / 3} {
			_, err := Decode(t.Context(), bytes.NewReader(data[:n]), MaxBytes)
			require.ErrorIs(t, err, ErrPicture, "%s of %d bytes", name, n)
		}
	}
}

// resizeHeader changes the width in a PNG's header.
func resizeHeader(data []byte, width uint32) []byte {
	data = bytes.Clone(data)
	binary.BigEndian.PutUint32(data[16:], width)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return data
}

func TestHeaderLargerThanPixels(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 20, 20))))
	_, err := Decode(t.Context(), bytes.NewReader(resizeHeader(b.Bytes(), 21)), MaxBytes)
	require.ErrorIs(t, err, ErrPicture)
}

const (
	bigWebP      = "UklGRqACAABXRUJQVlA4TJQCAAAvn8/nAwdQiirUo/9hLCFBgv+32yMi9UZB2zZM+bPftRTR/wkAkuT//yBERKTk+Y///Pfff//5z3///fef//z333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff//9999///3333///ffff/7bOQ=="
	bigWebPZeros = 1
)

// Rows that would take more memory than is promised are refused.
func TestWideRows(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray16(image.Rect(0, 0, 20, 1))))
	_, err := Decode(t.Context(), bytes.NewReader(resizeHeader(b.Bytes(), 1<<27)), MaxBytes)
	require.ErrorContains(t, err, "rows of 134217728 pixels")
}

// stripsTIFF is a picture in strips of a row, all of which are the same bytes.
func stripsTIFF(width, height uint32) []byte {
	var row []byte
	var acc uint32
	var bits uint
	put := func(code uint32) {
		acc, bits = acc<<9|code, bits+9
		for ; bits >= 8; bits -= 8 {
			row = append(row, byte(acc>>(bits-8)))
		}
		acc &= 1<<bits - 1
	}
	for i := range width {
		if i%200 == 0 { // before codes grow to ten bits
			put(lzwClear)
		}
		put(0)
	}
	put(lzwEnd)
	row = append(row, byte(acc<<(8-bits)), 0)
	le := binary.LittleEndian
	out := le.AppendUint32([]byte("II*\x00"), uint32(8+len(row)))
	out = append(out, row...)
	lists := uint32(len(out) + 2 + 12*9 + 4)
	out = le.AppendUint16(out, 9)
	for _, e := range [][3]uint32{{tiffWidth, 1, width}, {tiffHeight, 1, height}, {tiffBits, 1, 8}, {tiffCompression, 1, tiffLZW}, {tiffPhotometric, 1, 1},
		{tiffStripOffsets, height, lists}, {tiffSamples, 1, 1}, {tiffRowsPerStrip, 1, 1}, {tiffStripCounts, height, lists + 4*height}} {
		out = le.AppendUint16(out, uint16(e[0]))
		out = le.AppendUint16(out, 4)
		out = le.AppendUint32(le.AppendUint32(out, e[1]), e[2])
	}
	out = le.AppendUint32(out, 0)
	for range height {
		out = le.AppendUint32(out, 8)
	}
	for range height {
		out = le.AppendUint32(out, uint32(len(row)))
	}
	return out
}

// Strips that all begin with the same long stretch of nothing do not stall.
func TestSharedStrips(t *testing.T) {
	data := stripsTIFF(64, 4000)
	n := binary.LittleEndian.Uint32(data[4:])
	nothing := bytes.Repeat([]byte{0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01, 0x00}, 100_000/9) // clear codes
	at := uint32(len(data))
	data = append(append(data, nothing...), data[8:n]...)
	le := binary.LittleEndian
	lists := n + 2 + 12*9 + 4
	for i := range uint32(4000) {
		le.PutUint32(data[lists+4*i:], at)
		le.PutUint32(data[lists+4*(4000+i):], uint32(len(data))-at)
	}
	_, err := Decode(t.Context(), bytes.NewReader(data), MaxBytes)
	require.ErrorIs(t, err, ErrPicture)
	require.ErrorContains(t, err, "share")
}
