// Package eval measures what CLIP Surgery's paper reports: how well heat maps
// explain, how well pictures are labeled, and how well pixels are.
//
// Everything is a streaming accumulator with Add and Merge:
//
//   - [Confusion]: mean IoU and pixel accuracy of label maps;
//   - [Maps]: IoU of thresholded heat maps, mean score contrast (mSC) and the
//     pointing game;
//   - [Ranking]: average precision of labels, by class and by picture;
//   - [Masks]: IoU of single masks;
//   - [Score]: all of the above for one way of scoring a picture.
//
// Merging is exact: the shards of a data set, scored on as many machines and
// merged in any order, give bit for bit what one run gives, because means are
// kept as integers ([Mean]) and rankings as the scores themselves.
// Accumulators are plain data; encoding/json saves and restores them.
//
// Data sets come from [OpenVOC] (folders as those of PASCAL VOC and Context)
// and [ReadCOCO] (COCO's JSON); [Table] prints results. Precision-recall curves
// and bars per class are drawn by the nested module surgery/eval/plot.
//
// # Protocol
//
// CLIP Surgery's evaluation code was never published. What this package
// computes is spelled out with each accumulator: maps are stretched to 0–1 one
// by one and compared with the mask at the picture's size; a text whose mask is
// empty or everything is left out; IoU of a class is summed over all pictures
// before it is divided.
package eval
