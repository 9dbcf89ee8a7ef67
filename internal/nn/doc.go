// Package nn holds what the towers of vit and sam share: layers as immutable
// weights, the loader that makes them of a checkpoint, and the scratch memory
// of one call.
package nn
