package pix

import (
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/stretchr/testify/require"
)

var (
	clipMean = [3]float32{0.48145466, 0.4578275, 0.40821073}
	clipStd  = [3]float32{0.26862954, 0.26130258, 0.27577711}
	samMean  = [3]float32{123.675, 116.28, 103.53}
	samStd   = [3]float32{58.395, 57.12, 57.375}
)

// picture returns the input of a preprocess fixture as Go decodes it.
func picture(t *testing.T, f *golden.Fixture, name string) image.Image {
	t.Helper()
	var in struct {
		File string `json:"file"`
	}
	require.NoError(t, json.Unmarshal(f.InputsRaw[name], &in))
	if in.File != "" {
		file, err := os.Open(f.Path(in.File))
		require.NoError(t, err)
		defer file.Close()
		img, err := png.Decode(file)
		require.NoError(t, err)
		return img
	}
	x := f.Input(t, name)
	return (&RGB{Width: x.Shape[1], Height: x.Shape[0], Pix: x.U8}).Image()
}

// clipN, openaiN and samN of the fixtures, on this package's functions.
func TestPreprocessFixtures(t *testing.T) {
	for _, f := range golden.All(t, "preprocess") {
		for _, output := range f.Outputs() {
			parts := strings.Split(output, ".")
			name, kind := parts[0], parts[1]
			img := picture(t, f, name)
			if kind == "rgb" {
				rgb, err := ToRGB(t.Context(), img)
				require.NoError(t, err)
				f.CheckBytes(t, output, rgb.Pix)
				continue
			}
			n, err := strconv.Atoi(strings.TrimLeft(kind, "abcdefghijklmnopqrstuvwxyz"))
			require.NoError(t, err)
			var rgb *RGB
			var tensor []float32
			switch strings.TrimRight(kind, "0123456789") {
			case "clip":
				rgb, err = Resize(t.Context(), img, Whole(image.Pt(n, n), Bicubic()))
				require.NoError(t, err)
				tensor = make([]float32, 3*n*n)
				rgb.Planes(tensor, true, clipMean, clipStd)
			case "openai":
				target, e := CenterCrop(img.Bounds().Size(), n, Bicubic())
				require.NoError(t, e)
				rgb, err = Resize(t.Context(), img, target)
				require.NoError(t, err)
				tensor = make([]float32, 3*n*n)
				rgb.Planes(tensor, true, clipMean, clipStd)
			case "sam":
				size, e := LongestSide(img.Bounds().Size(), n)
				require.NoError(t, e)
				rgb, err = new(Scratch).ResizeRGB(t.Context(), img, Whole(size, Triangle()))
				require.NoError(t, err)
				tensor = padded(rgb, n)
			}
			switch parts[2] {
			case "u8":
				f.CheckBytes(t, output, rgb.Pix)
			case "tensor":
				f.Check(t, output, tensor, golden.Fraction(0.5)) // 1e-6 is a few units in the last place of 2
			}
		}
	}
}

func padded(rgb *RGB, n int) []float32 {
	plane := make([]float32, 3*rgb.Width*rgb.Height)
	rgb.Planes(plane, false, samMean, samStd)
	out := make([]float32, 3*n*n)
	for c := range 3 {
		for y := range rgb.Height {
			copy(out[(c*n+y)*n:], plane[(c*rgb.Height+y)*rgb.Width:][:rgb.Width])
		}
	}
	return out
}

// Position and map interpolation: the stored maps of the reference.
func TestBilinearFixtures(t *testing.T) {
	f := golden.Load(t, "surgery_ops/similarity_map_b1_s14_t3_375x500.safetensors")
	x := f.Input(t, "sm")
	cells, labels := x.Shape[1], x.Shape[2]
	lo, hi := make([]float32, labels), make([]float32, labels)
	for c := range labels {
		lo[c], hi[c] = x.F32[c], x.F32[c]
		for i := range cells {
			lo[c], hi[c] = min(lo[c], x.F32[i*labels+c]), max(hi[c], x.F32[i*labels+c])
		}
	}
	for i := range x.F32 {
		c := i % labels
		x.F32[i] = (x.F32[i] - lo[c]) / (hi[c] - lo[c])
	}
	got := make([]float32, 375*500*labels)
	Bilinear(got, image.Pt(500, 375), x.F32, image.Pt(14, 14), labels)
	f.Check(t, "map", got)
}

