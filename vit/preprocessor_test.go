package vit

import (
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/require"
)

// Hugging Face's preprocessor converts to RGB first; torchvision's resize, and
// so OpenCLIP's, works in the picture's own mode, in which palettes take the
// nearest pixel.
func TestPreprocessorConvertsFirst(t *testing.T) {
	p := image.NewPaletted(image.Rect(0, 0, 31, 23), color.Palette{color.Black, color.White})
	rgb := image.NewNRGBA(p.Rect)
	for i := range p.Pix {
		p.Pix[i] = uint8(i * i % 7 % 2)
		rgb.Set(i%31, i/31, p.At(i%31, i/31))
	}
	for preprocessor, same := range map[string]bool{"": false, `{}`: true, `{"do_convert_rgb":false}`: false} {
		c, err := configured(t, small, "", preprocessor, Heads(2, 1))
		require.NoError(t, err)
		for _, opt := range []ImageOption{Resize(16), CenterCrop(16)} {
			a, err := c.Preprocess(p, opt)
			require.NoError(t, err)
			b, err := c.Preprocess(rgb, opt)
			require.NoError(t, err)
			require.Equal(t, same, a.Data[0] == b.Data[0] && a.Data[5] == b.Data[5] && a.Data[77] == b.Data[77], preprocessor)
		}
	}
}

// The default input is the model's own, with the pixels that fill no patch.
func TestNativeSizeIsTheConfigured(t *testing.T) {
	c, err := configured(t, small, `{"vision_config":{"image_size":[18,19],"num_attention_heads":2},"text_config":{"num_attention_heads":1}}`, "")
	require.NoError(t, err)
	require.Equal(t, image.Pt(19, 18), c.Config().Vision.Image)
	p, err := c.Preprocess(image.NewGray(image.Rect(0, 0, 5, 5)))
	require.NoError(t, err)
	require.Equal(t, []int{19, 18}, []int{p.Width, p.Height})
	f, err := c.EncodeImage(t.Context(), image.NewGray(image.Rect(0, 0, 5, 5)))
	require.NoError(t, err)
	require.Equal(t, image.Pt(4, 4), f.Grid)
}
