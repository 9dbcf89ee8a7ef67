package tokenizer

import (
	"html"
	"strings"
	"unicode"
)

// entityStart returns where the entity-like text that ends buf begins, or -1:
// ftfy's pattern &#?[0-9A-Za-z]{1,24}; matched from behind.
func entityStart(buf []byte) int {
	i := len(buf) - 1
	if i < 0 || buf[i] != ';' {
		return -1
	}
	end := i
	for i > 0 && end-i <= 24 && isAlphanumeric(buf[i-1]) {
		i--
	}
	if n := end - i; n == 0 || n > 24 {
		return -1
	}
	if i > 0 && buf[i-1] == '#' {
		i--
	}
	if i == 0 || buf[i-1] != '&' {
		return -1
	}
	return i - 1
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// entity returns what text that entityStart found means to ftfy, if anything:
// a named entity of HTML 5, with its semicolon; the name of a lower-case one in
// capitals, for its meaning in capitals (&EACUTE;); a number.
//
// Source: ftfy/fixes.py:_unescape_fixup, ftfy/chardata.py:_build_html_entities.
func entity(s string) (meaning string, ok bool) {
	if s[1] == '#' {
		meaning, n := numericEntity(s)
		return meaning, n == len(s) && meaning != ";"
	}
	if meaning = named(s); isComplete(meaning) {
		return meaning, true
	}
	if meaning != s || s != strings.ToUpper(s) {
		return "", false
	}
	if meaning = named(strings.ToLower(s)); !isComplete(meaning) {
		return "", false
	}
	return strings.ToUpper(strings.ReplaceAll(fold(meaning), "ß", "ss")), true
}

// named returns the meaning of s, which begins with an ampersand and contains
// no other, with the rest that is not part of the entity's name.
func named(s string) string {
	switch s { // the two that package html lacks
	case "&nGt;":
		return "≫\u20D2"
	case "&nLt;":
		return "≪\u20D2"
	}
	return html.UnescapeString(s)
}

// isComplete reports whether named consumed an entity to its semicolon, rather
// than nothing of it or the first letters only (&notit;).
func isComplete(meaning string) bool { return meaning == ";" || !strings.HasSuffix(meaning, ";") }

// unescape is Python's html.unescape. Its named entities are those of Go's
// package html, its numeric ones are not: Python drops what is not a
// character.
func unescape(text string) string {
	i := strings.IndexByte(text, '&')
	if i < 0 {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	for ; i >= 0; i = strings.IndexByte(text, '&') {
		b.WriteString(text[:i])
		text = text[i:]
		meaning, n := numericEntity(text)
		if n == 0 {
			n = namedLen(text)
			meaning = named(text[:n])
		}
		b.WriteString(meaning)
		text = text[n:]
	}
	b.WriteString(text)
	return b.String()
}

// namedLen returns the length of the ampersand that s begins with and of what
// may be the name of an entity after it, semicolon included.
func namedLen(s string) int {
	const longest = len("&CounterClockwiseContourIntegral;")
	i := 1
	for i < len(s) && i < longest-1 && isAlphanumeric(s[i]) {
		i++
	}
	if i < len(s) && s[i] == ';' {
		i++
	}
	return i
}

// numericEntity returns the meaning of the numeric entity that s begins with,
// and its length, which is 0 if there is none: &#[0-9]+;? or &#[xX][0-9a-fA-F]+;?
//
// Source: Python html/__init__.py:_replace_charref.
func numericEntity(s string) (meaning string, n int) {
	digits, ok := strings.CutPrefix(s, "&#")
	if !ok {
		return "", 0
	}
	base := rune(10)
	if digits != "" && digits[0]|0x20 == 'x' {
		digits, base = digits[1:], 16
	}
	var c rune
	i := 0
	for ; i < len(digits); i++ {
		d := digitValue(digits[i])
		if d >= base {
			break
		}
		c = min(c*base+d, unicode.MaxRune+1)
	}
	if i == 0 {
		return "", 0
	}
	if i < len(digits) && digits[i] == ';' {
		i++
	}
	return numericMeaning(c), len(s) - len(digits) + i
}

// digitValue returns the value of a hexadecimal digit, or 16.
func digitValue(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return 16
}

// numericMeaning returns the character of number c, which HTML 5 takes for
// Windows-1252 where Latin-1 has controls; nothing where there is no character.
func numericMeaning(c rune) string {
	switch {
	case 0x80 <= c && c < 0xA0:
		return string(windows1252[c-0x80])
	case c == 0, 0xD800 <= c && c <= 0xDFFF, c > unicode.MaxRune:
		return "\uFFFD"
	case c < ' ' && c != '\t' && c != '\n' && c != '\f' && c != '\r', c == 0x7F,
		0xFDD0 <= c && c <= 0xFDEF, c&0xFFFE == 0xFFFE: // not characters
		return ""
	}
	return string(c)
}
