// Package surgery shows where a CLIP model sees a text, without training: CLIP
// Surgery (Li et al., arXiv 2304.05653) and its relatives, made of small
// functions that compose.
//
// There are three places to operate, in the order of the data:
//
//   - on the tower, while it runs: a [vit.Plan] such as [CLIPSurgery] changes
//     the attention of the last blocks, so that every patch keeps to its own
//     meaning;
//   - on the features: [FeatureSurgery] (many labels) or [RemoveRedundant] (one
//     text) takes away what all texts share; [Similarity] takes away nothing;
//   - on the maps: [Scores.Map] makes a picture-sized heat map, [Scores.Points]
//     makes clicks for a segmenter, [Overlay] and [Sheet] make pictures.
//
// On top of them are the tasks: [Segment] gives every pixel a class,
// [Recognize] scores labels for a whole picture, [Words] says which words of a
// sentence the picture supports. [Plans] lists the published plans, [Compose]
// makes others. Package surgery/eval measures them.
//
// So the method of the paper is
//
//	f, err := clip.EncodeImage(ctx, img, vit.Operate(surgery.CLIPSurgery()))
//	text, err := clip.EncodeLabels(ctx, labels, surgery.Templates())
//	scores, err := surgery.FeatureSurgery(f, text)
//	heat, err := scores.Map(0)
//
// # Coordinates
//
// A row of [Scores] is the class token (row 0) or a cell of the patch grid, row
// by row from the top left. Maps and points are in pixels of the original
// picture.
//
// # Constant maps
//
// Maps and points stretch the scores of a label to 0–1. Where all cells score
// alike there is nothing to stretch, and the answer is [ErrConstant], not a map
// of NaN. Label-set surgery of a single label is such a case by construction:
// use [RemoveRedundant].
package surgery