// torch 2.15: F.interpolate(torch.tensor([[[[0., 1, 4, 9, 16, 25, 36]]]]).expand(1, 1, 5, 7), …)[0, 0, 0]
func TestCubic(t *testing.T) {
	src := make([]float32, 0, 35)
	for range 5 {
		src = append(src, 0, 1, 4, 9, 16, 25, 36)
	}
	got := make([]float32, 4*3)
	Cubic(got, image.Pt(4, 3), src, image.Pt(7, 5), 1, 0)
	golden.Close(t, "bicubic", got[:4], []float32{0.16259767, 4.66601658, 14.67383099, 32.62940216}, 2e-5)
	CubicAntialias(got, image.Pt(4, 3), src, image.Pt(7, 5), 1)
	golden.Close(t, "antialiased", got[:4], []float32{0.22572087, 4.42220354, 15.44433784, 31.42732811}, 2e-5)
	wide := make([]float32, 9*5)
	Cubic(wide, image.Pt(9, 5), src, image.Pt(7, 5), 1, 0.1)
	golden.Close(t, "bicubic with offset", wide[:9],
		[]float32{-0.06771992, 0.33828726, 1.95943356, 4.96751451, 8.66687489, 13.50244713, 20.12499619, 28.68230057, 36.29335785}, 3e-5)
}

func TestNoPictureIsAnError(t *testing.T) {
	var none *image.Gray
	for _, img := range []image.Image{nil, none, (*Picture)(nil), image.NewNRGBA(image.Rect(0, 0, 0, 5)), new(image.YCbCr)} {
		_, err := ToRGB(t.Context(), img)
		require.ErrorIs(t, err, ErrSize)
		_, err = Resize(t.Context(), img, Whole(image.Pt(3, 3), Bicubic()))
		require.ErrorIs(t, err, ErrSize)
	}
	img := image.NewGray(image.Rect(0, 0, 3, 3))
	for _, target := range []Target{
		Whole(image.Pt(0, 4), Bicubic()), Whole(image.Pt(1<<20, 1<<20), Bicubic()),
		{image.Pt(5, 5), image.Rect(3, 3, 6, 5), Bicubic()}, {image.Pt(5, 5), image.Rect(3, 3, 3, 5), Bicubic()},
	} {
		_, err := Resize(t.Context(), img, target)
		require.ErrorIs(t, err, ErrSize)
	}
	_, err := LongestSide(image.Pt(3000, 1), 1024)
	require.ErrorIs(t, err, ErrSize)
}

// Planes and rows that are shorter than a picture claims are errors.
func TestShortPixels(t *testing.T) {
	short := image.NewYCbCr(image.Rect(0, 0, 9, 9), image.YCbCrSubsampleRatio420)
	short.Cr = short.Cr[:20]
	gray := image.NewGray(image.Rect(0, 0, 9, 9))
	gray.Pix = gray.Pix[:80]
	alpha := image.NewNYCbCrA(image.Rect(0, 0, 9, 9), image.YCbCrSubsampleRatio420)
	alpha.A = alpha.A[:80]
	for _, img := range []image.Image{short, gray, alpha} {
		_, err := ToRGB(t.Context(), img)
		require.ErrorIs(t, err, ErrSize, "%T", img)
	}
}

// Pictures whose bounds do not start at zero give the same bytes.
func TestBoundsOffset(t *testing.T) {
	whole := image.NewNRGBA(image.Rect(0, 0, 20, 20))
	for i := range whole.Pix {
		whole.Pix[i] = uint8(i * 7)
	}
	part := whole.SubImage(image.Rect(3, 5, 14, 17))
	moved := image.NewNRGBA(image.Rect(0, 0, 11, 12))
	for y := range 12 {
		for x := range 11 {
			moved.SetNRGBA(x, y, part.At(x+3, y+5).(color.NRGBA))
		}
	}
	a, err := Resize(t.Context(), part, Whole(image.Pt(7, 9), Bicubic()))
	require.NoError(t, err)
	b, err := Resize(t.Context(), moved, Whole(image.Pt(7, 9), Bicubic()))
	require.NoError(t, err)
	require.Equal(t, b.Pix, a.Pix)
}

// formula is a picture of every mode, whose bytes differ everywhere.
func formula(mode Mode, w, h int) *Picture {
	p := NewPicture(mode, w, h)
	for i := range p.Pix {
		p.Pix[i] = uint8(i * i >> 3 * 7)
		if mode == ModeBilevel {
			p.Pix[i] = p.Pix[i] >> 7 * 255
		}
	}
	if mode == ModePalette {
		p.Palette = new(Palette)
		for i := range p.Palette {
			p.Palette[i] = uint8(i * 11)
		}
	}
	return p
}

