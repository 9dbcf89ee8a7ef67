// Package shapes embeds a tiny CLIP and a tiny SAM that were trained from
// scratch on drawn shapes, and scenes with exact ground truth that neither was
// trained on, so that examples and tests run without downloading anything.
// The models know nothing about photographs. Weights, scenes, the generator and
// the trainers (folder train) are MIT-licensed.
//
// Only programs that import this package carry its 3 MB.
package shapes
