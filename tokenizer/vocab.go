package tokenizer

import (
	"compress/gzip"
	_ "embed"
	"io"
	"strings"
)

// The vocabulary of every published CLIP model: 256 bytes, the same 256 at the
// end of a word, one token for each merge, and two special tokens.
const (
	VocabSize   = 49408
	StartOfText = 49406 // first token of a sequence
	EndOfText   = 49407 // last one, the largest id; the text tower pools there

	wordEnd    = "</w>"
	numBytes   = 256
	firstMerge = 2 * numBytes
	numMerges  = StartOfText - firstMerge
)

// specialTokens are the texts of StartOfText and EndOfText.
var specialTokens = [...]string{"<|startoftext|>", "<|endoftext|>"}

// merges.txt.gz holds the merges in the order in which they were learned, one
// pair a line: lines 2 to 48,895 of bpe_simple_vocab_16e6.txt from openai/CLIP
// (MIT licence, see NOTICE). The rest of that file is not part of the
// vocabulary.
//
//go:embed merges.txt.gz
var mergesGzip string

// vocabulary maps between tokens and the bytes they stand for.
type vocabulary struct {
	text   string             // the tokens' bytes, in the order of their ids
	offset [VocabSize + 1]int // token i is text[offset[i]:offset[i+1]]
	byte   [numBytes]uint16   // the token of a single byte; numBytes more at the end of a word
	merge  map[uint32]uint16  // pair(left, right) -> the token they merge into
}

// pair is the key of two neighbouring tokens.
func pair(left, right uint16) uint32 { return uint32(left)<<16 | uint32(right) }

func newVocabulary() *vocabulary {
	lines := readMerges()
	v := &vocabulary{merge: make(map[uint32]uint16, numMerges)}
	ids := make(map[string]uint16, VocabSize)

	// The builder never grows beyond its first allocation, so that its
	// substrings can be keys while it is being filled.
	var text strings.Builder
	text.Grow(len(lines) + 4*numBytes*len(wordEnd))
	n := 0
	add := func(parts ...string) uint16 {
		for _, p := range parts {
			text.WriteString(p)
		}
		v.offset[n+1] = text.Len()
		id := uint16(n)
		ids[text.String()[v.offset[n]:]] = id
		n++
		return id
	}

	alphabet, decode := byteAlphabet()
	for i, b := range alphabet {
		v.byte[b] = uint16(i)
		add(string([]byte{b}))
	}
	for _, b := range alphabet {
		add(string([]byte{b}), wordEnd)
	}

	var buf []byte
	part := func(s string) string {
		start := len(buf)
		for _, r := range s {
			buf = append(buf, decode[r])
		}
		return string(buf[start:])
	}
	for line := range strings.Lines(lines) {
		buf = buf[:0]
		a, b, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		left, right := part(a), part(b)
		v.merge[pair(ids[left], ids[right])] = add(left, right)
	}
	for _, s := range specialTokens {
		add(s)
	}
	if n != VocabSize {
		panic("tokenizer: embedded merges are damaged")
	}
	v.text = text.String()
	return v
}

func readMerges() string {
	z, err := gzip.NewReader(strings.NewReader(mergesGzip))
	if err != nil {
		panic("tokenizer: embedded merges: " + err.Error())
	}
	var lines strings.Builder
	if _, err := io.Copy(&lines, z); err != nil {
		panic("tokenizer: embedded merges: " + err.Error())
	}
	return lines.String()
}

// byteAlphabet returns the bytes in the order of their token ids, and the byte
// that each character of the merge file stands for. Printable characters of
// Latin-1 stand for themselves and come first; the other bytes are written as
// U+0100 and up (openai/CLIP clip/simple_tokenizer.py:bytes_to_unicode).
func byteAlphabet() (order []byte, decode map[rune]byte) {
	decode = make(map[rune]byte, numBytes)
	var rest []byte
	for i := range numBytes {
		if '!' <= i && i <= '~' || '¡' <= i && i <= '¬' || '®' <= i && i <= 'ÿ' {
			decode[rune(i)] = byte(i)
			order = append(order, byte(i))
		} else {
			decode[rune(numBytes+len(rest))] = byte(i)
			rest = append(rest, byte(i))
		}
	}
	return append(order, rest...), decode
}
