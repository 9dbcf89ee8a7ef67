package tokenizer

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Clean returns text as the tokenizer sees it: repaired, HTML entities
// replaced, trimmed, every run of white space a single space, lower case.
//
// Source: openai/CLIP clip/simple_tokenizer.py:basic_clean, whitespace_clean.
func Clean(text string) string {
	text = unescape(unescape(repair(text)))
	return lower(strings.Join(strings.Fields(text), " "))
}

// repair is ftfy.fix_text (version 6.3) without the repair of wrongly decoded
// text, and without that of line breaks, which are white space later on anyway.
//
// ftfy repeats its fixes until nothing changes, which takes a pass for each
// level of nested entities (&amp;amp;amp;…). The fixes do not get into each
// other's way, so that a repairer can apply them all to each character as it
// comes, and come to the same end in one pass. Normalization, which looks at
// neighbors, waits until then.
func repair(text string) string {
	// ftfy replaces no entities from the first line with a '<' on, as this
	// looks like HTML.
	plain, markup := text, ""
	if i := strings.IndexByte(text, '<'); i >= 0 {
		line := strings.LastIndexByte(text[:i], '\n') + 1
		plain, markup = text[:line], text[line:]
	}
	if strings.Contains(text, escape) {
		plain, markup = removeEscapes(replaceEntities(plain)), removeEscapes(markup)
	}
	r := repairer{text: make([]byte, 0, len(text))}
	for _, c := range plain {
		r.add(c)
		r.replaceEntities()
	}
	for _, c := range markup {
		r.add(c)
	}
	return compose(string(r.text))
}

// escape begins a terminal escape sequence.
const escape = "\x1b"

// removeEscapes removes terminal escape sequences. Only ftfy's first pass sees
// them, after the characters are folded and before control characters, escape
// among them, are removed; hence this pass of its own, for the rare text that
// has any.
func removeEscapes(text string) string {
	sequence := regexp.MustCompile(escape + `\[[\p{Nd};]*[a-zA-Z]`)
	return sequence.ReplaceAllString(fold(text), "")
}

// replaceEntities replaces the entities of text once.
func replaceEntities(text string) string {
	pattern := regexp.MustCompile(`&#?[0-9A-Za-z]{1,24};`)
	return pattern.ReplaceAllStringFunc(text, func(s string) string {
		if meaning, ok := entity(s); ok {
			return meaning
		}
		return s
	})
}

// repairer collects repaired text.
type repairer struct{ text []byte }

// add appends a character, folded, if it is one that stays.
func (r *repairer) add(c rune) {
	switch {
	case c >= ' ' && c < 0x7F:
		r.text = append(r.text, byte(c))
	case c == '\u037E': // Greek question mark: normalization makes it
		r.text = append(r.text, ';') // ASCII, which may complete an entity
	case c == '\u212A': // Kelvin sign: likewise
		r.text = append(r.text, 'K')
	case !isControl(c):
		r.text = appendFolded(r.text, c)
	}
}

// replaceEntities replaces the entity that ends the text, if one does, and
// then the one which that may have completed.
func (r *repairer) replaceEntities() {
	for {
		i := entityStart(r.text)
		if i < 0 {
			return
		}
		meaning, ok := entity(string(r.text[i:]))
		if !ok {
			return
		}
		r.text = r.text[:i]
		for _, c := range meaning {
			r.add(c)
		}
	}
}

// isControl reports whether ftfy.fixes.remove_control_chars removes c. Tab, line
// feed, form feed and carriage return stay.
func isControl(c rune) bool {
	switch {
	case c <= 0x08, c == 0x0B, 0x0E <= c && c <= 0x1F, c == 0x7F,
		0x206A <= c && c <= 0x206F, // deprecated format characters of Arabic
		c == 0xFEFF,                // byte order mark
		0xFFF9 <= c && c <= 0xFFFC: // interlinear annotation, object replacement
		return true
	}
	return false
}

// fold returns text with each character as appendFolded leaves it.
func fold(text string) string {
	folded := make([]byte, 0, len(text))
	for _, c := range text {
		folded = appendFolded(folded, c)
	}
	return string(folded)
}

