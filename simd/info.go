package simd

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/klauspost/cpuid/v2"
)

// Info is one line for bug reports: the kernel that Best returns, why and from
// which, the processor with those of its features that matter here, the size
// of its caches, how many processors Go uses, and the toolchain.
func Info() string {
	k, why := choose()
	cpu := &cpuid.CPU
	name := cpu.BrandName
	if name == "" {
		name = "unknown processor"
	}
	return fmt.Sprintf("simd: kernel %s (%s; here are %s); %s, family %d, model %d, %s; L1d %s, L2 %s, L3 %s; %d of %d processors; %s %s/%s",
		k, why, strings.Join(names(All()), " "), name, cpu.Family, cpu.Model, features(),
		size(cpu.Cache.L1D), size(cpu.Cache.L2), size(cpu.Cache.L3),
		runtime.GOMAXPROCS(0), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func names(kernels []Kernel) (s []string) {
	for _, k := range kernels {
		s = append(s, k.Name())
	}
	return s
}

// features are what the kernels use, and what decides how fast they are.
func features() string {
	var s []string
	for _, f := range []cpuid.FeatureID{
		cpuid.SSE2, cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.F16C, cpuid.BMI2,
		cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.AVX512BF16, cpuid.AVX512VNNI,
		cpuid.ASIMD, cpuid.ASIMDHP, cpuid.ASIMDDP, cpuid.SVE,
	} {
		if cpuid.CPU.Supports(f) {
			s = append(s, f.String())
		}
	}
	if len(s) == 0 {
		return "no features detected"
	}
	return strings.Join(s, " ")
}

// size is a number of bytes, or what is known of it.
func size(bytes int) string {
	switch {
	case bytes <= 0:
		return "unknown"
	case bytes%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}
