// Package sam cuts objects out of pictures with Segment Anything (Kirillov et
// al., arXiv 2304.02643), MobileSAM (Zhang et al., arXiv 2306.14289) and SAM 2
// (Ravi et al., arXiv 2408.00714; SAM 2.1 is the same network).
//
// A picture is encoded once, which is the expensive step; then any number of
// prompts can be answered:
//
//	model, err := sam.Open("sam_vit_b_01ec64.pth")
//	embedding, err := model.Encode(ctx, img)
//	results, err := model.Predict(ctx, embedding, []sam.Prompt{
//		sam.Clicks([]image.Point{{X: 120, Y: 80}}, nil),
//		{Box: &sam.Box{X0: 40, Y0: 30, X1: 236, Y1: 124}},
//	})
//	mask := results[0].Best()
//
// [Model.Everything] prompts with a grid of clicks and keeps the good masks. A
// [Prompt] has points, a box, both or neither, and optionally the logits of an
// earlier answer or of a mask ([Embedding.MaskPrompt]) to start from. The
// points that package surgery finds for a text become a prompt by
// Clicks(points.Foreground, points.Background); package clipsurgery does both
// steps.
//
// # Coordinates
//
// All coordinates that a caller passes or gets are pixels of the original
// picture, x to the right and y down, counted from 0 whatever the bounds of the
// image.Image. Points and boxes refer to pixels: (0, 0) is the center of the
// first pixel, as in the reference. Only [Polygon] refers to the corners of
// pixels: those of the first pixel are (0, 0) and (1, 1). Resizing and padding
// are internal, except in [Pixels] and [LowRes].
//
// # Shapes
//
// For an input of S pixels (1024) and cells of P pixels (16) the grid has
// G = S/P columns and rows (64):
//
//	Pixels              3×Height×Width, the longest side S, normalized, unpadded
//	Embedding.Features  G² × C, a row per cell, row by row; C = 256 channels
//	LowRes              4G × 4G logits of the padded input square, 256 × 256
//	Result.Logits       Height × Width logits of the original picture
//	Mask                runs of the original picture's pixels whose logit is > 0
//
// The padded square has the picture at its upper left. A result has one mask
// (Prompt.Single) or three, in the model's order.
//
// SAM 2 stretches the picture to the square instead: Pixels is 3×S×S, and LowRes
// covers the whole picture. Its logits are between −32 and 32 there. Its
// embedding also holds two finer maps of features, C/8 channels for a quarter of
// a cell and C/4 for half a cell.
//
// # Models
//
// Sizes follow from the shapes of the tensors: ViT-B, ViT-L, ViT-H, MobileSAM's
// TinyViT and similar models. Tensors may have Meta's or Hugging Face's names.
// Settings that do not follow from shapes come from config.json, metadata or
// options ([DecoderHeads], [DecoderEpsilon]). SAM 2's four sizes are known by
// their shapes; the heads, windows and global blocks of others come from
// config.json or from [Heads], [Windows] and [GlobalBlocks]. Predictions agree
// with the reference's code to float32 rounding. ViT-H, whose weights take 2.6 GB, loads
// and encodes in 3.0 GB of memory.
//
// A [Model] is immutable and safe for concurrent use, and so is an [Embedding].
// Calls share the model's workers and leave no goroutine behind. Between calls
// the model keeps scratch memory, so that the next picture allocates its
// embedding and little else; after a burst of calls it gives memory back.
//
// # Speed
//
// Known values are never multiplied: windows are padded after the projections,
// not before. Work that prompts share is done once per picture. Where there are
// few prompt tokens, the decoder's projections of the image cells are carried
// over to the tokens. Logits that are surely on one side of the threshold are
// not interpolated.
//
// # Sources
//
// facebookresearch/segment-anything at dca509f (modeling, predictor,
// automatic_mask_generator, utils/amg), facebookresearch/sam2 (modeling,
// sam2_image_predictor, automatic_mask_generator), ChaoningZhang/MobileSAM
// (modeling/tiny_vit_sam), cocodataset/cocoapi (common/maskApi.c). Functions
// name their own sources. Intended differences: meaningless prompts are
// [ErrPrompt], where the reference returns some mask; everything mode returns
// no masks where the reference fails for lack of a good one; inputs of another
// size than the model's ([InputSize]) are not in the reference.
package sam
