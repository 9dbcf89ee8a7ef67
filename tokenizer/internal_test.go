package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
)

// What merger relies on: every token arises from one merge only, of parts that
// are older.
func TestMergesAreOrdered(t *testing.T) {
	v := newVocabulary()
	require.Len(t, v.merge, numMerges)
	seen := make(map[uint16]bool)
	for key, token := range v.merge {
		require.False(t, seen[token])
		seen[token] = true
		require.Less(t, uint16(key>>16), token)
		require.Less(t, uint16(key), token)
	}
	texts := make(map[string]bool)
	for i := range VocabSize {
		texts[v.text[v.offset[i]:v.offset[i+1]]] = true
	}
	require.Len(t, texts, VocabSize)
}

// mergeSlowly is the reference's algorithm: all occurrences of the earliest
// learned pair, until there is none.
func mergeSlowly(v *vocabulary, word string) []uint16 {
	var tokens []uint16
	for _, b := range []byte(word) {
		tokens = append(tokens, v.byte[b])
	}
	tokens[len(tokens)-1] += numBytes
	for {
		best := uint16(StartOfText)
		for i := range len(tokens) - 1 {
			if m, ok := v.merge[pair(tokens[i], tokens[i+1])]; ok {
				best = min(best, m)
			}
		}
		if best == StartOfText {
			return tokens
		}
		var merged []uint16
		for i := 0; i < len(tokens); i++ {
			if i+1 < len(tokens) && v.merge[pair(tokens[i], tokens[i+1])] == best {
				merged = append(merged, best)
				i++
			} else {
				merged = append(merged, tokens[i])
			}
		}
		tokens = merged
	}
}

func FuzzMerge(f *testing.F) {
	for _, word := range []string{"a", "aaaaaaaaaaa", "internationalization", "mississippi", "!!!!???...", "日本語", "\xff\x00"} {
		f.Add(word)
	}
	v := newVocabulary()
	m := merger{vocabulary: v}
	f.Fuzz(func(t *testing.T, word string) {
		if word == "" {
			return
		}
		m.merge(word)
		var got []uint16
		for i := 0; i < len(word); i = int(m.symbols[i].next) {
			got = append(got, m.symbols[i].id)
		}
		assert.Equal(t, mergeSlowly(v, word), got, "%q", word)
	})
}

// repairSlowly is ftfy's way: pass after pass until nothing changes, line by
// line, one fix after the other.
func repairSlowly(text string) string {
	var b strings.Builder
	unescape := true
	for line := range strings.Lines(strings.ToValidUTF8(text, "?")) {
		unescape = unescape && !strings.Contains(line, "<")
		for {
			before := line
			if unescape {
				line = replaceEntities(line)
			}
			line = removeEscapes(line)
			line = strings.Map(func(c rune) rune {
				if isControl(c) {
					return -1
				}
				return c
			}, line)
			if line = compose(line); line == before {
				break
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

func FuzzRepair(f *testing.F) {
	for _, text := range []string{
		"&amp;amp;amp;lt;b&gt;", "&am\x00p;lt;\n<&amp;\n&gt;", "\x1b[&#51;m \x1b[&amp;#51;mx \x1b\x1b[0m[0m", "&#x206&#x206a;a;",
		"&amp&semi;amp\u037e#59;", "&\u212aopf; ＆ａｍｐ；", "e&#x301;\u0323", "&FILIG;&&FILIG;;", "&NOTIT;&notit;", "\u0092&#146;&#x92;",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		assert.Equal(t, repairSlowly(text), repair(text), "%q", text)
	})
}

// Where norm.NFC is right, compose agrees with it.
func FuzzCompose(f *testing.F) {
	for _, text := range []string{"e\u0301\u0323", "각\u11a8 각", "\u0958\u0344", "\u1100\u1161\u11a7\u11a8", "か\u3099", "\u09c7\u09be"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		if strings.ContainsFunc(text, func(c rune) bool { return c > 0xFFFF }) || strings.Contains(norm.NFC.String(text), "\u034F") {
			return
		}
		assert.Equal(t, norm.NFC.String(text), compose(text), "%q", text)
	})
}

func TestByteAlphabet(t *testing.T) {
	order, decode := byteAlphabet()
	sorted := slices.Clone(order)
	slices.Sort(sorted)
	for i, b := range sorted {
		require.EqualValues(t, i, b)
	}
	assert.Equal(t, byte('!'), order[0])
	assert.Equal(t, byte(' '), decode['Ġ'])
}
