package simd

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mnemonics splits a list of instructions.
func mnemonics(lists ...string) map[string]bool {
	set := map[string]bool{}
	for _, list := range lists {
		for _, name := range strings.Fields(list) {
			set[name] = true
		}
	}
	return set
}

// The instructions that the kernels use and the sets that have them, by Intel's
// and ARM's manuals. Whoever needs another one looks up its set, and whether
// the kernel's features in kernel_*.go include it.
const (
	// x86-64 itself; PREFETCH is of SSE.
	baseAMD64 = `ADDQ ANDQ CMPQ DECL DECQ JEQ JGE JLE JLT JMP JNE JNZ JZ LEAQ MOVL MOVQ NEGQ PREFETCHT0 PREFETCHT1
		RET SHLL SHLQ SUBQ TESTL TESTQ XORQ`
	avx = `VADDPS VADDSS VANDPS VBLENDVPS VBROADCASTSS VCMPPS VCVTPS2DQ VCVTSI2SSQ VDIVPS VDIVSS VEXTRACTF128
		VINSERTF128 VMASKMOVPS VMAXPS VMINPS VMOVAPS VMOVMSKPS VMOVSD VMOVSS VMOVUPS VMULPS VORPS VPERMILPS VROUNDPS
		VSQRTSS VSUBPS VUNPCKHPD VUNPCKHPS VUNPCKLPD VUNPCKLPS VXORPS VZEROUPPER`
	avx2only   = `VPADDD VPMOVZXWD VPSLLD`
	fma3       = `VFMADD132PS VFMADD213PS VFMADD213SS VFMADD231PS VFNMADD132PS VFNMADD231PS`
	f16c       = `VCVTPH2PS`
	bmi2       = `BZHIL`
	avx512f    = `KMOVW KORW KXORW VBLENDMPS VEXTRACTF64X4 VPXORD VRNDSCALEPS VSCALEFPS`
	avx512dq   = `VREDUCEPS`
	baseARM64  = `ADD ADDS B BEQ BGE BLT BNE CBZ CMP LSL MOVD RET SUBS`
	asimdGo    = `FMOVQ FMOVS VDUP VEOR VLD1 VLD1R VORR VST1`
	amd64Sets  = baseAMD64 + " " + avx + " " + avx2only + " " + fma3 + " " + f16c
	avx512Sets = amd64Sets + " " + bmi2 + " " + avx512f + " " + avx512dq
)

// requirements are the features that a kernel's functions may ask for: those
// that machine looks for. MMX+ stands for the prefetches.
var requirements = map[string]map[string]bool{
	"AVX2":   mnemonics("AVX AVX2 FMA3 F16C MMX+"),
	"AVX512": mnemonics("AVX AVX2 FMA3 F16C MMX+ AVX512F AVX512DQ AVX512BW AVX512VL BMI2"),
	"NEON":   mnemonics("ASIMD"),
}

var instructions = map[string]map[string]bool{
	"AVX2":   mnemonics(amd64Sets),
	"AVX512": mnemonics(avx512Sets),
	"NEON":   mnemonics(baseARM64, asimdGo),
}

// newRegisters are those that only AVX-512 has.
var newRegisters = regexp.MustCompile(`\b(Z\d+|K[0-7]|[XY](1[6-9]|2\d|3[01]))\b`)

// word is an instruction of ARMv8.0's Advanced SIMD that Go's assembler lacks,
// its fields for registers and immediates masked off.
type word struct{ mask, code uint32 }

const threeSame, twoOf, byElement, shift = 0xffe0fc00, 0xfffffc00, 0xffc0f400, 0xffe0fc00

var words = map[string][]word{
	"fadd": {{threeSame, 0x4e20d400}}, "fsub": {{threeSame, 0x4ea0d400}}, "fmul": {{threeSame, 0x6e20dc00}},
	"fdiv": {{threeSame, 0x6e20fc00}}, "fmax": {{threeSame, 0x4e20f400}}, "fmin": {{threeSame, 0x4ea0f400}},
	"fmla": {{threeSame, 0x4e20cc00}, {byElement, 0x4f801000}}, "fmls": {{threeSame, 0x4ea0cc00}},
	"fcmgt": {{threeSame, 0x6ea0e400}}, "add": {{threeSame, 0x4ea08400}}, "faddp": {{threeSame, 0x6e20d400}},
	"bic":  {{threeSame, 0x4e601c00}},
	"trn1": {{threeSame, 0x4e802800}, {threeSame, 0x4ec02800}}, "trn2": {{threeSame, 0x4e806800}, {threeSame, 0x4ec06800}},
	"frintn": {{twoOf, 0x4e218800}}, "fcvtns": {{twoOf, 0x4e21a800}}, "fabs": {{twoOf, 0x4ea0f800}},
	"fmaxv": {{twoOf, 0x6e30f800}}, "fminv": {{twoOf, 0x6eb0f800}},
	"fcvtl": {{twoOf, 0x0e217800}}, "fcvtl2": {{twoOf, 0x4e217800}},
	"shll": {{twoOf, 0x2e613800}}, "shll2": {{twoOf, 0x6e613800}},
	"shl": {{shift, 0x4f205400}},
}

