package jpeg

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"image"
	stdjpeg "image/jpeg"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.jpg")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	files := make(map[string][]byte)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		files[filepath.Base(path[:len(path)-len(".jpg")])] = data
	}
	return files
}

// Pixels are those of Pillow, see tools/jpegs/jpegs.py.
func TestPixels(t *testing.T) {
	var wanted map[string]struct {
		Width, Height, Channels int
		SHA256                  string
	}
	text, err := os.ReadFile("testdata/pixels.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &wanted))
	files := fixtures(t)
	require.Len(t, files, len(wanted))
	for name, want := range wanted {
		p, err := Decode(t.Context(), files[name], 1<<20)
		require.NoError(t, err, name)
		require.Equal(t, Config{want.Width, want.Height, want.Channels}, p.Config, name)
		sum := sha256.Sum256(p.Pix)
		require.Equal(t, want.SHA256, hex.EncodeToString(sum[:]), name)
	}
}

func TestTruncated(t *testing.T) {
	for name, data := range fixtures(t) {
		for n := range len(data) * 2 / 3 {
			_, err := Decode(t.Context(), data[:n], 1<<20)
			require.ErrorIs(t, err, ErrFormat, "%s of %d bytes", name, n)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s of %d bytes", name, n)
		}
	}
}

// A file without Huffman tables has the standard ones.
func TestStandardCodes(t *testing.T) {
	data := fixtures(t)["baseline_420"]
	want, err := Decode(t.Context(), data, 1<<20)
	require.NoError(t, err)
	for range 4 {
		at := bytes.Index(data, []byte{0xff, markerDHT})
		size := 2 + int(binary.BigEndian.Uint16(data[at+2:]))
		data = append(bytes.Clone(data[:at]), data[at+size:]...)
	}
	require.NotContains(t, string(data), "\xff\xc4")
	got, err := Decode(t.Context(), data, 1<<20)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// replaceFrame changes the marker of the frame.
func replaceFrame(data []byte, marker uint8) []byte {
	data = bytes.Clone(data)
	for _, m := range []uint8{markerSOF0, markerSOF2} {
		if i := bytes.Index(data, []byte{0xff, m, 0, 17}); i > 0 {
			data[i+1] = marker
		}
	}
	return data
}

func TestUnsupported(t *testing.T) {
	data := fixtures(t)["baseline_420"]
	frame := bytes.Index(data, []byte{0xff, markerSOF0})
	patched := func(offset int, v uint8) []byte {
		c := bytes.Clone(data)
		c[frame+offset] = v
		return c
	}
	fractional := patched(11, 0x32)
	fractional[frame+14] = 0x22
	for _, c := range []struct {
		data []byte
		text string
	}{
		{replaceFrame(data, 0xc3), "lossless"},
		{replaceFrame(data, 0xc5), "hierarchical"},
		{replaceFrame(data, 0xc9), "arithmetic"},
		{patched(4, 12), "12-bit"},
		{patched(6, 0), "DNL"},
		{fractional, "fractional"},
		{lackingScans(fixtures(t)["progressive_444"]), "lacks scans"},
	} {
		_, err := Decode(t.Context(), c.data, 1<<20)
		require.ErrorIs(t, err, ErrUnsupported, c.text)
		require.ErrorContains(t, err, c.text)
	}
}

// lackingScans ends a file before its third scan.
func lackingScans(data []byte) []byte {
	at := 0
	for range 3 {
		at += 2 + bytes.Index(data[at+2:], []byte{0xff, markerSOS})
	}
	return append(bytes.Clone(data[:at]), 0xff, markerEOI)
}

// many is a file of a side, of scans that code no coefficient.
func many(side, scans int) []byte {
	b := []byte{0xff, markerSOI, 0xff, markerDQT, 0, 67, 0}
	b = append(b, bytes.Repeat([]byte{1}, 64)...)
	b = append(b, 0xff, markerSOF2, 0, 11, 8)
	b = binary.BigEndian.AppendUint16(b, uint16(side))
	b = binary.BigEndian.AppendUint16(b, uint16(side))
	b = append(b, 1, 1, 0x11, 0)
	for _, class := range []byte{0, 0x10} { // one code of one bit
		b = append(b, 0xff, markerDHT, 0, 20, class, 1)
		b = append(b, make([]byte, 15)...)
		b = append(b, 0)
	}
	b = append(b, 0xff, markerSOS, 0, 8, 1, 1, 0, 0, 0, 0)
	b = append(b, make([]byte, side/8*side/8/8)...)
	for range scans {
		b = append(b, 0xff, markerSOS, 0, 8, 1, 1, 0, 0, 0, 0x10) // a bit a block
		b = append(b, make([]byte, side/8*side/8/8)...)
	}
	return append(b, 0xff, markerEOI)
}

func TestWorkIsBounded(t *testing.T) {
	const side = 2048
	_, err := Decode(t.Context(), many(side, 10), 1<<30)
	require.ErrorContains(t, err, "lacks scans")
	_, err = Decode(t.Context(), many(side, 64), 1<<30)
	require.ErrorIs(t, err, ErrLimit)
}

func TestMemory(t *testing.T) {
	files := fixtures(t)
	for _, name := range []string{"baseline_420", "progressive_444", "progressive_grey", "cmyk_progressive", "sampling_mixed", "one_scan_each"} {
		data := bytes.Clone(files[name])
		frame := max(bytes.Index(data, []byte{0xff, markerSOF0, 0}), bytes.Index(data, []byte{0xff, markerSOF2, 0}))
		binary.BigEndian.PutUint16(data[frame+5:], 6000)
		binary.BigEndian.PutUint16(data[frame+7:], 6000)
		c, err := DecodeConfig(data)
		require.NoError(t, err)
		size := uint64(c.Width * c.Height * c.Channels)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = Decode(t.Context(), data, 1<<30)
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, 2*size+64<<20, name)
		_, err = Decode(t.Context(), data, int64(size)-1)
		require.ErrorIs(t, err, ErrLimit, name)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, data := range fixtures(t) {
		_, err := Decode(ctx, data, 1<<20)
		require.ErrorIs(t, err, context.Canceled, name)
	}
}

func FuzzDecode(f *testing.F) {
	for _, data := range fixtures(f) {
		f.Add(data)
		f.Add(data[:len(data)/2])
		f.Add(replaceFrame(data, markerSOF2))
		f.Add(replaceFrame(data, markerSOF0))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _ := DecodeConfig(data)
		p, err := Decode(t.Context(), data, 1<<20)
		if err == nil {
			require.Equal(t, c, p.Config)
			require.Len(t, p.Pix, c.Width*c.Height*c.Channels)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	m := image.NewYCbCr(image.Rect(0, 0, 1024, 768), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = uint8((i%1024*i/1024)>>6 + i*i%17)
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = uint8(i/512), uint8(i%512/2)
	}
	var file bytes.Buffer
	require.NoError(b, stdjpeg.Encode(&file, m, &stdjpeg.Options{Quality: 90}))
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			_, err := Decode(b.Context(), file.Bytes(), 1<<30)
			require.NoError(b, err)
		}
	})
	b.Run("image/jpeg", func(b *testing.B) {
		for b.Loop() {
			_, err := stdjpeg.Decode(bytes.NewReader(file.Bytes()))
			require.NoError(b, err)
		}
	})
}
