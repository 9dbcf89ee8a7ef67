package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// contractions are words of their own wherever a word can begin.
var contractions = [...]string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// nextWord returns the length in bytes of what cleaned text, not empty, begins
// with, and whether that is a word; if not, it is white space. This is the
// pattern of openai/CLIP clip/simple_tokenizer.py, whose alternatives are tried
// in order:
//
//	<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
func nextWord(text string) (n int, ok bool) {
	switch text[0] {
	case '<':
		for _, s := range specialTokens {
			if n := prefixLen(text, s); n > 0 {
				return n, true
			}
		}
	case '\'':
		for _, s := range contractions {
			if n := prefixLen(text, s); n > 0 {
				return n, true
			}
		}
	}
	first, n := utf8.DecodeRuneInString(text)
	kind := classOf(first)
	if kind == space || kind == number {
		return n, kind == number
	}
	if end := strings.IndexFunc(text, func(r rune) bool { return classOf(r) != kind }); end >= 0 {
		return end, true
	}
	return len(text), true
}

// prefixLen returns the length of the prefix of text that matches the lower
// case word s, or 0. The reference ignores case, which after lower-casing means
// that a long s (U+017F) is an s.
func prefixLen(text, s string) int {
	n := 0
	for i := range len(s) {
		switch {
		case strings.HasPrefix(text[n:], s[i:i+1]):
			n++
		case s[i] == 's' && strings.HasPrefix(text[n:], "ſ"):
			n += len("ſ")
		default:
			return 0
		}
	}
	return n
}

// ypogegrammeni is the one character that no part of the reference's pattern
// matches: a mark and no letter, but equal to the letter iota where the last
// part ignores case.
const ypogegrammeni = '\u0345'

// class is what a character may form a word with.
type class uint8

const (
	space class = iota
	letter
	number
	other
)

func classOf(r rune) class {
	switch {
	case unicode.IsLetter(r):
		return letter
	case unicode.IsSpace(r), r == ypogegrammeni:
		return space
	case unicode.IsNumber(r):
		return number
	}
	return other
}
