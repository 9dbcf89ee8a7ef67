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
