// Package simd has the matrix products and vector operations of a transformer,
// in Go and Go assembly, close to the peak speed of the processor.
//
// A [Kernel] is one implementation of everything here: plain Go (generic),
// gonum's BLAS (gonum), or assembly for an instruction set (avx2, avx512,
// neon). It is a value that [Best] or [Select] returns and that its user keeps;
// there is no global switch. Plain Go is the specification: every other kernel
// must agree with it to rounding.
//
// # Kernels
//
// A machine has a kernel if it has all features that the kernel needs, as
// klauspost/cpuid reports them, and the operating system saves the registers:
//
//	generic  nothing, no assembly
//	gonum    nothing; products are gonum's
//	avx2     AVX, AVX2, FMA3, F16C
//	avx512   those, AVX512F, AVX512DQ, AVX512BW, AVX512VL, BMI2
//	neon     ASIMD, FP, on arm64
//
// [Best] is the last of these that the machine has, unless the environment
// variable CLIPSURGERY_KERNEL names another one. [Info] says in one line what
// was found and chosen. The build tags purego and noasm, which gonum obeys too,
// leave out all assembly. With CLIPSURGERY_REQUIRE=avx2,avx512 the tests fail
// on a machine without these kernels, so that no kernel goes untested by
// accident.
//
// # BLAS
//
// [BLAS] makes the same products available to any program that uses gonum's
// blas32.
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
// The plain Go files, which are the specification, end in _generic.go. The
// assembly is generated, by go generate ./simd, from the module in _asm:
// _asm/gemm and _asm/vector for amd64, with avo, and _asm/neon. Every function
// names its plain Go and the features it needs.
//
// The tiles (gemm_*.s) keep a part of the destination in registers: 14 rows of
// 2 vectors with avx512, 6 of 2 with avx2, 8 of 2 with neon. The other
// registers hold one step of the panel of b, and values of a broadcast to all
// lanes; each file begins with the plan of its registers. The vector functions
// (vector_*.s) process one vector at a time, reductions in four chains. On
// amd64 avo assigns the registers, and the incomplete last vector is masked;
// neon has pointers in R2, R3, … and counts in R1, and leaves the incomplete
// vector to vector_arm64.go.
//
// The race detector does not see the memory accesses of assembly. It does see
// the plain Go around it: packing, the write-back of activations, and Team's
// hand-over of work, which orders everything the workers do.
package simd
