package pix

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
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
				rgb, err := FromImage(img)
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
				rgb, err = Resize(img, n, n, Bicubic())
				require.NoError(t, err)
				tensor = make([]float32, 3*n*n)
				rgb.Planes(tensor, true, clipMean, clipStd)
			case "openai":
				rgb, err = CenterCrop(img, n)
				require.NoError(t, err)
				tensor = make([]float32, 3*n*n)
				rgb.Planes(tensor, true, clipMean, clipStd)
			case "sam":
				whole, err := FromImage(img)
				require.NoError(t, err)
				size, err := LongestSide(image.Pt(whole.Width, whole.Height), n)
				require.NoError(t, err)
				rgb, err = whole.Resize(size.X, size.Y, Triangle())
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
	_, err := FromImage(image.NewNRGBA(image.Rect(0, 0, 0, 5)))
	require.ErrorIs(t, err, ErrSize)
	img := image.NewGray(image.Rect(0, 0, 3, 3))
	_, err = Resize(img, 0, 4, Bicubic())
	require.ErrorIs(t, err, ErrSize)
	_, err = Resize(img, 1<<20, 1<<20, Bicubic())
	require.ErrorIs(t, err, ErrSize)
	_, err = LongestSide(image.Pt(3000, 1), 1024)
	require.ErrorIs(t, err, ErrSize)
	_, err = CenterCrop(image.NewGray(image.Rect(0, 0, 1, 1<<22)), 4096)
	require.ErrorIs(t, err, ErrSize)
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
	a, err := Resize(part, 7, 9, Bicubic())
	require.NoError(t, err)
	b, err := Resize(moved, 7, 9, Bicubic())
	require.NoError(t, err)
	require.Equal(t, b.Pix, a.Pix)
}

func FuzzResize(f *testing.F) {
	f.Add(5, 7, 224, 224, byte(0))
	f.Add(1, 3000, 1, 1, byte(1))
	f.Fuzz(func(t *testing.T, w, h, dw, dh int, kind byte) {
		if w < 0 || h < 0 || w > 2000 || h > 2000 || dw > 2000 || dh > 2000 {
			return
		}
		r := image.Rect(0, 0, w, h)
		img := []image.Image{image.NewNRGBA(r), image.NewGray(r), image.NewPaletted(r, color.Palette{color.Black}),
			image.NewYCbCr(r, image.YCbCrSubsampleRatio(kind%6)), image.NewRGBA64(r)}[int(kind)%5]
		rgb, err := Resize(img, dw, dh, Bicubic())
		if err != nil {
			require.ErrorIs(t, err, ErrSize)
			return
		}
		require.Len(t, rgb.Pix, 3*dw*dh)
	})
}
