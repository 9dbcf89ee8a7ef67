package simd

//go:generate go run -C _asm ./gemm -isa avx2 -out ../gemm_avx2_amd64.s -stubs ../gemm_avx2_amd64.go -pkg simd
//go:generate go run -C _asm ./gemm -isa avx512 -out ../gemm_avx512_amd64.s -stubs ../gemm_avx512_amd64.go -pkg simd
//go:generate go run -C _asm ./vector -isa avx2 -out ../vector_avx2_amd64.s -stubs ../vector_avx2_amd64.go -pkg simd
//go:generate go run -C _asm ./vector -isa avx512 -out ../vector_avx512_amd64.s -stubs ../vector_avx512_amd64.go -pkg simd
//go:generate go run -C _asm ./neon -part gemm -out ../gemm_neon_arm64
//go:generate go run -C _asm ./neon -part vector -out ../vector_neon_arm64