var wordLine = regexp.MustCompile(`^WORD \$0x([0-9a-f]{8}) // ([a-z0-9]+) [vs](\d+)`)

// checkLine returns what is wrong with an instruction of a kernel's function.
func checkLine(kernel, line string) string {
	name, arguments, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	if name == "WORD" {
		return checkWord(kernel, line)
	}
	base, suffix, _ := strings.Cut(name, ".") // VMOVUPS.Z masks, VLD1.P steps
	if !instructions[kernel][base] {
		return "instruction " + base + " is not among those of the kernel"
	}
	if kernel == "AVX2" && (suffix != "" || newRegisters.MatchString(arguments)) {
		return "register or mask of AVX-512"
	}
	return ""
}

func checkWord(kernel, line string) string {
	m := wordLine.FindStringSubmatch(line)
	if kernel != "NEON" || m == nil {
		return "a word that no comment decodes"
	}
	code, _ := strconv.ParseUint(m[1], 16, 32)
	for _, w := range words[m[2]] {
		if uint32(code)&w.mask == w.code && strconv.FormatUint(code&31, 10) == m[3] {
			return ""
		}
	}
	return "a word that is not its comment's instruction of Advanced SIMD"
}

var (
	textLine     = regexp.MustCompile(`^TEXT ·(\w+?)(AVX2|AVX512|NEON)\(SB\)`)
	requiresLine = regexp.MustCompile(`^// Requires: (.*)`)
	plainLine    = regexp.MustCompile(`^// Plain Go: (?:.* )?(\w+\.go)\b`)
	labelLine    = regexp.MustCompile(`^\w+:$`)
)

// TestInstructions: no function of a kernel has an instruction or a register
// that the kernel's instruction set lacks, and each names a file with its plain
// Go.
func TestInstructions(t *testing.T) {
	files, err := filepath.Glob("*.s")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	found := map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		kernel, function, plain, requires := "", "", true, ""
		for i, line := range strings.Split(string(data), "\n") {
			line = strings.TrimSpace(line)
			at := file + ":" + strconv.Itoa(i+1) + ": " + line
			if m := requiresLine.FindStringSubmatch(line); m != nil {
				requires = m[1]
			} else if m := textLine.FindStringSubmatch(line); m != nil {
				require.True(t, plain, "%s names no plain Go", function)
				function, kernel, plain = m[1]+m[2], m[2], false
				require.Contains(t, file, strings.ToLower(kernel), at)
				for feature := range mnemonics(strings.ReplaceAll(requires, ",", " ")) {
					require.True(t, requirements[kernel][feature], "%s: feature %s", at, feature)
				}
				found[kernel] = true
			} else if m := plainLine.FindStringSubmatch(line); m != nil {
				require.FileExists(t, m[1], at)
				plain = true
			}
			if line == "" || kernel == "" || labelLine.MatchString(line) || strings.HasPrefix(line, "//") ||
				strings.HasPrefix(line, "TEXT") || strings.HasPrefix(line, "DATA") || strings.HasPrefix(line, "GLOBL") || line[0] == '#' {
				continue
			}
			require.Empty(t, checkLine(kernel, line), at)
		}
		require.True(t, plain, "%s names no plain Go", function)
	}
	require.Equal(t, mnemonics("AVX2 AVX512 NEON"), found)
}

// TestInstructionsNoticed: what is newer than a kernel is noticed.
func TestInstructionsNoticed(t *testing.T) {
	for line, kernel := range map[string]string{
		"VADDPS Z0, Z1, Z2":                            "AVX2",
		"VADDPS Y0, Y16, Y2":                           "AVX2",
		"VMOVUPS.Z (AX), K1, Y2":                       "AVX2",
		"VMOVUPS (AX), K1, Y2":                         "AVX2",
		"VPXORD Y1, Y2, Y3":                            "AVX2",
		"BZHIL AX, BX, CX":                             "AVX2",
		"VPDPBUSD Z0, Z1, Z2":                          "AVX512",
		"VDPBF16PS Z0, Z1, Z2":                         "AVX512",
		"VPERMB Z0, Z1, Z2":                            "AVX512",
		"BYTE $0x62":                                   "AVX512",
		"WORD $0x4e40cc1e // fmla v30.8h, v0.8h, v0.h": "NEON", // of ARMv8.2
		"WORD $0x4e9c941e // sdot v30.4s, v0.16b, v28": "NEON",
		"WORD $0x4e3ccc1e // fmla v29.4s, v0.4s, v28":  "NEON",
		"WORD $0x4e3ccc1e":                             "NEON",
		"VTBL V1.B16, [V2.B16], V3.B16":                "NEON",
	} {
		require.NotEmpty(t, checkLine(kernel, line), line)
	}
	all := maps.Clone(instructions["AVX2"])
	maps.Copy(all, instructions["AVX512"])
	require.Equal(t, instructions["AVX512"], all)
	require.Empty(t, checkLine("AVX2", "VADDPS Y0, Y15, Y2"))
	require.Empty(t, checkLine("AVX512", "VADDPS Z0, Z31, K2, Z2"))
}
