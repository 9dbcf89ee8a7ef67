package main

import (
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"

	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/stretchr/testify/require"
)

// testdata has a picture of 256×192 pixels, red on the left and blue on the right,
// as libheif and libavif write it. Version 0.4.5 of the HEIC library spoils a few samples in
// the upper left corner and pictures of less than 64 pixels.
func TestDecodePreprocess(t *testing.T) {
	clip, err := checkpoint.Open(t.Context())
	require.NoError(t, err)
	for _, name := range []string{"halves.heic", "halves.avif"} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(filepath.Join("testdata", name))
			require.NoError(t, err)
			defer f.Close()
			img, err := decode(f)
			require.NoError(t, err)
			require.Equal(t, image.Pt(256, 192), img.Bounds().Size())
			near(t, color.RGBA{255, 0, 0, 255}, img.At(30, 100))
			near(t, color.RGBA{0, 0, 255, 255}, img.At(220, 100))
			p, err := clip.Preprocess(img, vit.CenterCrop(24))
			require.NoError(t, err)
			require.Equal(t, 24, p.Width)
			require.Len(t, p.Data, 3*24*24)
			red, blue := p.Data[:24*24], p.Data[2*24*24:]
			require.Greater(t, red[0], red[23], "red is on the left")
			require.Less(t, blue[0], blue[23], "blue is on the right")
		})
	}
}

func near(t *testing.T, want color.RGBA, got color.Color) {
	t.Helper()
	g := color.RGBAModel.Convert(got).(color.RGBA)
	for _, pair := range [][2]uint8{{want.R, g.R}, {want.G, g.G}, {want.B, g.B}} {
		require.InDelta(t, pair[0], pair[1], 12, "%v, want %v", g, want)
	}
}

func TestRun(t *testing.T) {
	*out = filepath.Join(t.TempDir(), "heat.png")
	require.NoError(t, run(t.Context()))
	require.FileExists(t, *out)
}
