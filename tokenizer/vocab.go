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

// pair is the key of two neighboring tokens.
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
	add := func() (token string, id uint16) { // what text has gained since the last time
		v.offset[n+1] = text.Len()
		token, id = text.String()[v.offset[n]:], uint16(n)
		ids[token] = id
		n++
		return token, id
	}

	order, decode := byteAlphabet()
	for i, b := range order {
		v.byte[b] = uint16(i)
		text.WriteByte(b)
		add()
	}
	for _, b := range order {
		text.WriteByte(b)
		text.WriteString(wordEnd)
		add()
	}
	for line := range strings.Lines(lines) {
		left, right, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		for _, r := range left {
			text.WriteByte(decode[r])
		}
		middle := text.Len() - v.offset[n]
		for _, r := range right {
			text.WriteByte(decode[r])
		}
		token, id := add()
		v.merge[pair(ids[token[:middle]], ids[token[middle:]])] = id
	}
	for _, s := range specialTokens {
		text.WriteString(s)
		add()
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
func byteAlphabet() (order []byte, decode [2 * numBytes]byte) {
	var rest []byte
	for i := range numBytes {
		b := byte(i)
		if '!' <= b && b <= '~' || 0xA1 <= b && b <= 0xAC || 0xAE <= b {
			decode[i] = b
			order = append(order, b)
		} else {
			decode[numBytes+len(rest)] = b
			rest = append(rest, b)
		}
	}
	return append(order, rest...), decode
}
