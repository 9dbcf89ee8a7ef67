package simd

import "fmt"

// Kernel is one implementation of the package's operations. The zero Kernel
// is the plain Go one.
type Kernel struct {
	name string
}

// Name is generic, gonum, avx2, avx512 or neon.
func (k Kernel) Name() string {
	if k.name == "" {
		return "generic"
	}
	return k.name
}

// All returns the kernels that run on this machine, slowest first.
func All() []Kernel { return []Kernel{{"generic"}} }

// Best returns the fastest kernel of this machine.
func Best() Kernel {
	all := All()
	return all[len(all)-1]
}

// Select returns the kernel of that name, or an error that lists the ones
// this machine has.
func Select(name string) (Kernel, error) {
	for _, k := range All() {
		if k.Name() == name {
			return k, nil
		}
	}
	return Kernel{}, fmt.Errorf("simd: no kernel %q here; this machine has %v", name, All())
}

// String is Name, so that kernels print well.
func (k Kernel) String() string { return k.Name() }
