package tokenizer_test

import (
	"strings"
	"testing"

	"github.com/clipsurgery/clipsurgery/tokenizer"
)

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		tokenizer.New()
	}
}

func BenchmarkTokenize(b *testing.B) {
	t := tokenizer.New()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := t.Tokenize("a photo of a brown dog next to a bicycle."); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncode encodes a megabyte: ordinary text, and the kinds that are
// slow where time grows faster than length.
func BenchmarkEncode(b *testing.B) {
	t := tokenizer.New()
	for name, text := range longTexts(1 << 20) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				t.Encode(text)
			}
		})
	}
}

// longTexts returns texts of about n bytes each.
func longTexts(n int) map[string]string {
	fill := func(s string) string { return strings.Repeat(s, n/len(s)) }
	return map[string]string{
		"prose":            fill("The quick brown fox jumps over the lazy dog; it's 12 o'clock. "),
		"one letter":       fill("a"),
		"one word":         fill("internationalization"),
		"punctuation":      fill("!?"),
		"nested entities":  "&" + fill("amp;"),
		"nested controls":  fill("&#x206") + "a;" + fill("A;"),
		"semicolons":       fill("&semi") + ";",
		"ampersands":       fill("&"),
		"combining marks":  "a" + fill("\u0301\u0323"),
		"accented letters": fill("e\u0301"),
		"capital sigmas":   fill("ΑΣ'"),
		"case ignorables":  "Σ" + fill("'") + "Σ",
		"terminal escapes": fill("\x1b[0m\x1b["),
		"Chinese":          fill("一张猫的照片"),
		"not UTF-8":        fill("\xff\xe4\xb8"),
	}
}
