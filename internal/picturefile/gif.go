package picturefile

import (
	"compress/lzw"
	"encoding/binary"
	"image"
	"io"

	"github.com/clipsurgery/clipsurgery/internal/pix"
)

// gif reads the first picture of a GIF file: the logical screen, grown where the
// first frame reaches beyond it, with that frame on it. Around the frame lies
// its transparent index, or index 0. A transparent index keeps its color.
// Source: https://www.w3.org/Graphics/GIF/spec-gif89a.txt, Pillow's
// GifImagePlugin.
func (d *decoder) gif() (*pix.Picture, error) {
	g := gifFile{data: d.data}
	screen, err := g.take(13)
	if err != nil {
		return nil, err
	}
	size := image.Pt(int(binary.LittleEndian.Uint16(screen[6:])), int(binary.LittleEndian.Uint16(screen[8:])))
	palette, err := g.palette(screen[10])
	if err != nil {
		return nil, err
	}
	frame, fill, err := g.firstFrame()
	if err != nil {
		return nil, err
	}
	at := image.Pt(int(binary.LittleEndian.Uint16(frame)), int(binary.LittleEndian.Uint16(frame[2:])))
	part := image.Pt(int(binary.LittleEndian.Uint16(frame[4:])), int(binary.LittleEndian.Uint16(frame[6:])))
	flags := frame[8]
	if flags&0x80 != 0 {
		if palette, err = g.palette(flags); err != nil {
			return nil, err
		}
	}
	mode := pix.ModePalette
	if palette == nil {
		mode = pix.ModeGray
	}
	p, err := d.picture(mode, max(size.X, at.X+part.X), max(size.Y, at.Y+part.Y))
	if err != nil {
		return nil, err
	}
	p.Palette = palette
	if fill != 0 {
		for i := range p.Pix {
			p.Pix[i] = fill
		}
	}
	return p, d.gifFrame(&g, p, image.Rectangle{at, at.Add(part)}, flags&0x40 != 0)
}

// gifFrame decodes the pixels of a frame.
func (d *decoder) gifFrame(g *gifFile, p *pix.Picture, frame image.Rectangle, interlaced bool) error {
	width, err := g.take(1)
	if err != nil {
		return err
	}
	if width[0] < 2 || width[0] > 8 {
		return broken("codes begin with %d bits, want 2 to 8", width[0])
	}
	r := lzw.NewReader(contextReader{d.ctx, &gifBlocks{g: g}}, lzw.LSB, int(width[0]))
	defer r.Close()
	passes := [][2]int{{0, 1}}
	if interlaced {
		passes = [][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}}
	}
	for _, pass := range passes {
		for y := frame.Min.Y + pass[0]; y < frame.Max.Y; y += pass[1] {
			if err := d.worked(frame.Dx()); err != nil {
				return err
			}
			if _, err := io.ReadFull(r, p.Row(y)[frame.Min.X:frame.Max.X]); err != nil {
				return truncated("pixel data", err)
			}
		}
	}
	return nil
}

// gifFile is what remains of the file.
type gifFile struct{ data []byte }

func (g *gifFile) take(n int) ([]byte, error) {
	if n > len(g.data) {
		return nil, broken("the file ends early")
	}
	b := g.data[:n]
	g.data = g.data[n:]
	return b, nil
}

// palette reads the colors that flags announce; nil without any, and where
// every color is its own index, which is a gray picture.
func (g *gifFile) palette(flags byte) (*pix.Palette, error) {
	if flags&0x80 == 0 {
		return nil, nil
	}
	b, err := g.take(3 << (flags&7 + 1))
	if err != nil {
		return nil, err
	}
	p := new(pix.Palette)
	copy(p[:], b)
	for i, v := range b {
		if int(v) != i/3 {
			return p, nil
		}
	}
	return nil, nil
}

// firstFrame returns the description of the first frame, and the index around
// it.
func (g *gifFile) firstFrame() (frame []byte, fill uint8, err error) {
	for {
		kind, err := g.take(1)
		if err != nil {
			return nil, 0, err
		}
		switch kind[0] {
		case ',':
			frame, err = g.take(9)
			return frame, fill, err
		case ';':
			return nil, 0, broken("there is no frame")
		case '!':
			label, err := g.take(1)
			if err != nil {
				return nil, 0, err
			}
			for first := true; ; first = false {
				block, err := g.block()
				if err != nil {
					return nil, 0, err
				}
				if len(block) == 0 {
					break
				}
				const graphicControl = 0xf9
				if first && label[0] == graphicControl && len(block) >= 4 && block[0]&1 != 0 {
					fill = block[3]
				}
			}
		}
	}
}

// block reads a block of data, empty at the end of a run of them.
func (g *gifFile) block() ([]byte, error) {
	n, err := g.take(1)
	if err != nil {
		return nil, err
	}
	return g.take(int(n[0]))
}

// gifBlocks reads a run of blocks.
type gifBlocks struct {
	g    *gifFile
	rest []byte
}

func (b *gifBlocks) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		block, err := b.g.block()
		if err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		if len(block) == 0 {
			return 0, io.EOF
		}
		b.rest = block
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}
