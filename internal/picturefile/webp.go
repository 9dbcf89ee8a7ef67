package picturefile

import (
	"bytes"
	"encoding/binary"
	"image"

	"github.com/clipsurgery/clipsurgery/internal/pix"
	"golang.org/x/image/webp"
)

// webpFile is the chunks of a WebP file that matter. In an animation these are
// the first frame's.
type webpFile struct {
	canvas    image.Point // 0, 0 without an extended header
	alpha     bool        // as the extended header says
	animated  bool
	frame     image.Rectangle
	alph      []byte
	vp8, vp8l []byte
	exif, xmp []byte
}

// webp reads a WebP file; of an animation the first frame on its canvas, which
// is transparent black around it.
// Source: https://developers.google.com/speed/webp/docs/riff_container; Pillow's
// WebPImagePlugin and libwebp's WebPAnimDecoder.
func (d *decoder) webp() (*pix.Picture, error) {
	var f webpFile
	if err := f.parse(d.data[12:], true); err != nil {
		return nil, err
	}
	if f.vp8 == nil && f.vp8l == nil {
		return nil, broken("there are no pixels")
	}
	size, alpha, err := f.frameSize()
	if err != nil {
		return nil, err
	}
	if f.canvas == (image.Point{}) {
		f.canvas, f.alpha = size, alpha
	}
	if !f.animated {
		f.frame = image.Rectangle{Max: size}
	}
	whole := image.Rectangle{Max: f.canvas}
	if f.frame.Size() != size || !f.frame.In(whole) || !f.animated && size != f.canvas {
		return nil, broken("frame of %v at %v on a canvas of %v", size, f.frame, f.canvas)
	}
	mode := pix.ModeRGB
	if f.alpha {
		mode = pix.ModeRGBA
	}
	if err := d.check(mode, f.canvas.X, f.canvas.Y); err != nil {
		return nil, err
	}
	p, err := d.webpFrame(&f, mode)
	if err != nil {
		return nil, err
	}
	if f.frame != whole {
		part := p
		p = pix.NewPicture(mode, f.canvas.X, f.canvas.Y)
		n := mode.Channels()
		for y := range size.Y {
			copy(p.Row(f.frame.Min.Y + y)[f.frame.Min.X*n:], part.Row(y))
		}
	}
	d.orient(f.exif, f.xmp)
	return p, nil
}

// parse reads chunks, of the file or of a frame.
func (f *webpFile) parse(data []byte, top bool) error {
	for len(data) >= 8 {
		kind, n := string(data[:4]), uint64(binary.LittleEndian.Uint32(data[4:]))
		data = data[8:]
		if n > uint64(len(data)) {
			if kind != "VP8 " && kind != "VP8L" && kind != "ANMF" && kind != "VP8X" && kind != "ALPH" {
				return nil
			}
			return broken("chunk %q ends early", kind)
		}
		body := data[:n]
		data = data[min(n+n%2, uint64(len(data))):]
		hasPixels := f.vp8 != nil || f.vp8l != nil
		switch kind {
		case "VP8X":
			if len(body) < 10 {
				return broken("the extended header ends early")
			}
			f.alpha, f.animated = body[0]&0x10 != 0, body[0]&0x02 != 0
			f.canvas = image.Pt(int(uint24(body[4:]))+1, int(uint24(body[7:]))+1)
		case "VP8 ":
			if !hasPixels {
				f.vp8 = body
			}
		case "VP8L":
			if !hasPixels {
				f.vp8l = body
			}
		case "ALPH":
			if !hasPixels {
				f.alph = body
			}
		case "EXIF":
			f.exif = body
		case "XMP ":
			f.xmp = body
		case "ANMF":
			if hasPixels || !top || !f.animated {
				continue
			}
			if len(body) < 16 {
				return broken("the frame of the animation ends early")
			}
			at := image.Pt(2*int(uint24(body)), 2*int(uint24(body[3:])))
			f.frame = image.Rectangle{at, at.Add(image.Pt(int(uint24(body[6:]))+1, int(uint24(body[9:]))+1))}
			if err := f.parse(body[16:], false); err != nil {
				return err
			}
		}
	}
	return nil
}

