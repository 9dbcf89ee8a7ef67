// Package sam cuts objects out of pictures with Segment Anything (Kirillov et
// al., arXiv 2304.02643) and MobileSAM (Zhang et al., arXiv 2306.14289).
//
// A picture is encoded once, which is the expensive step, and then asked any
// number of times:
//
//	model, err := sam.Open("sam_vit_b_01ec64.pth")
//	embedding, err := model.Encode(ctx, img)
//	results, err := model.Predict(ctx, embedding, []sam.Prompt{
//		sam.Clicks([]image.Point{{X: 120, Y: 80}}, nil),
//		{Box: &sam.Box{X0: 40, Y0: 30, X1: 236, Y1: 124}},
//	})
//	mask := results[0].Best()
//
// [Model.Everything] asks with a grid of clicks and keeps the good answers. A
// [Prompt] has points, a box, both or none, and the logits of an earlier answer
// or of a mask ([Embedding.MaskPrompt]) to start from. What package surgery
// makes of a text becomes a prompt in one line: Clicks(points.Foreground,
// points.Background); package clipsurgery goes the whole way.
//
// # Coordinates
//
// Everything a caller passes or gets is in pixels of the original picture, x
// to the right and y down, from 0 whatever the corner of the image.Image. Points
// and boxes name pixels: (0, 0) is the middle of the first one, as in the
// reference. [Polygon] alone has corners of pixels, of which the first one's are
// (0, 0) and (1, 1). How the model resizes and pads stays inside, but for
// [Pixels] and [LowRes].
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
// # Models
//
// Sizes come from the shapes of the tensors: ViT-B, ViT-L, ViT-H, MobileSAM's
// TinyViT and any other of their kind. Names may be Meta's or Hugging Face's.
// What no shape tells comes from config.json, metadata or options
// ([DecoderHeads], [DecoderEpsilon]). Predictions agree with the reference's
// code to float32 rounding. ViT-H, whose weights take 2.6 GB, loads and encodes
// in 3.0 GB of memory.
//
// A [Model] is immutable and safe for concurrent use, and so is an
// [Embedding]. Calls share the model's workers; none leaves a goroutine
// behind. Between calls a model keeps the scratch memory of as many calls as
// ever ran at once; a further picture allocates its embedding and little else.
//
// # Speed
//
// Nothing is multiplied that is known beforehand: windows are padded after
// the projections, not before; what prompts share is computed once per
// picture, and few prompt tokens meet the cells of the image directly,
// with the decoder's projections carried over to the tokens' side. Masks are
// made of the logits without scaling those that are surely on one side of the
// threshold.
//
// # Sources
//
// facebookresearch/segment-anything at dca509f (modeling, predictor,
// automatic_mask_generator, utils/amg), ChaoningZhang/MobileSAM
// (modeling/tiny_vit_sam), cocodataset/cocoapi (common/maskApi.c). Functions
// name theirs. What differs on purpose: prompts that mean nothing are
// [ErrPrompt] where the reference answers something; everything mode without a
// good mask answers with none where the reference fails; an input of another
// size than the model's ([InputSize]) is not in the reference.
package sam
