// Package simd multiplies matrices and runs the vector operations of a
// transformer at the speed of the machine, in Go and its assembler alone.
//
// A [Kernel] is one implementation of everything here: plain Go (generic),
// gonum's BLAS (gonum), or assembly for an instruction set (avx2, avx512,
// neon). It is a value, picked once by [Best] or [Select] and held by whoever
// multiplies; nothing in the package is switched globally. Plain Go is the
// specification: every other kernel must agree with it to rounding.
//
// # Kernels
//
// A machine has the kernels whose features it all has, as klauspost/cpuid
// reports them where the operating system saves the registers:
//
//	generic  nothing, no assembly
//	gonum    nothing; products are gonum's
//	avx2     AVX, AVX2, FMA3, F16C
//	avx512   those, AVX512F, AVX512DQ, AVX512BW, AVX512VL, BMI2
//	neon     ASIMD, FP, on arm64
//
// [Best] is the last of them, the fastest, unless the environment variable
// CLIPSURGERY_KERNEL names another. [Info] says in one line what was found and
// chosen. The build tags purego and noasm, which gonum obeys too, leave out all
// assembly. In tests CLIPSURGERY_REQUIRE=avx2,avx512 fails where one of these
// kernels is missing, so that no path goes untested by accident.
//
// # BLAS
//
// [BLAS] gives the same products to any program that uses gonum's blas32.
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
// Every operation checks the sizes, strides and lengths of all operands before
// it touches any: the data of a matrix reaches up to the last column of its
// last row, a stride is at least the columns, and slices that belong together
// have one length. Sizes come from code, not from users, so a mistake is a
// panic, with a message that starts with "simd: ", and nothing is written. The
// methods of [BLAS] panic as gonum's do.
//
// A panic of a function given to [Team.Do] surfaces in the goroutine that
// called Do, and the team remains usable.
//
// # Files
//
// What is plain Go and so the specification ends in _generic.go. The assembly
// is generated, by go generate ./simd, from the module in _asm: _asm/gemm and
// _asm/vector for amd64, with avo, and _asm/neon. Every function names its
// plain Go and the features it needs.
//
// The tiles (gemm_*.s) keep a part of the destination in registers: 14 rows of
// 2 vectors with avx512, 6 of 2 with avx2, 8 of 2 with neon. What remains holds
// a step of the panel of b and values of a in every lane; each file begins with
// the plan of its registers. The vector functions (vector_*.s) walk their
// slices a vector at a time, reductions in four chains; on amd64 avo assigns
// their registers, and what fills no vector is done with the other lanes masked
// off; neon takes pointers in R2, R3, …, counts in R1 and leaves the rest of a
// vector to vector_arm64.go.
//
// The race detector does not see what assembly reads and writes. It does see
// the plain Go around it: Team's hand-over of parts, which orders whatever the
// workers do, packing and write-back of activations.
package simd
