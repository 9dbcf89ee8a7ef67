package sam

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"image"
	"io"
	"math"
	"sync"

	"github.com/clipsurgery/clipsurgery/internal/nn"
	"github.com/clipsurgery/clipsurgery/internal/pix"
	"gonum.org/v1/gonum/blas/blas32"
)

// ErrEmbedding reports data that are no saved embedding or a damaged one, and
// an embedding that does not fit the model.
var ErrEmbedding = errors.New("embedding")

// Embedding is the image encoder's output for a picture. It is safe for
// concurrent use. It belongs to no model: every model with the same decoder can
// read it. After its first prompt it also holds the work that prompts share,
// about two and a half times its own memory.
type Embedding struct {
	features blas32.General
	// fine are SAM 2's features of 4 and 2 times the grid's resolution, an eighth
	// and a quarter as wide.
	fine     [2]blas32.General
	grid     int         // cells per side
	side     int         // pixels per side of the padded input
	original image.Point // the picture
	input    image.Point // the picture inside the input

	mu     sync.Mutex
	up     *upsampler // made when it is first asked for, like shared
	shared *imageSide // of model owner
	owner  *Model
}

// newEmbedding is an embedding of zeros; fine says that it is SAM 2's.
func newEmbedding(grid, side, width int, fine bool) *Embedding {
	matrix := func(rows, cols int) blas32.General { return nn.Matrix(make([]float32, rows*cols), rows, cols) }
	e := &Embedding{features: matrix(grid*grid, width), grid: grid, side: side}
	if fine {
		e.fine = [2]blas32.General{matrix(16*grid*grid, width/8), matrix(4*grid*grid, width/4)}
	}
	return e
}

// second reports whether the embedding is SAM 2's.
func (e *Embedding) second() bool { return e.fine[0].Rows > 0 }

// upsampler brings logits of the decoder to the picture.
func (e *Embedding) upsampler() *upsampler {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.up == nil && e.second() {
		// Logits are stretched to the picture in one step.
		low := 4 * e.grid
		e.up = newUpsampler(low, low, image.Pt(low, low), e.original)
	}
	if e.up == nil {
		e.up = newUpsampler(4*e.grid, e.side, e.input, e.original)
	}
	return e.up
}

// Features returns the embedding: a row per grid cell, row-major, of the
// model's prompt width. The caller must not change it. A nil embedding has none.
func (e *Embedding) Features() blas32.General {
	if e == nil {
		return blas32.General{}
	}
	return e.features
}

// Grid returns the columns and rows of the grid.
func (e *Embedding) Grid() image.Point {
	if e == nil {
		return image.Point{}
	}
	return image.Pt(e.grid, e.grid)
}

// Size returns the size of the original picture in pixels.
func (e *Embedding) Size() image.Point {
	if e == nil {
		return image.Point{}
	}
	return e.original
}

// ready reports an embedding that is nil or zero.
func (e *Embedding) ready() error {
	if e == nil || e.grid == 0 {
		return fmt.Errorf("sam: %w: it is nil or empty", ErrEmbedding)
	}
	return nil
}

// check reports an embedding that does not fit m.
func (e *Embedding) check(m *Model) error {
	if err := e.ready(); err != nil {
		return err
	}
	if e.features.Cols != m.config.PromptWidth {
		return fmt.Errorf("sam: %w: width %d, the model's is %d", ErrEmbedding, e.features.Cols, m.config.PromptWidth)
	}
	if e.second() != (m.config.Hiera != nil) {
		return fmt.Errorf("sam: %w: it is of a %s, the model is a %s", ErrEmbedding, kindOf(e.second()), kindOf(m.config.Hiera != nil))
	}
	if !m.config.fits(e.grid) {
		return fmt.Errorf("sam: %w: grid of %d×%d cells, too many for the model's %d masks", ErrEmbedding, e.grid, e.grid, m.config.Masks)
	}
	return nil
}

func kindOf(second bool) string {
	if second {
		return "SAM 2"
	}
	return "SAM"
}

// A saved embedding is a header of ten little-endian 32-bit words, the
// features as float32, row by row, and the SHA-256 of all of it.
const (
	embeddingMagic   = "SAM embedding\r\n\x00" // 16 bytes
	embeddingVersion = 1
	// embeddingVersion2 is SAM 2's, which has the fine features behind the others.
	embeddingVersion2 = 2
)

type embeddingHeader struct {
	Magic                [16]byte
	Version              uint32
	Grid, Width, Side    uint32
	OriginalX, OriginalY uint32
	InputX, InputY       uint32
}

// WriteTo saves the embedding in a form that [ReadEmbedding] reads.
func (e *Embedding) WriteTo(w io.Writer) (int64, error) {
	if err := e.ready(); err != nil {
		return 0, err
	}
	h := embeddingHeader{
		Version: embeddingVersion,
		Grid:    uint32(e.grid), Width: uint32(e.features.Cols), Side: uint32(e.side),
		OriginalX: uint32(e.original.X), OriginalY: uint32(e.original.Y),
		InputX: uint32(e.input.X), InputY: uint32(e.input.Y),
	}
	if e.second() {
		h.Version = embeddingVersion2
	}
	copy(h.Magic[:], embeddingMagic)
	sum := sha256.New()
	out := &countingWriter{w: w}
	both := io.MultiWriter(out, sum)
	if err := binary.Write(both, binary.LittleEndian, &h); err != nil {
		return out.n, err
	}
	buf := make([]byte, 0, 4*e.features.Cols)
	for _, m := range e.parts() {
		for i := range m.Rows {
			buf = buf[:0]
			for _, v := range row(m, i) {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
			}
			if _, err := both.Write(buf); err != nil {
				return out.n, err
			}
		}
	}
	_, err := out.Write(sum.Sum(nil))
	return out.n, err
}

