package sam

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/stretchr/testify/require"
)

// TestEmbeddingRoundTrip: a saved embedding gives the same masks.
func TestEmbeddingRoundTrip(t *testing.T) {
	m, e := tiny(t)
	var file bytes.Buffer
	n, err := e.WriteTo(&file)
	require.NoError(t, err)
	require.EqualValues(t, file.Len(), n)
	file.WriteString("what follows")

	read, err := ReadEmbedding(iotest.OneByteReader(&file))
	require.NoError(t, err)
	rest, err := io.ReadAll(&file)
	require.NoError(t, err)
	require.Equal(t, "what follows", string(rest))
	require.Equal(t, e.Features(), read.Features())
	require.Equal(t, e.Grid(), read.Grid())
	require.Equal(t, e.Size(), read.Size())

	prompts := []Prompt{{}, {Box: &Box{10, 10, 60, 200}}}
	want, err := m.Predict(t.Context(), e, prompts)
	require.NoError(t, err)
	got, err := m.Predict(t.Context(), read, prompts)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// smallEmbedding is quickly read.
func smallEmbedding() *Embedding {
	data := golden.Procedural("embedding", []int{4, 3}, 0, 1)
	return &Embedding{features: nn.Matrix(data, 4, 3), grid: 2, side: 32, original: image.Pt(20, 10), input: image.Pt(32, 16)}
}

func saved(t testing.TB, e *Embedding) []byte {
	var b bytes.Buffer
	_, err := e.WriteTo(&b)
	require.NoError(t, err)
	return b.Bytes()
}

// TestReadEmbeddingDamage: every bit counts, and so does every byte that is
// missing.
func TestReadEmbeddingDamage(t *testing.T) {
	data := saved(t, smallEmbedding())
	_, err := ReadEmbedding(bytes.NewReader(data))
	require.NoError(t, err)
	for i := range 8 * len(data) {
		data[i/8] ^= 1 << (i % 8)
		_, err := ReadEmbedding(bytes.NewReader(data))
		require.ErrorIs(t, err, ErrEmbedding, "bit %d", i)
		data[i/8] ^= 1 << (i % 8)
	}
	for n := range data {
		_, err := ReadEmbedding(bytes.NewReader(data[:n]))
		require.ErrorIs(t, err, ErrEmbedding, "%d bytes", n)
	}
	broken := errors.New("the line is down")
	_, err = ReadEmbedding(io.MultiReader(bytes.NewReader(data[:50]), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, ErrEmbedding)
}

// TestReadEmbeddingHostile: sizes that are a lie cost no memory, even with a
// checksum that is right.
func TestReadEmbeddingHostile(t *testing.T) {
	var h embeddingHeader
	copy(h.Magic[:], embeddingMagic)
	h.Version, h.Grid, h.Width, h.Side = 1, 1024, maxWidth, 4096
	h.InputX, h.InputY, h.OriginalX, h.OriginalY = 4096, 1, 100, 100
	var b bytes.Buffer
	require.NoError(t, binary.Write(&b, binary.LittleEndian, &h))
	sum := sha256.Sum256(b.Bytes())
	b.Write(sum[:])
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ReadEmbedding(&b)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrEmbedding)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))
}

func FuzzReadEmbedding(f *testing.F) {
	data := saved(f, smallEmbedding())
	f.Add(data)
	f.Add(data[:40])
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ReadEmbedding(bytes.NewReader(data))
		if err != nil {
			require.ErrorIs(t, err, ErrEmbedding)
			return
		}
		again := saved(t, e)
		require.Equal(t, data[:len(again)], again)
	})
}

// TestEncodeAllocates: a second picture allocates its embedding and little
// else, whatever it is made of.
func TestEncodeAllocates(t *testing.T) {
	kernel := simd.Best()
	if kernel.Name() == "gonum" { // whose own BLAS allocates
		kernel, _ = simd.Select("generic")
	}
	for _, name := range []string{"tiny_square256", "vit_t_landscape"} {
		t.Run(name, func(t *testing.T) {
			if name != "tiny_square256" {
				golden.Long(t)
			}
			f := golden.Load(t, "sam/"+name+".safetensors")
			encodeAllocates(t, fixtureModel(t, f, WithKernel(kernel)), picture(f.Input(t, "image")))
		})
	}
}

func encodeAllocates(t *testing.T, m *Model, opaque image.Image) {
	jpeg := image.NewYCbCr(image.Rect(0, 0, 300, 200), image.YCbCrSubsampleRatio420)
	p, err := m.Preprocess(opaque)
	require.NoError(t, err)
	for name, encode := range map[string]func() (*Embedding, error){
		"picture":  func() (*Embedding, error) { return m.Encode(t.Context(), opaque) },
		"jpeg":     func() (*Embedding, error) { return m.Encode(t.Context(), jpeg) },
		"prepared": func() (*Embedding, error) { return m.EncodePixels(t.Context(), p, opaque.Bounds().Size()) },
	} {
		_, err := encode()
		require.NoError(t, err)
		runtime.GC()
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		e, err := encode()
		runtime.ReadMemStats(&after)
		require.NoError(t, err)
		n, returned := after.TotalAlloc-before.TotalAlloc, uint64(4*len(e.Features().Data))
		t.Logf("%s: %d bytes, %d of them returned", name, n, returned)
		require.LessOrEqual(t, n, returned+64<<10, name)
	}
}
