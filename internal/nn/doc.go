// Package nn holds what the towers of vit and sam share: layers as immutable
// weights, and the scratch memory of one call.
package nn
