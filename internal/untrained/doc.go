// Package untrained makes checkpoints of the published architectures with
// random weights, for whoever measures time: it does not depend on the values,
// as long as they keep the activations in a network's usual range.
package untrained
