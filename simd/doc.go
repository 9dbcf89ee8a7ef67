// Package simd multiplies matrices and runs the vector operations of a
// transformer at the speed of the machine, in Go and its assembler alone.
//
// A [Kernel] is one implementation of everything here: plain Go (generic),
// gonum's BLAS (gonum), or assembly for an instruction set (avx2, avx512,
// neon). It is a value, picked once by [Best] or [Select] and held by whoever
// multiplies; nothing in the package is switched globally. Plain Go is the
// specification: every other kernel must agree with it to rounding.
//
// # Matrices
//
// Matrices are gonum's [blas32.General]: row-major, Rows × Cols, row i
// starting at Data[i*Stride]. The right-hand side of a product is packed once,
// by [Pack], into the panels of the kernel that will use it, because in a
// network it is the weights and never changes.
//
// # Numbers
//
// Everything is float32, accumulated in float32. An entry of a product of
// depth k differs from the exact value by at most k·eps·Σ|a||b|. Work is split
// over rows and columns, never over k, so results do not depend on the number
// of workers and repeat bit for bit on one machine with one kernel.
//
// # Aliasing
//
// Destinations come first. A destination must not overlap an operand unless
// the function says so.
//
// # Errors
//
// Sizes come from code, not from users: a mismatch is a programming error and
// panics with a message that starts with "simd: ".
package simd
