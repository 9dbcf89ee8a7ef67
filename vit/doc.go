// Package vit runs CLIP: an image tower, which computes features of every patch
// of a picture, and a text tower, which computes features of texts in the same
// space.
//
// [Open] loads a published checkpoint; [CLIP] is immutable and safe for
// concurrent use.
//
//	clip, err := vit.Open("ViT-B-16.safetensors")
//	image, err := clip.EncodeImage(ctx, picture, vit.Resize(512))
//	text, err := clip.EncodeLabels(ctx, []string{"person", "bench"}, templates)
//
// # Pictures
//
// A picture is resized as Pillow resizes it, cut into patches, and passed
// through the tower's blocks. [Features] holds a row for the class token and
// one for each cell of the grid. Any input size works: positions are resized
// from the model's original table. Where a side is not a multiple of the patch,
// the remaining pixels on the right or at the bottom are dropped.
//
// # Plans
//
// A [Plan] changes what the last blocks compute, as CLIP Surgery and related
// methods do. [CLIP.EncodePlans] runs several plans at little more than the
// cost of one. Package surgery has the published plans by name and composes new
// ones.
//
// # Texts
//
// All texts of a call form a prefix tree, so a common beginning is computed
// once. The attention mask is causal, so nothing after a text's end token is
// computed, and the last block runs for end tokens only. [Labels] keeps an
// encoded vocabulary.
//
// # Cost
//
// Work is spread over the model's workers ([WithWorkers]) by rows and columns,
// so results do not depend on their number. Scratch memory is kept between
// calls. The context is checked between blocks.
package vit
