package tokenizer

import (
	"bytes"
	"cmp"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// compose returns text in normalization form C. norm.NFC alone would not do:
// it breaks up more than 30 combining marks in a row (Stream-Safe Text), which
// Python does not, and composes some pairs wrongly.
//
// Source: Unicode standard, section 3.11.
func compose(text string) string {
	if norm.NFC.IsNormalString(text) {
		return text
	}
	chars := decompose(text)
	composed := chars[:0]
	starter := -1 // index in composed of the last character of class 0
	for _, c := range chars {
		if starter >= 0 {
			last := len(composed) - 1
			if starter == last || composed[last].class < c.class { // not blocked
				if r, ok := composePair(composed[starter].r, c.r); ok {
					composed[starter].r = r
					continue
				}
			}
		}
		if c.class == 0 {
			starter = len(composed)
		}
		composed = append(composed, c)
	}
	b := make([]byte, 0, len(text))
	for _, c := range composed {
		b = utf8.AppendRune(b, c.r)
	}
	return string(b)
}

// char is a character with its canonical combining class.
type char struct {
	r     rune
	class uint8
}

// decompose returns the canonical decomposition of text in canonical order.
// Hangul syllables stay whole, since composing would put them together again.
func decompose(text string) []char {
	chars := make([]char, 0, len(text))
	for i, r := range text {
		p := norm.NFD.PropertiesString(text[i:])
		d := p.Decomposition()
		if d == nil {
			chars = append(chars, char{r, p.CCC()})
		}
		for len(d) > 0 {
			r, n := utf8.DecodeRune(d)
			chars = append(chars, char{r, norm.NFD.Properties(d).CCC()})
			d = d[n:]
		}
	}
	for i := 0; i < len(chars); {
		if chars[i].class == 0 {
			i++
			continue
		}
		marks := chars[i:]
		if n := slices.IndexFunc(marks, func(c char) bool { return c.class == 0 }); n >= 0 {
			marks = marks[:n]
		}
		slices.SortStableFunc(marks, func(a, b char) int { return cmp.Compare(a.class, b.class) })
		i += len(marks)
	}
	return chars
}

// composePair returns the primary composite of two characters, if there is
// one.
func composePair(a, b rune) (rune, bool) {
	two := utf8.AppendRune(utf8.AppendRune(make([]byte, 0, 2*utf8.UTFMax), a), b)
	if norm.NFC.Properties(two[utf8.RuneLen(a):]).BoundaryBefore() {
		return 0, false
	}
	composed := norm.NFC.Bytes(two)
	r, n := utf8.DecodeRune(composed)
	if n != len(composed) {
		return 0, false
	}
	// As norm looks at 16 bits of each, it takes some pairs outside the basic
	// plane for others. Those decompose differently.
	return r, max(a, b, r) <= 0xFFFF || bytes.Equal(norm.NFD.Bytes(composed), norm.NFD.Bytes(two))
}