// What is kept of a resized picture is what a cut out of the whole would be.
func TestKeepIsCrop(t *testing.T) {
	for mode := range modes {
		for _, c := range []struct{ from, to image.Point }{
			{image.Pt(37, 29), image.Pt(20, 17)}, {image.Pt(9, 31), image.Pt(40, 6)}, {image.Pt(31, 9), image.Pt(6, 40)},
			{image.Pt(9, 90), image.Pt(5, 7)}, {image.Pt(12, 12), image.Pt(12, 30)}, {image.Pt(12, 12), image.Pt(30, 12)}, {image.Pt(12, 12), image.Pt(12, 12)},
		} {
			img := formula(mode, c.from.X, c.from.Y)
			keep := image.Rect(c.to.X/4, c.to.Y/3, c.to.X-1, c.to.Y/3+2)
			for _, f := range []Filter{Bicubic(), Triangle()} {
				whole, err := Resize(t.Context(), img, Whole(c.to, f))
				require.NoError(t, err)
				part, err := Resize(t.Context(), img, Target{c.to, keep, f})
				require.NoError(t, err)
				for y := range part.Height {
					at := 3 * ((keep.Min.Y+y)*whole.Width + keep.Min.X)
					require.Equal(t, whole.Pix[at:at+3*part.Width], part.Pix[3*y*part.Width:3*(y+1)*part.Width], "%v %v", mode, c)
				}
			}
		}
	}
}

// allocated is how many bytes a function allocates.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// Tables and passes follow what comes out, not the picture, however long that is.
func TestResizeMemoryFollowsOutput(t *testing.T) {
	const long = 1 << 22
	for _, size := range []image.Point{image.Pt(long, 1), image.Pt(1, long), image.Pt(long/2, 2), image.Pt(2, long/2)} {
		img := NewPicture(ModeGray, size.X, size.Y)
		for _, to := range []image.Point{image.Pt(224, 224), image.Pt(1, 1), image.Pt(3, 7)} {
			n := allocated(func() {
				_, err := Resize(t.Context(), img, Whole(to, Bicubic()))
				require.NoError(t, err)
			})
			require.Less(t, n, int64(4<<20), "%v to %v", size, to)
		}
	}
	img := NewPicture(ModeRGB, 2, 3000)
	n := allocated(func() {
		target, err := CenterCrop(image.Pt(2, 3000), 224, Bicubic())
		require.NoError(t, err)
		_, err = Resize(t.Context(), img, target)
		require.NoError(t, err)
	})
	require.Less(t, n, int64(1<<20))
}

// A table of weights and weights without one give the same bytes.
func TestWideOutput(t *testing.T) {
	for _, mode := range []Mode{ModeGray, ModeRGB, ModeRGBA} {
		img := formula(mode, 5*maxWeights, 3)
		s := samplesOf(img.raster(nil))
		a := newScaler(img.Rect.Dx(), 3, 0, 3, Bicubic())
		budget := &budget{ctx: t.Context()}
		want, err := s.passHorizontal(budget, a, 0, 0, 3)
		require.NoError(t, err)
		got := s.after(3, 3)
		var mem lineMemory
		for x := range 3 {
			require.NoError(t, s.wideOutput(budget, &mem, a, x, 0, 0, got))
		}
		require.Equal(t, want.pix, got.pix)
	}
}

// counting ends after some questions.
type counting struct {
	context.Context
	left int
}

func (c *counting) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestContextEndsResize(t *testing.T) {
	for _, img := range []image.Image{
		NewPicture(ModeRGB, 2000, 2000), NewPicture(ModePalette, 2000, 2000), image.NewRGBA64(image.Rect(0, 0, 2000, 2000)),
		image.NewYCbCr(image.Rect(0, 0, 2000, 2000), image.YCbCrSubsampleRatio420), image.NewGray16(image.Rect(0, 0, 2000, 2000)),
	} {
		for left := range 3 {
			_, err := Resize(&counting{t.Context(), left}, img, Whole(image.Pt(1500, 1500), Bicubic()))
			require.ErrorIs(t, err, context.Canceled, "%T", img)
		}
	}
}

