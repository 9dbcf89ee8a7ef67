// Package jpeg decodes JPEG files to the pixels that libjpeg-turbo gives with
// its defaults, bit for bit: the accurate integer inverse DCT, triangle
// ("fancy") upsampling of chroma, color conversion in 16-bit fixed point.
//
// It reads baseline, extended sequential and progressive files of 8 bits with
// Huffman codes, of one, three or four components in any sampling that is a
// whole fraction of the largest, in one scan or many, with restart markers.
// [ErrUnsupported] names what it does not read: arithmetic codes, other depths,
// lossless and hierarchical files, heights given by DNL, sampling 3:2, and
// progressive files that lack scans, which libjpeg smooths.
//
// Damage is met as libjpeg meets it: bad codes are zeros, lost restart markers
// are looked for, a segment that ends early is zeros. A file that ends early is
// [io.ErrUnexpectedEOF].
package jpeg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
)

var (
	// ErrFormat reports a file that breaks the rules of JPEG.
	ErrFormat = errors.New("invalid JPEG")
	// ErrUnsupported reports a kind of JPEG that is not read; the text names it.
	ErrUnsupported = errors.New("unsupported JPEG")
	// ErrLimit reports a picture above the caller's limit, or one whose scans
	// would take work out of proportion.
	ErrLimit = errors.New("JPEG above limit")
)

// Config is what the header of the first frame says.
type Config struct {
	Width, Height int
	Channels      int // as in Picture
}

// Picture is a decoded picture, row by row, its channels interleaved: 1 is
// gray, 3 is red, green, blue, 4 is cyan, magenta, yellow, black where 0 is no
// ink, as Pillow has it: four components are taken as Adobe's, which stores
// them inverted.
type Picture struct {
	Config
	Pix []uint8 // Width·Height·Channels
}

// DecodeConfig reads the header of a file.
func DecodeConfig(data []byte) (Config, error) {
	d := decoder{data: data}
	if err := d.readHeader(); err != nil {
		return Config{}, err
	}
	return d.config(), nil
}

// Decode decodes a file of at most maxBytes of pixels. It allocates at most
// twice the picture's bytes and the memory of some rows. The context is asked
// at every row of MCUs.
func Decode(ctx context.Context, data []byte, maxBytes int64) (*Picture, error) {
	d := decoder{ctx: ctx, data: data}
	if err := d.readHeader(); err != nil {
		return nil, err
	}
	c := d.config()
	size := int64(c.Width) * int64(c.Height) * int64(c.Channels)
	if size > maxBytes || size > math.MaxInt/8 {
		return nil, fmt.Errorf("%w: %d×%d×%d is more than %d bytes", ErrLimit, c.Width, c.Height, c.Channels, maxBytes)
	}
	pix, err := d.decode()
	if err != nil {
		return nil, err
	}
	return &Picture{c, pix[:size:size]}, nil
}

// decoder is the state of one file.
type decoder struct {
	ctx         context.Context
	data        []byte
	pos         int
	marker      uint8 // read, not yet handled; 0 is none
	frame       bool
	progressive bool

	width, height  int
	components     []component
	maxH, maxV     int
	mcuX, mcuY     int // MCUs of an interleaved scan
	jfif, adobe    bool
	transform      uint8
	restart        int
	quant          [4]*[64]uint16
	dcCodes        [4]*huffman
	acCodes        [4]*huffman
	scan           scan
	coefficients   []byte // of all blocks, little-endian int16, by rows of MCUs
	rowBlocks      int    // blocks in a row of MCUs
	visited, limit int64  // blocks, see spend
	out            output
}

// component is one plane of the picture.
type component struct {
	index         int
	id            uint8
	h, v          int // sampling factors
	table         uint8
	quant         *[64]uint16 // that of the component's first scan
	width, height int         // in samples
	blocksX       int         // that hold samples
	blocksY       int
	stride        int      // blocks in a row, whole MCUs
	first         int      // block of a row of MCUs
	bits          [64]int8 // of precision that are missing; -1 is all
	dc, ac        uint8    // tables of the current scan
	predicted     int32
	detailed      bool // a progressive scan brought AC
}

func (d *decoder) config() Config { return Config{d.width, d.height, len(d.components)} }

func (d *decoder) decode() ([]uint8, error) {
	if !d.progressive {
		d.useStandardCodes()
	}
	if !d.progressive && len(d.scan.components) == len(d.components) {
		d.out.init(d, make([]uint8, d.width*d.height*len(d.components)))
		return d.out.pix, d.decodeDirect()
	}
	if err := d.allocate(); err != nil {
		return nil, err
	}
	for {
		if err := d.decodeScan(); err != nil {
			return nil, err
		}
		more, err := d.readMarkers()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	if d.smoothed() {
		return nil, fmt.Errorf("%w: progressive file lacks scans", ErrUnsupported)
	}
	return d.out.pix, d.outputCoefficients()
}

// allocate makes room for the coefficients of all blocks. Pixels overwrite
// coefficients that are done with, where a row of MCUs has as many bytes of
// these; else both together are less than two pictures.
func (d *decoder) allocate() error {
	size := int64(d.rowBlocks) * int64(d.mcuY) * blockBytes
	if size > math.MaxInt/2 {
		return fmt.Errorf("%w: %d bytes of coefficients", ErrLimit, size)
	}
	d.coefficients = make([]byte, size)
	d.limit = budgetScans*int64(d.rowBlocks)*int64(d.mcuY) + budgetBlocks
	row := d.width * len(d.components)
	pix := d.coefficients
	if d.rowBlocks*blockBytes < row*d.maxV*8 {
		pix = make([]uint8, row*d.height)
	}
	d.out.init(d, pix)
	return nil
}

// A file may visit every block budgetScans times, and budgetBlocks more: common
// progressive files have about ten scans, of which each block sees six. Runs of
// blocks that a scan leaves alone cost nothing.
const (
	budgetScans  = 24
	budgetBlocks = 1 << 20
)

// spend counts blocks that are worked on, so that a small file of many scans
// cannot take hours.
func (d *decoder) spend(blocks int) error {
	if d.visited += int64(blocks); d.visited > d.limit {
		return fmt.Errorf("%w: scans visit more than %d blocks", ErrLimit, d.limit)
	}
	return nil
}

func truncated(what string) error {
	return fmt.Errorf("%w: %s: %w", ErrFormat, what, io.ErrUnexpectedEOF)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
