package sam

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"image"
	"io"
	"math"
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
	h := embeddingHeader{
		Version: 1, Grid: 1024, Width: 256, Side: 4096,
		InputX: 4096, InputY: 2048, OriginalX: 100, OriginalY: 50,
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ReadEmbedding(bytes.NewReader(sealed(t, h, nil)))
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrEmbedding)
	require.ErrorContains(t, err, "ends inside its features")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))
}

// sealed is a file of these sizes and features with a checksum that is right.
func sealed(t testing.TB, h embeddingHeader, features []float32) []byte {
	copy(h.Magic[:], embeddingMagic)
	var b bytes.Buffer
	require.NoError(t, binary.Write(&b, binary.LittleEndian, &h))
	require.NoError(t, binary.Write(&b, binary.LittleEndian, features))
	sum := sha256.Sum256(b.Bytes())
	b.Write(sum[:])
	return b.Bytes()
}

// TestReadEmbeddingSizes: a file that is whole says something that no picture
// has, or nothing at all.
func TestReadEmbeddingSizes(t *testing.T) {
	good := embeddingHeader{Version: 1, Grid: 2, Width: 3, Side: 32, InputX: 32, InputY: 16, OriginalX: 20, OriginalY: 10}
	for name, change := range map[string]func(h *embeddingHeader){
		"nothing":            func(*embeddingHeader) {},
		"rounded":            func(h *embeddingHeader) { h.InputY = 15 },
		"no grid":            func(h *embeddingHeader) { h.Grid = 0 },
		"no width":           func(h *embeddingHeader) { h.Width = 0 },
		"cells of one pixel": func(h *embeddingHeader) { h.Side, h.InputX, h.InputY = 2, 2, 1 },
		"side":               func(h *embeddingHeader) { h.Side = 33 },
		"large side":         func(h *embeddingHeader) { h.Side, h.InputX, h.InputY = 8192, 8192, 4096 },
		"input":              func(h *embeddingHeader) { h.InputX = 31 },
		"flat input":         func(h *embeddingHeader) { h.InputY = 0 },
		"aspect":             func(h *embeddingHeader) { h.InputY = 14 },
		"other aspect":       func(h *embeddingHeader) { h.InputX, h.InputY = 16, 32 },
		"flat picture":       func(h *embeddingHeader) { h.OriginalY = 0 },
		"long picture":       func(h *embeddingHeader) { h.OriginalX, h.OriginalY, h.InputY = 1<<28, 1, 1 },
		"large picture":      func(h *embeddingHeader) { h.OriginalX, h.OriginalY = 2<<20, 1<<20 },
		"wrapped picture":    func(h *embeddingHeader) { h.OriginalX, h.OriginalY = 1<<31+20, 1<<31+10 },
	} {
		h := good
		change(&h)
		e, err := ReadEmbedding(bytes.NewReader(sealed(t, h, make([]float32, 12))))
		if name == "nothing" || name == "rounded" {
			require.NoError(t, err, name)
			require.Equal(t, image.Pt(20, 10), e.Size())
			continue
		}
		require.ErrorIs(t, err, ErrEmbedding, name)
	}
	features := make([]float32, 12)
	features[7] = float32(math.NaN())
	_, err := ReadEmbedding(bytes.NewReader(sealed(t, good, features)))
	require.ErrorIs(t, err, ErrEmbedding)
	require.ErrorContains(t, err, "value 7 is NaN")
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

// FuzzEmbeddingSizes reads files that are whole, of any sizes, and predicts from
// those that fit a model.
func FuzzEmbeddingSizes(f *testing.F) {
	f.Add(uint32(2), uint32(16), uint32(32), uint32(20), uint32(10), uint32(32), uint32(16))
	f.Add(uint32(4), uint32(16), uint32(8), uint32(1), uint32(3), uint32(3), uint32(8))
	f.Add(uint32(4), uint32(16), uint32(4), uint32(9), uint32(9), uint32(4), uint32(4))
	m, err := Load(procedural(f, micro()), WithWorkers(1))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, grid, width, side, x, y, inputX, inputY uint32) {
		n := uint64(0)
		if grid <= 16 && width <= 16 {
			n = uint64(grid) * uint64(grid) * uint64(width)
		}
		h := embeddingHeader{Version: 1, Grid: grid, Width: width, Side: side, OriginalX: x, OriginalY: y, InputX: inputX, InputY: inputY}
		e, err := ReadEmbedding(bytes.NewReader(sealed(t, h, make([]float32, n))))
		if err == nil && uint64(x)*uint64(y) <= 1<<20 {
			_, err = m.Predict(t.Context(), e, []Prompt{{}})
		}
		if err != nil {
			require.ErrorIs(t, err, ErrEmbedding)
		}
	})
}

// TestEncodeAllocates: a second picture allocates its embedding and little
// else, whatever it is made of.
func TestEncodeAllocates(t *testing.T) {
	kernel := simd.Best()
	if kernel.Name() == "gonum" { // whose own BLAS allocates
		kernel, _ = simd.Select("generic")
	}
	t.Run("SAM 2", func(t *testing.T) {
		f := golden.Load(t, "sam2/tiny_square.safetensors")
		// A collection takes the memory of a second worker that embeds patches.
		encodeAllocates(t, hieraModel(t, f, WithKernel(kernel), WithWorkers(1)), picture(f.Input(t, "image")))
	})
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
	little := uint64(64 << 10)
	if m.kernel.Name() == "generic" { // the specification, which allocates as it goes
		little = 192 << 10
	}
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
		for _, fine := range e.fine {
			returned += uint64(4 * len(fine.Data))
		}
		t.Logf("%s: %d bytes, %d of them returned", name, n, returned)
		require.LessOrEqual(t, n, returned+little, name)
	}
}

// TestScratchShrinks: after pictures and inputs of growing sizes, and after many
// prompts, a model holds what recent calls needed.
func TestScratchShrinks(t *testing.T) {
	m, err := Load(procedural(t, micro()))
	require.NoError(t, err)
	scratchShrinks(t, m, 8, 256<<10)
}

// scratchShrinks calls with inputs that are multiples of step; more bytes than
// kept must not stay.
func scratchShrinks(t *testing.T, m *Model, step int, kept uint64) {
	call := func(picture, input, prompts int) {
		e, err := m.Encode(t.Context(), image.NewGray(image.Rect(0, 0, picture, picture)), InputSize(input))
		require.NoError(t, err)
		_, err = m.Predict(t.Context(), e, make([]Prompt, prompts))
		require.NoError(t, err)
	}
	small := func() uint64 {
		for range 10 {
			call(64, 4*step, 1)
		}
		for range 3 {
			runtime.GC()
		}
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := small()
	for i := range 24 {
		call(100+20*i, step*(4+i), 1+i/4)
	}
	require.Less(t, small(), before+kept)
}