// appendFolded appends c as ftfy's fixes of single characters leave it:
// controls of Latin-1 become what Windows-1252 has in their place, ligatures
// of Latin letters become these letters, half and full width forms become
// ordinary ones, curly quotes straight ones. (ftfy.chardata)
func appendFolded(text []byte, c rune) []byte {
	if 0x80 <= c && c < 0xA0 {
		c = windows1252[c-0x80]
	}
	switch c {
	case 'Ĳ':
		return append(text, "IJ"...)
	case 'ĳ':
		return append(text, "ij"...)
	case 'ŉ':
		return append(text, "'n"...)
	case 'Ǆ':
		return append(text, "DŽ"...)
	case 'ǅ':
		return append(text, "Dž"...)
	case 'ǆ':
		return append(text, "dž"...)
	case 'Ǉ':
		return append(text, "LJ"...)
	case 'ǈ':
		return append(text, "Lj"...)
	case 'ǉ':
		return append(text, "lj"...)
	case 'Ǌ':
		return append(text, "NJ"...)
	case 'ǋ':
		return append(text, "Nj"...)
	case 'ǌ':
		return append(text, "nj"...)
	case 'Ǳ':
		return append(text, "DZ"...)
	case 'ǲ':
		return append(text, "Dz"...)
	case 'ǳ':
		return append(text, "dz"...)
	case 'ﬀ':
		return append(text, "ff"...)
	case 'ﬁ':
		return append(text, "fi"...)
	case 'ﬂ':
		return append(text, "fl"...)
	case 'ﬃ':
		return append(text, "ffi"...)
	case 'ﬄ':
		return append(text, "ffl"...)
	case 'ﬅ':
		return append(text, "ſt"...)
	case 'ﬆ':
		return append(text, "st"...)
	case 'ʼ', '‘', '’', '‚', '‛':
		return append(text, '\'')
	case '“', '”', '„', '‟':
		return append(text, '"')
	case '\u3000': // ideographic space
		return append(text, ' ')
	}
	if 0xFF01 <= c && c <= 0xFFEF {
		return append(text, norm.NFKC.String(string(c))...)
	}
	return utf8.AppendRune(text, c)
}

// windows1252 is what the bytes 0x80 to 0x9F mean in Windows-1252; those it
// leaves undefined mean themselves.
var windows1252 = [32]rune{
	'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8D, 'Ž', 0x8F,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9D, 'ž', 'Ÿ',
}

// lower is Python's str.lower: full mappings, and the sigma that ends a word.
func lower(text string) string {
	if !strings.ContainsAny(text, "İΣ") {
		return strings.ToLower(text)
	}
	var b strings.Builder
	b.Grow(len(text))
	for i, c := range text {
		switch {
		case c == 'İ':
			b.WriteString("i\u0307")
		case c == 'Σ' && endsWord(text, i):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(c))
		}
	}
	return b.String()
}

// endsWord reports whether the capital sigma at byte i is the last cased letter
// of several, looking past characters that case ignores (Unicode, Final_Sigma
// of table 3-17).
func endsWord(text string, i int) bool {
	before := strings.TrimRightFunc(text[:i], isCaseIgnorable)
	after := strings.TrimLeftFunc(text[i+len("Σ"):], isCaseIgnorable)
	last, _ := utf8.DecodeLastRuneInString(before)
	next, _ := utf8.DecodeRuneInString(after)
	return before != "" && isCased(last) && (after == "" || !isCased(next))
}

func isCased(c rune) bool {
	return unicode.In(c, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Uppercase, unicode.Other_Lowercase)
}

// isCaseIgnorable is Unicode's Case_Ignorable: marks, format characters,
// modifiers, and the punctuation found inside words (Word_Break MidLetter,
// MidNumLet, Single_Quote).
func isCaseIgnorable(c rune) bool {
	return strings.ContainsRune("'.:·\u0387\u055F\u05F4‘’․‧\uFE13\uFE52\uFE55＇．：", c) ||
		unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
}
