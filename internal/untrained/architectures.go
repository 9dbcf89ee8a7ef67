package untrained

import (
	"image"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/vit"
)

// ViTB16 is OpenAI's ViT-B/16.
func ViTB16() vit.Config { return transformer(512, 16, 768, 12, 512) }

// ViTL14 is OpenAI's ViT-L/14.
func ViTL14() vit.Config { return transformer(768, 14, 1024, 24, 768) }

// RN50 is OpenAI's RN50.
func RN50() vit.Config { return ResNet(1024, 224, 64, [4]int{3, 4, 6, 3}, 512) }

func transformer(embed, patch, width, layers, textWidth int) vit.Config {
	const side = 224
	return vit.Config{
		Embed: embed,
		Vision: vit.VisionConfig{
			Patch: patch, Grid: image.Pt(side/patch, side/patch),
			Width: width, Layers: layers, Hidden: 4 * width,
		},
		Text: text(textWidth),
	}
}

// ResNet is a CLIP with a ModifiedResNet for pictures of side × side pixels.
func ResNet(embed, side, width int, stages [4]int, textWidth int) vit.Config {
	const stride = 32
	return vit.Config{
		Embed:  embed,
		Vision: vit.VisionConfig{Patch: stride, Grid: image.Pt(side/stride, side/stride), Width: width, Stages: stages},
		Text:   text(textWidth),
	}
}

// text is the text tower that all of OpenAI's models have.
func text(width int) vit.TextConfig {
	return vit.TextConfig{Context: 77, Vocabulary: 49408, Width: width, Layers: 12, Hidden: 4 * width}
}

// SAMViTB is Segment Anything's ViT-B, cut to so many of its 12 blocks: the
// decoder costs the same behind any.
func SAMViTB(blocks int) sam.Config {
	const width, side = 768, 1024
	v := &sam.ViTConfig{Width: width, Depth: blocks, Heads: 12, Hidden: 4 * width, Eps: 1e-6}
	c := sam.Config{
		ImageSize: side, PatchSize: 16, ViT: v,
		PromptWidth: 256, MaskChannels: 16, Masks: 4,
		DecoderDepth: 2, DecoderHeads: 8, DecoderHidden: 2048, DecoderEps: 1e-5, CrossWidth: 128,
		IoUDepth: 3, IoUHidden: 256,
	}
	for i := range blocks {
		window, cells := 14, 14
		if i%3 == 2 { // global attention
			window, cells = 0, c.Grid()
		}
		v.Windows, v.Tables = append(v.Windows, window), append(v.Tables, 2*cells-1)
	}
	return c
}

// SAM2Names are SAM 2's sizes, from the smallest.
func SAM2Names() []string { return []string{"tiny", "small", "base_plus", "large"} }

// SAM2 is SAM 2 of a size, one of [SAM2Names]. The large one is the answer for
// every other name.
func SAM2(name string) sam.Config {
	const width = 256
	h := &sam.HieraConfig{Eps: 1e-6}
	first, heads := 144, 2
	switch h.Windows = [4]int{8, 4, 14, 7}; name {
	case "tiny":
		first, heads, h.Blocks, h.Globals, h.Background = 96, 1, [4]int{1, 2, 7, 2}, []int{5, 7, 9}, 7
	case "small":
		first, heads, h.Blocks, h.Globals, h.Background = 96, 1, [4]int{1, 2, 11, 2}, []int{7, 10, 13}, 7
	case "base_plus":
		first, heads, h.Blocks, h.Globals, h.Background = 112, 2, [4]int{2, 3, 16, 3}, []int{12, 16, 20}, 14
	default:
		h.Windows, h.Blocks, h.Globals, h.Background = [4]int{8, 4, 16, 8}, [4]int{2, 6, 36, 4}, []int{23, 33, 43}, 7
	}
	for s := range h.Widths {
		h.Widths[s], h.Heads[s] = first<<s, heads<<s
	}
	return sam.Config{
		ImageSize: 1024, PatchSize: 16, Hiera: h,
		PromptWidth: width, MaskChannels: 16, Masks: 4,
		DecoderDepth: 2, DecoderHeads: 8, DecoderHidden: 2048, DecoderEps: 1e-5, CrossWidth: width / 2,
		IoUDepth: 3, IoUHidden: width,
	}
}
