package main

import "fmt"

const tileRows = 8

// gemm writes the tile of the matrix product: a body for every number of rows
// and for one or two vectors of columns. Four steps of the depth at a time, a
// row of a is one vector, whose lanes multiply the vectors of b.
func (a *assembler) gemm() {
	a.text("tileNEON", "(rows, cols, k int, a *float32, lda int, b, c *float32, ldc int, in *float32, ldin int, bias *float32, alpha, floor float32)", 96,
		"stores max(alpha·a·b + bias + in, floor) in c, as gemmTile does: a is rows×k with",
		fmt.Sprintf("rows in [1, %d], b a panel of cols columns, c rows×cols, cols 4 or 8. in and bias may be", tileRows),
		"nil. Leading dimensions are in floats.")
	fmt.Fprint(a, "\t// Plain Go: gemmTile in gemm_generic.go.\n"+
		"\t// V0 … V15 rows×vectors of c, V16 … V23 four steps of the rows of a, V24 … V27 of b.\n"+
		"\t// R1 panel, R2 steps left, R3 … R10 rows of a; then R3 c, R4 its stride, R5 in, R6 its stride.\n")
	a.line("MOVD rows+0(FP), R11")
	a.line("MOVD cols+8(FP), R12")
	a.line("MOVD k+16(FP), R2")
	a.line("MOVD a+24(FP), R3")
	a.line("MOVD lda+32(FP), R13")
	a.line("MOVD b+40(FP), R1")
	a.line("LSL $2, R13")
	for r := 1; r < tileRows; r++ {
		a.line("ADD R13, R%d, R%d", 2+r, 3+r)
	}
	a.line("CMP $4, R12")
	a.line("BEQ narrow")
	for vecs := 2; vecs >= 1; vecs-- {
		if vecs == 1 {
			a.label("narrow")
		}
		for r := tileRows; r > 1; r-- {
			a.line("CMP $%d, R11", r)
			a.line("BEQ rows%dx%d", r, vecs)
		}
		a.line("B rows1x%d", vecs)
	}
	for vecs := 2; vecs >= 1; vecs-- {
		for rows := tileRows; rows >= 1; rows-- {
			a.tile(rows, vecs)
		}
	}
}

func (a *assembler) tile(rows, vecs int) {
	name := fmt.Sprintf("rows%dx%d", rows, vecs)
	acc := func(r, i int) v { return v(r*vecs + i) }
	a.label(name)
	for r := range rows {
		for i := range vecs {
			a.zero(acc(r, i))
		}
	}
	loadB := func(steps int) {
		regs := "V24.S4"
		for i := 1; i < steps*vecs; i++ {
			regs += fmt.Sprintf(", V%d.S4", 24+i)
		}
		a.line("VLD1.P %d(R1), [%s]", 16*steps*vecs, regs)
	}
	multiply := func(step, lane int) {
		for r := range rows {
			for i := range vecs {
				a.fmlaLane(acc(r, i), v(24+step*vecs+i), v(16+r), lane)
			}
		}
	}
	a.line("SUBS $4, R2, R2")
	a.line("BLT %srest", name)
	a.label(name + "loop")
	for r := range rows {
		a.line("FMOVQ.P 16(R%d), F%d", 3+r, 16+r)
	}
	for lane := 0; lane < 4; lane += 2 {
		loadB(2)
		multiply(0, lane)
		multiply(1, lane+1)
	}
	a.line("SUBS $4, R2, R2")
	a.line("BGE %sloop", name)
	a.label(name + "rest")
	a.line("ADDS $4, R2, R2")
	a.line("BEQ %sdone", name)
	a.label(name + "one")
	for r := range rows {
		a.line("FMOVS.P 4(R%d), F%d", 3+r, 16+r)
	}
	loadB(1)
	multiply(0, 0)
	a.line("SUBS $1, R2, R2")
	a.line("BNE %sone", name)
	a.label(name + "done")

	const alpha, floor, bias, in, out = v(28), v(29), v(24), v(26), v(30)
	a.line("FMOVS alpha+88(FP), F%d", alpha)
	a.spread(alpha)
	a.line("FMOVS floor+92(FP), F%d", floor)
	a.spread(floor)
	a.line("MOVD c+48(FP), R3")
	a.line("MOVD ldc+56(FP), R4")
	a.line("LSL $2, R4")
	a.line("MOVD in+64(FP), R5")
	a.line("MOVD ldin+72(FP), R6")
	a.line("LSL $2, R6")
	a.line("MOVD bias+80(FP), R7")
	list := func(first v) string {
		if vecs == 1 {
			return fmt.Sprintf("[V%d.S4]", first)
		}
		return fmt.Sprintf("[V%d.S4, V%d.S4]", first, first+1)
	}
	a.zero(bias)
	a.zero(bias + 1)
	a.line("CBZ R7, %sscale", name)
	a.line("VLD1 (R7), %s", list(bias))
	a.label(name + "scale")
	for r := range rows {
		for i := range vecs {
			a.move(out, bias+v(i))
			a.fmla(out, acc(r, i), alpha)
			a.move(acc(r, i), out)
		}
	}
	a.line("CBZ R5, %sstore", name)
	for r := range rows {
		a.line("VLD1 (R5), %s", list(in))
		a.line("ADD R6, R5")
		for i := range vecs {
			a.fadd(acc(r, i), acc(r, i), in+v(i))
		}
	}
	a.label(name + "store")
	for r := range rows {
		for i := range vecs {
			a.fmax(acc(r, i), acc(r, i), floor) // a NaN stays
		}
		a.line("VST1 %s, (R3)", list(acc(r, 0)))
		a.line("ADD R4, R3")
	}
	a.line("RET")
}
