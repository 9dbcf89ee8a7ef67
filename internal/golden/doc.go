// Package golden reads the reference fixtures of testdata/golden and compares
// with them. All weights and most inputs are procedural: computed from their
// names, so that real architectures are checked without a checkpoint. The
// rules are those of testdata/golden/README.md.
package golden
