// Package vit is CLIP: an image tower that gives features of every patch of a
// picture, and a text tower that gives features of texts in the same space.
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
// A picture is resized as Pillow does, cut into patches, and passes the tower's
// blocks. [Features] holds a row for the class token and one for each cell of
// the grid. Any input size works: positions are resized from the model's
// original table. Sides that are no multiple of the patch lose their right and
// bottom rest.
//
// # Plans
//
// A [Plan] changes what the last blocks do, as CLIP Surgery and its relatives
// have it; [CLIP.EncodePlans] compares several at little more than the cost of
// one. Package surgery composes plans by name.
//
// # Texts
//
// All texts of a call form a prefix tree, so that what they share is computed
// once; the attention mask is causal, so nothing after a text's end token is
// computed at all, and the last block runs for end tokens alone. Encoding a
// vocabulary once and keeping it is what [Labels] is for.
//
// # Cost
//
// Work is spread over the model's workers ([WithWorkers]) by rows and columns,
// so results do not depend on their number. Scratch memory is kept between
// calls. A context is looked at between blocks.
package vit
