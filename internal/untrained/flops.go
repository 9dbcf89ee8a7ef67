package untrained

import "github.com/clipsurgery/clipsurgery/vit"

// ImageFlops counts the multiplications and additions of a ViT's untouched
// image tower on side × side pixels; with surgery, those of attention and output
// projection beside the last 6 blocks too, less what the last block need not do
// for other rows than the class token's.
func ImageFlops(c vit.Config, side int, surgery bool) float64 {
	v := c.Vision
	n, w := float64(1+(side/v.Patch)*(side/v.Patch)), float64(v.Width)
	flops := 2*(n-1)*3*float64(v.Patch*v.Patch)*w + 2*n*w*float64(c.Embed) + float64(v.Layers)*(24*n*w*w+4*n*n*w)
	if surgery {
		flops += 6*(2*n*w*w+4*n*n*w) - (18*n*w*w + 4*n*n*w)
	}
	return flops
}

// TextFlops counts those of a block of the text tower for a row with so many
// ancestors.
func TextFlops(c vit.Config, ancestors int) float64 {
	w := float64(c.Text.Width)
	return 24*w*w + 4*float64(1+ancestors)*w
}

// SAMViTBFlops counts those of Segment Anything's ViT-B image encoder on
// 1024×1024 pixels.
const SAMViTBFlops = 976e9
