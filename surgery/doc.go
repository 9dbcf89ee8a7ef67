// Package surgery shows where a CLIP model sees a text, without training. It
// has CLIP Surgery (Li et al., arXiv 2304.05653) and related methods, composed
// of small functions.
//
// The methods operate in three places, in the order of the data flow:
//
//   - on the tower, while it runs: a [vit.Plan] such as [CLIPSurgery] changes
//     the attention of the last blocks, so that every patch keeps to its own
//     meaning;
//   - on the features: [FeatureSurgery] (many labels) or [RemoveRedundant] (one
//     text) removes what all texts share; [Similarity] removes nothing;
//   - on the maps: [Scores.Map] makes a heat map of the picture's size,
//     [Scores.Points] makes clicks for a segmenter; package surgery/draw draws
//     them.
//
// The tasks build on them: [Segment] assigns a class to every pixel,
// [Recognize] scores labels for the whole picture, [Words] shows which words of
// a sentence the picture supports. [Plans] lists the published plans, [Compose]
// makes new ones, and package surgery/eval measures them.
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
// Maps and points stretch the scores of a label to 0–1. If all cells have the
// same score, that is impossible, and the error is [ErrConstant]. Label-set
// surgery of a single label always ends so: use [RemoveRedundant] instead.
package surgery
