// Package sam cuts objects out of pictures with Segment Anything (Kirillov et
// al., arXiv 2304.02643) and MobileSAM.
//
// A picture is encoded once, which is the expensive step, and then asked any
// number of times:
//
//	model, err := sam.Open("sam_vit_b_01ec64.safetensors")
//	embedding, err := model.Encode(ctx, img)
//	results, err := model.Predict(ctx, embedding, []sam.Prompt{
//		sam.Clicks([]image.Point{{X: 120, Y: 80}}, nil),
//		{Box: &sam.Box{X0: 40, Y0: 30, X1: 236, Y1: 124}},
//	})
//	mask := results[0].Best()
//
// # Coordinates
//
// Everything a caller passes or gets is in pixels of the original picture, x
// to the right and y down. How the model resizes and pads stays inside, but
// for [Pixels] and [LowRes]: prepared pixels have the model's input size, and
// low-resolution logits cover its padded square with four values per grid
// cell and direction.
//
// # Models
//
// Sizes come from the shapes of the tensors: ViT-B, ViT-L, ViT-H, MobileSAM's
// TinyViT and any other of their kind. Names may be Meta's or Hugging Face's.
// Predictions agree with the reference's code to float32 rounding.
//
// A [Model] is immutable and safe for concurrent use, and so is an
// [Embedding]. Calls share the model's workers; none leaves a goroutine
// behind. Between calls a model keeps the scratch memory of as many calls as
// ever ran at once.
//
// # Speed
//
// Nothing is multiplied that is known beforehand: windows are padded after
// the projections, not before; what prompts share is computed once per
// picture, and few prompt tokens meet the cells of the image directly,
// with the decoder's projections carried over to the tokens' side.
package sam