func uint24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

// frameSize reads the headers of the pixels.
func (f *webpFile) frameSize() (size image.Point, alpha bool, err error) {
	const mask = 1<<14 - 1
	if b := f.vp8; b != nil {
		if len(b) < 10 || string(b[3:6]) != "\x9d\x01\x2a" {
			return size, false, broken("VP8 header")
		}
		return image.Pt(int(binary.LittleEndian.Uint16(b[6:])&mask), int(binary.LittleEndian.Uint16(b[8:])&mask)), f.alph != nil, nil
	}
	b := f.vp8l
	if len(b) < 5 || b[0] != 0x2f {
		return size, false, broken("VP8L header")
	}
	v := binary.LittleEndian.Uint32(b[1:])
	return image.Pt(int(v&mask)+1, int(v>>14&mask)+1), v>>28&1 != 0, nil
}

// webpFrame decodes the pixels, packed as a file of their own.
func (d *decoder) webpFrame(f *webpFile, mode pix.Mode) (*pix.Picture, error) {
	img, err := webp.Decode(contextReader{d.ctx, bytes.NewReader(f.still())})
	if err != nil {
		return nil, truncated("pixel data", err)
	}
	if got := img.Bounds(); got != (image.Rectangle{Max: f.frame.Size()}) {
		return nil, broken("%v pixels came out of a frame of %v", got, f.frame.Size())
	}
	var p *pix.Picture
	switch m := img.(type) {
	case *image.YCbCr:
		p, err = pix.FromVP8(d.ctx, m)
	case *image.NYCbCrA:
		p, err = pix.FromVP8Alpha(d.ctx, m)
	case *image.NRGBA:
		p = &pix.Picture{Mode: pix.ModeRGBA, Rect: m.Rect, Stride: m.Stride, Pix: m.Pix}
	default:
		err = unsupported("pixels of type %T", img)
	}
	if err != nil {
		return nil, err
	}
	return inMode(p, mode), nil
}

// still makes a file of the frame alone.
func (f *webpFile) still() []byte {
	out := []byte("RIFF\x00\x00\x00\x00WEBP")
	add := func(kind string, body []byte) {
		out = append(out, kind...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(body)))
		out = append(out, body...)
		if len(body)%2 != 0 {
			out = append(out, 0)
		}
	}
	if f.vp8 != nil && f.alph != nil {
		size := f.frame.Size().Sub(image.Pt(1, 1))
		add("VP8X", []byte{0x10, 0, 0, 0, byte(size.X), byte(size.X >> 8), byte(size.X >> 16), byte(size.Y), byte(size.Y >> 8), byte(size.Y >> 16)})
		add("ALPH", f.alph)
	}
	if f.vp8 != nil {
		add("VP8 ", f.vp8)
	} else {
		add("VP8L", f.vp8l)
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out
}

// inMode adds or drops alpha; dropping works in place.
func inMode(p *pix.Picture, mode pix.Mode) *pix.Picture {
	if p.Mode == mode {
		return p
	}
	n := p.Rect.Dx() * p.Rect.Dy()
	out := &pix.Picture{Mode: mode, Rect: p.Rect, Stride: p.Rect.Dx() * mode.Channels(), Pix: p.Pix}
	if mode == pix.ModeRGBA {
		out.Pix = make([]uint8, 4*n)
		for i := range n {
			copy(out.Pix[4*i:4*i+3], p.Pix[3*i:])
			out.Pix[4*i+3] = 255
		}
		return out
	}
	for i := range n {
		copy(out.Pix[3*i:3*i+3], p.Pix[4*i:])
	}
	out.Pix = out.Pix[: 3*n : 3*n]
	return out
}
