package main

import "fmt"

// Constants of the transforms.
const bound, four, eight v = 29, 30, 31

// winograd writes Winograd's transforms for vectors of n floats, n a positive
// multiple of four.
func (a *assembler) winograd() {
	input, output := "stores Bᵀ·d of count items d, %d vectors of n floats, in dst.", "stores max(Aᵀ·x, floor) of count items x, %d vectors of n floats, in dst."
	a.transform("winogradInput2", input, 4, false, func() []v {
		a.fsub(0, 0, 2)
		a.fadd(4, 1, 2)
		a.fsub(2, 2, 1)
		a.fsub(3, 1, 3)
		return []v{0, 4, 2, 3}
	})
	a.transform("winogradInput4", input, 6, false, func() []v {
		a.fsub(6, 4, 2)
		a.fsub(7, 3, 1)
		a.fsub(0, 0, 2)
		a.move(16, 6)
		a.fmla(16, 0, four)
		a.fmls(4, 2, four) // even
		a.fsub(5, 5, 3)
		a.fmls(3, 1, four) // odd
		a.fadd(17, 4, 3)
		a.fsub(18, 4, 3)
		a.fadd(0, 7, 7)
		a.fadd(1, 6, 0)
		a.fsub(2, 6, 0)
		a.fmls(5, 7, four)
		return []v{16, 17, 18, 1, 2, 5}
	})
	a.transform("winogradOutput2", output, 4, true, func() []v {
		a.fadd(0, 0, 1)
		a.fadd(0, 0, 2)
		a.fsub(1, 1, 2)
		a.fsub(1, 1, 3)
		return []v{0, 1}
	})
	a.transform("winogradOutput4", output, 6, true, func() []v {
		a.fadd(6, 1, 2)
		a.fsub(7, 1, 2)
		a.fadd(16, 3, 4)
		a.fsub(17, 3, 4)
		a.fadd(0, 0, 6)
		a.fadd(0, 0, 16)
		a.fadd(1, 17, 17)
		a.fadd(1, 7, 1)
		a.fmla(6, 16, four)
		a.fmla(7, 17, eight)
		a.fadd(7, 7, 5)
		return []v{0, 1, 6, 7}
	})
}

// transform writes a function that takes items of several vectors to others.
func (a *assembler) transform(name, doc string, inputs int, floor bool, body func() []v) {
	params, size := "(dst *float32, ldd, stepd int, src *float32, lds, steps, n, count int", 64
	if floor {
		params, size = params+", floor float32", 68
	}
	a.text(name+"NEON", params+")", size, fmt.Sprintf(doc, inputs))
	for i, name := range []string{"dst", "ldd", "stepd", "src", "lds", "steps", "n", "count"} {
		a.line("MOVD %s+%d(FP), R%d", name, 8*i, 2+i)
		switch i {
		case 1, 2, 4, 5:
			a.line("LSL $2, R%d, R%d", 2+i, 2+i)
		}
	}
	const dst, ldd, stepd, src, lds, steps, n, count = 2, 3, 4, 5, 6, 7, 8, 9
	for i, c := range []float32{4, 8} {
		a.line("FMOVS $%g.0, F%d", c, four+v(i))
		a.spread(four + v(i))
	}
	if floor {
		a.scalar("floor", 64, bound)
	}
	from := []string{"R10", "R11", "R12", "R13", "R14", "R15"}
	to := []string{"R19", "R20", "R21", "R22", "R23", "R24"}
	outputs := inputs
	if floor {
		outputs -= 2
	}
	a.label("item")
	for i := range inputs {
		if i == 0 {
			a.line("MOVD R%d, %s", src, from[0])
			continue
		}
		a.line("ADD R%d, %s, %s", lds, from[i-1], from[i])
	}
	for i := range outputs {
		if i == 0 {
			a.line("MOVD R%d, %s", dst, to[0])
			continue
		}
		a.line("ADD R%d, %s, %s", ldd, to[i-1], to[i])
	}
	a.line("MOVD R%d, R1", n)
	a.quads("loop", func() {
		for i := range inputs {
			a.load(from[i], v(i))
		}
		for i, r := range body() {
			if floor {
				a.fmax(r, r, bound) // a NaN stays
			}
			a.store(r, to[i])
		}
	})
	a.line("ADD R%d, R%d, R%d", stepd, dst, dst)
	a.line("ADD R%d, R%d, R%d", steps, src, src)
	a.line("SUBS $1, R%d, R%d", count, count)
	a.line("BNE item")
	a.line("RET")
}
