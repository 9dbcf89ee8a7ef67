// Package picturefile reads picture files as Pillow does: the container's whole
// picture, upright, in the mode that Pillow gives it. It checks what a header
// asks for before it allocates, and decodes into the picture itself.
package picturefile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"math"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// ErrPicture reports data that cannot be decoded: of an unknown format, of a kind
// that is not supported, or broken.
var ErrPicture = errors.New("picture")

// MaxBytes is the usual limit: pictures of 178 million pixels in RGB.
const MaxBytes = 512 << 20

// formats are the formats that are read, by how their files begin.
var formats = []struct {
	name   string
	is     func(head []byte) bool
	decode func(*decoder) (*pix.Picture, error)
}{
	{"PNG", begins("\x89PNG\r\n\x1a\n"), (*decoder).png},
	{"JPEG", begins("\xff\xd8\xff"), (*decoder).jpeg},
	{"GIF", begins("GIF87a", "GIF89a"), (*decoder).gif},
	{"WebP", func(head []byte) bool {
		return bytes.HasPrefix(head, []byte("RIFF")) && bytes.HasPrefix(head[8:], []byte("WEBP"))
	}, (*decoder).webp},
	{"BMP", begins("BM"), (*decoder).bmp},
	{"TIFF", begins("II*\x00", "MM\x00*", "II+\x00", "MM\x00+"), (*decoder).tiff},
}

// readable lists the formats in error messages.
const readable = "PNG, JPEG, GIF, WebP, BMP and TIFF are read"

func begins(magic ...string) func([]byte) bool {
	return func(head []byte) bool {
		for _, m := range magic {
			if bytes.HasPrefix(head, []byte(m)) {
				return true
			}
		}
		return false
	}
}

// Decode reads a picture of at most maxBytes: bytes of its pixels in 8 bits a
// channel, and of its file.
func Decode(ctx context.Context, r io.Reader, maxBytes int64) (*pix.Picture, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	head := make([]byte, 16)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	for _, f := range formats {
		if !f.is(head) {
			continue
		}
		data, err := readAll(ctx, r, head[:n], maxBytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		d := &decoder{ctx: ctx, data: data, maxBytes: maxBytes, orientation: 1}
		p, err := f.decode(d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		d.data = nil
		return upright(ctx, p, d.orientation)
	}
	return nil, broken("%w%s; %s", image.ErrFormat, named(head[:n]), readable)
}

// named names formats that are known but not read.
func named(head []byte) string {
	for _, f := range []struct {
		at          int
		magic, name string
	}{
		{4, "ftypavif", "AVIF"}, {4, "ftypavis", "AVIF"},
		{4, "ftyphei", "HEIC"}, {4, "ftyphev", "HEIC"}, {4, "ftypmif1", "HEIC or AVIF"}, {4, "ftypmsf1", "HEIC or AVIF"},
		{4, "JXL ", "JPEG XL"}, {0, "\xff\x0a", "JPEG XL"},
		{4, "jP  ", "JPEG 2000"}, {0, "\xff\x4f\xff\x51", "JPEG 2000"},
		{0, "8BPS", "Photoshop"}, {0, "%PDF", "PDF"}, {0, "<svg", "SVG"}, {0, "<?xml", "XML"},
		{0, "P1", "PNM"}, {0, "P2", "PNM"}, {0, "P3", "PNM"}, {0, "P4", "PNM"}, {0, "P5", "PNM"}, {0, "P6", "PNM"},
		{0, "\x00\x00\x01\x00", "Windows icon"}, {0, "DDS ", "DDS"}, {0, "qoif", "QOI"},
	} {
		if len(head) > f.at && bytes.HasPrefix(head[f.at:], []byte(f.magic)) {
			return " (" + f.name + ")"
		}
	}
	if len(head) == 0 {
		return " (the file is empty)"
	}
	return ""
}

// readAll reads what follows head, into memory of the right size where the
// reader tells it.
func readAll(ctx context.Context, r io.Reader, head []byte, maxBytes int64) ([]byte, error) {
	rest := int64(-1)
	switch v := r.(type) {
	case interface{ Len() int }:
		rest = int64(v.Len())
	case interface{ Stat() (fs.FileInfo, error) }:
		if info, err := v.Stat(); err == nil && info.Mode().IsRegular() {
			rest = max(info.Size()-int64(len(head)), 0)
		}
	}
	tooLarge := func() error {
		return broken("%w: file of more than %d bytes", pix.ErrSize, maxBytes)
	}
	if rest > min(maxBytes, math.MaxInt-1<<10) {
		return nil, tooLarge()
	}
	data := append(make([]byte, 0, int64(len(head))+max(rest, 0)+512), head...)
	for empty := 0; empty < 100; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := r.Read(data[len(data):min(cap(data), len(data)+1<<20)])
		data = data[:len(data)+n]
		if empty++; n > 0 {
			empty = 0
		}
		if int64(len(data)) > maxBytes {
			return nil, tooLarge()
		}
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, io.ErrNoProgress
}

// decoder is one file.
type decoder struct {
	ctx         context.Context
	data        []byte
	maxBytes    int64
	orientation int // 1 to 8 of EXIF; everything else means 1
	unchecked   int // pixels since the context was asked
}

// check reports a size that is refused.
func (d *decoder) check(mode pix.Mode, width, height int) error {
	if err := pix.CheckSize(width, height); err != nil {
		return broken("%w", err)
	}
	if need := int64(width) * int64(height) * int64(mode.Channels()); need > d.maxBytes {
		return broken("%w: %d×%d in mode %s takes %d bytes, the limit is %d", pix.ErrSize, width, height, mode, need, d.maxBytes)
	}
	return nil
}

// picture allocates a picture whose size it checks.
func (d *decoder) picture(mode pix.Mode, width, height int) (*pix.Picture, error) {
	if err := d.check(mode, width, height); err != nil {
		return nil, err
	}
	return pix.NewPicture(mode, width, height), nil
}

// checkLines refuses rows that take more memory to decode than their picture.
func checkLines(bytes int64, p *pix.Picture) error {
	const free = 48 << 20
	if bytes > int64(len(p.Pix))+free {
		return unsupported("rows of %d pixels in this depth", p.Rect.Dx())
	}
	return nil
}

// worked asks the context now and then.
func (d *decoder) worked(pixels int) error {
	const every = 1 << 16
	if d.unchecked += pixels; d.unchecked < every {
		return nil
	}
	d.unchecked = 0
	return d.ctx.Err()
}

// contextReader ends what reads through it when the context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// fileError is an ErrPicture whose message says only what is the matter.
type fileError struct{ error }

func (e fileError) Is(target error) bool { return target == ErrPicture }
func (e fileError) Unwrap() error        { return e.error }

// unsupported reports a part of a format that is not supported.
func unsupported(format string, args ...any) error {
	return broken("unsupported "+format, args...)
}

// broken says what is wrong with a file.
func broken(format string, args ...any) error {
	return fileError{fmt.Errorf(format, args...)}
}

// truncated wraps the error of a read; the end of the data is named.
func truncated(what string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return broken("%s ends early", what)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return broken("%s: %w", what, err)
}

// unpackBits spreads samples of 1, 2 or 4 bits, the upper ones first, times
// scale.
func unpackBits(dst, src []uint8, bits int, scale uint8) {
	per, mask := 8/bits, uint8(1<<bits-1)
	for x := range dst {
		dst[x] = src[x/per] >> (8 - bits - x%per*bits) & mask * scale
	}
}
