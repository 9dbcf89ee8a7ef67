// Package clipsurgery cuts the objects that texts name out of a picture: CLIP
// Surgery finds them, Segment Anything outlines them. It is pure Go. The two
// methods are packages of their own and meet only here.
//
// # What is where
//
//   - [github.com/clipsurgery/clipsurgery/vit]: CLIP's image and text towers;
//     what surgery does to the image tower is plain data, a [github.com/clipsurgery/clipsurgery/vit.Plan].
//   - [github.com/clipsurgery/clipsurgery/surgery]: plans, similarity, feature
//     surgery, heat maps, points, label maps; surgery/draw shows them and
//     surgery/eval measures them.
//   - [github.com/clipsurgery/clipsurgery/sam]: Segment Anything: encode once,
//     prompt many times, everything mode, masks as run lengths.
//   - [github.com/clipsurgery/clipsurgery/weights]: checkpoints as they are
//     published; weights/shapes embeds small demo models with exact ground truth.
//   - [github.com/clipsurgery/clipsurgery/tokenizer]: CLIP's byte-pair encoding.
//   - [github.com/clipsurgery/clipsurgery/simd]: matrix products and vector
//     operations in Go assembly, and a BLAS for gonum.
//
// # The whole way
//
//	img, err := clipsurgery.OpenPicture("park.jpg") // as Pillow reads it, upright
//	clip, err := vit.Open("ViT-B-16.safetensors")
//	model, err := sam.Open("sam_vit_b_01ec64.safetensors")
//	cutouts, err := clipsurgery.Segment(ctx, clip, model, img, []string{"person", "bench"},
//		clipsurgery.ImageOptions(vit.Resize(512)))
//	mask := cutouts[0].Mask.Alpha() // of the person
//
// Options go beyond the paper's way: [Components] prompts for each of several
// objects of one name separately, [Rerank] lets the heat map choose among the
// segmenter's guesses, and [MinPresence] reports a label that is not there
// instead of cutting out something else. A [Segmenter] encodes its labels once
// for many pictures.
//
// # From picture to mask
//
//	image.Image ─ preprocess (Pillow-exact) ─ image tower with a plan ─ tokens
//	tokens × texts ─ scores ─ heat map per text ─ points ─ SAM ─ mask
//
// Matrices are gonum's [gonum.org/v1/gonum/blas/blas32.General] at every joint:
// a row per token or text. All coordinates that a caller passes or gets are
// pixels of the original picture. Models are immutable after loading and safe
// for concurrent use.
//
// The papers: Li et al., "A Closer Look at the Explainability of Contrastive
// Language-Image Pre-training" (CLIP Surgery); Kirillov et al., "Segment
// Anything"; Radford et al., "Learning Transferable Visual Models From Natural
// Language Supervision" (CLIP).
package clipsurgery