// parts are the matrices of the embedding, in the order in which they are saved.
func (e *Embedding) parts() []blas32.General {
	if e.second() {
		return []blas32.General{e.features, e.fine[0], e.fine[1]}
	}
	return []blas32.General{e.features}
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// ReadEmbedding reads what [Embedding.WriteTo] wrote, and nothing after it.
// Data that are truncated, changed in any bit or of another kind are
// [ErrEmbedding], and so are impossible sizes and features that are not finite.
// Memory is allocated only for data that have arrived.
func ReadEmbedding(r io.Reader) (*Embedding, error) {
	sum := sha256.New()
	var h embeddingHeader
	if err := binary.Read(io.TeeReader(r, sum), binary.LittleEndian, &h); err != nil {
		return nil, readError("header", err)
	}
	if string(h.Magic[:]) != embeddingMagic {
		return nil, fmt.Errorf("sam: %w: not a saved embedding", ErrEmbedding)
	}
	if h.Version != embeddingVersion && h.Version != embeddingVersion2 {
		return nil, fmt.Errorf("sam: %w: version %d, want %d or %d", ErrEmbedding, h.Version, embeddingVersion, embeddingVersion2)
	}
	e, err := h.embedding()
	if err != nil {
		return nil, err
	}
	cells, width := e.grid*e.grid, int(h.Width)
	sizes := [][2]int{{cells, width}}
	if h.Version == embeddingVersion2 {
		sizes = append(sizes, [2]int{16 * cells, width / 8}, [2]int{4 * cells, width / 4})
	}
	var parts []blas32.General
	for _, s := range sizes {
		data, err := readFloats(r, sum, s[0]*s[1])
		if err != nil {
			return nil, err
		}
		parts = append(parts, nn.Matrix(data, s[0], s[1]))
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, want); err != nil {
		return nil, readError("checksum", err)
	}
	if !bytes.Equal(want, sum.Sum(nil)) {
		return nil, fmt.Errorf("sam: %w: checksum does not match, the data are damaged", ErrEmbedding)
	}
	for _, m := range parts {
		for i, v := range m.Data {
			if !nn.Finite(v) {
				return nil, fmt.Errorf("sam: %w: value %d is %v", ErrEmbedding, i, v)
			}
		}
	}
	e.features = parts[0]
	copy(e.fine[:], parts[1:])
	return e, nil
}

// embedding checks the sizes of a header, which may be anything.
func (h *embeddingHeader) embedding() (*Embedding, error) {
	most := max(h.Grid, h.Width, h.Side, h.OriginalX, h.OriginalY, h.InputX, h.InputY)
	ok := most <= pix.MaxPixels && // and an int has room for it
		h.Grid >= 1 && uint64(h.Grid)*uint64(h.Grid) <= maxCells &&
		h.Width >= 1 && h.Width <= maxWidth && uint64(h.Grid)*uint64(h.Grid)*uint64(h.Width) <= maxFeatures &&
		h.Side <= maxSide && h.Side%h.Grid == 0 && h.Side/h.Grid >= minCell
	e := &Embedding{grid: int(h.Grid), side: int(h.Side)}
	if ok {
		e.original, e.input = image.Pt(int(h.OriginalX), int(h.OriginalY)), image.Pt(int(h.InputX), int(h.InputY))
		c := new(Config)
		if h.Version == embeddingVersion2 {
			c.Hiera = new(HieraConfig)
			ok = h.Width%8 == 0 && h.Side == hieraCell*h.Grid && h.Side%32 == 0
		}
		ok = ok && c.checkInput(e.original, e.input, e.side) == nil
	}
	if !ok {
		return nil, fmt.Errorf("sam: %w: impossible sizes: grid %d, width %d, input %d×%d in %d, picture %d×%d", ErrEmbedding,
			h.Grid, h.Width, h.InputX, h.InputY, h.Side, h.OriginalX, h.OriginalY)
	}
	return e, nil
}

// readFloats reads n floats piece by piece, so that a false length costs no
// memory.
func readFloats(r io.Reader, sum hash.Hash, n int) ([]float32, error) {
	const piece = 1 << 18
	var data []float32
	buf := make([]byte, 4*min(n, piece))
	for len(data) < n {
		part := buf[:4*min(n-len(data), piece)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, readError("features", err)
		}
		sum.Write(part)
		if data == nil && n <= piece {
			data = make([]float32, 0, n)
		}
		for i := 0; i < len(part); i += 4 {
			data = append(data, math.Float32frombits(binary.LittleEndian.Uint32(part[i:])))
		}
	}
	return data, nil
}

// readError distinguishes a short file from one that cannot be read.
func readError(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("sam: %w: ends inside its %s: %w", ErrEmbedding, what, err)
	}
	return fmt.Errorf("sam: embedding: %s: %w", what, err)
}
