// Package draw shows results: heat maps and label maps over their pictures,
// masks, clicks and boxes, colored sentences, legends, and contact sheets with
// captions. Nothing here changes a number.
//
// All functions work on a canvas: the picture in the models' RGB colors,
// without alpha channel, its corner at (0, 0). Overlay's default blend and
// colors are those of the demo of xmed-lab/CLIP_Surgery.
package draw
