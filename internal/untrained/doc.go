// Package untrained makes checkpoints of the published architectures with
// random weights, to measure time. Time does not depend on the weights as long
// as they keep activations in a network's usual range.
package untrained