// What the types of the standard library are taken for.
func TestModes(t *testing.T) {
	r := image.Rect(0, 0, 4, 4)
	gray := image.NewGray(r)
	gray.Pix[3] = 7
	clear, opaque := image.NewNRGBA(r), image.NewNRGBA(r)
	for i := range opaque.Pix {
		opaque.Pix[i] = 255
	}
	for _, c := range []struct {
		img  image.Image
		mode Mode
	}{
		{gray, ModeGray}, {image.NewGray(r), ModeBilevel}, {image.NewGray16(r), ModeGray}, {image.NewCMYK(r), ModeCMYK},
		{image.NewPaletted(r, nil), ModePalette}, {clear, ModeRGBA}, {opaque, modeRGBX}, {image.NewRGBA(r), ModeRGBA},
		{image.NewYCbCr(r, image.YCbCrSubsampleRatio444), ModeRGB}, {image.NewNYCbCrA(r, image.YCbCrSubsampleRatio420), ModeRGBA},
		{image.NewUniform(color.White), ModeRGB},
	} {
		if u, ok := c.img.(*image.Uniform); ok {
			c.img = bounded{u}
		}
		p, err := FromImage(t.Context(), c.img)
		require.NoError(t, err)
		require.Equal(t, c.mode, p.Mode, "%T", c.img)
	}
}

type bounded struct{ *image.Uniform }

func (bounded) Bounds() image.Rectangle { return image.Rect(0, 0, 5, 5) }

// A palette may have more colors than a byte names, or fewer than it names.
func TestPalettes(t *testing.T) {
	long := make(color.Palette, 300)
	for i := range long {
		long[i] = color.NRGBA{uint8(i), 1, 2, 0}
	}
	img := image.NewPaletted(image.Rect(0, 0, 2, 1), long)
	img.Pix[0], img.Pix[1] = 255, 3
	rgb, err := ToRGB(t.Context(), img)
	require.NoError(t, err)
	require.Equal(t, []uint8{255, 1, 2, 3, 1, 2}, rgb.Pix)
	img.Palette = long[:4]
	rgb, err = ToRGB(t.Context(), img)
	require.NoError(t, err)
	require.Equal(t, []uint8{0, 0, 0, 3, 1, 2}, rgb.Pix)
}

// A part of a picture is a picture.
func TestSubImage(t *testing.T) {
	for mode := range modes {
		whole := formula(mode, 20, 20)
		part := whole.SubImage(image.Rect(3, 5, 14, 17))
		require.Equal(t, image.Rect(3, 5, 14, 17), part.Bounds())
		moved := NewPicture(mode, 11, 12)
		moved.Palette = whole.Palette
		for y := range 12 {
			copy(moved.Row(y), whole.Row(y + 5)[3*mode.Channels():])
		}
		require.Equal(t, moved.At(2, 3), part.At(5, 8))
		a, err := Resize(t.Context(), part, Whole(image.Pt(7, 9), Bicubic()))
		require.NoError(t, err)
		b, err := Resize(t.Context(), moved, Whole(image.Pt(7, 9), Bicubic()))
		require.NoError(t, err)
		require.Equal(t, b.Pix, a.Pix)
		require.True(t, whole.SubImage(image.Rect(30, 30, 40, 40)).Bounds().Empty())
	}
}

// Asking for single pixels allocates nothing.
func TestAtAllocates(t *testing.T) {
	for mode := range modes {
		p := formula(mode, 3, 3)
		require.Zero(t, testing.AllocsPerRun(10, func() { p.RGBA64At(1, 2) }), "%v", mode)
	}
}

func FuzzResize(f *testing.F) {
	f.Add(5, 7, 224, 224, byte(0))
	f.Add(1, 3000, 1, 1, byte(1))
	f.Add(1<<19, 1, 3, 2, byte(5))
	f.Fuzz(func(t *testing.T, w, h, dw, dh int, kind byte) {
		if w > 1<<20 || h > 1<<20 || w*h > 1<<20 || dw > 2000 || dh > 2000 {
			return // bounds the time of a run, not what is asked
		}
		if w < 0 || h < 0 {
			w, h = 0, 0
		}
		r := image.Rect(0, 0, w, h)
		img := []image.Image{image.NewNRGBA(r), image.NewGray(r), image.NewPaletted(r, color.Palette{color.Black}),
			image.NewYCbCr(r, image.YCbCrSubsampleRatio(kind%6)), image.NewRGBA64(r), formula(Mode(kind)%modes, w, h)}[int(kind)%6]
		target := Whole(image.Pt(dw, dh), Bicubic())
		if kind&64 != 0 {
			target.Keep.Min = image.Pt(dw/2, dh/3)
		}
		rgb, err := Resize(t.Context(), img, target)
		if err != nil {
			require.ErrorIs(t, err, ErrSize)
			return
		}
		require.Len(t, rgb.Pix, 3*target.Keep.Dx()*target.Keep.Dy())
	})
}
