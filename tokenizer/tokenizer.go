package tokenizer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/clipsurgery/clipsurgery/internal/option"
	"golang.org/x/text/encoding/unicode"
)

// DefaultContext is the context length of every published CLIP model.
const DefaultContext = 77

// ErrTooLong says that a text has more tokens than the context holds.
var ErrTooLong = errors.New("tokenizer: text too long")

// Tokenizer encodes and decodes text with CLIP's vocabulary. It is immutable
// and safe for concurrent use.
type Tokenizer struct {
	vocabulary *vocabulary
}

// New returns a Tokenizer with the embedded vocabulary.
func New() *Tokenizer { return &Tokenizer{newVocabulary()} }

// Encode returns the tokens of text, without start and end token. A special
// token that is spelled out in the text becomes that token.
func (t *Tokenizer) Encode(text string) []int32 {
	var ids []int32
	t.each(Clean(text), func(id, _, _, _ int) { ids = append(ids, int32(id)) })
	return ids
}

// Piece is one token and the part of the cleaned text that it stands for.
type Piece struct {
	ID         int32
	Text       string // Clean(text)[Start:End]; may be a part of a character
	Start, End int    // byte offsets
	Word       int    // which word it belongs to, from 0
}

// Pieces returns the tokens of text as [Tokenizer.Encode] does, each with its
// place in [Clean](text). Piece i is token i+1 of [Tokenizer.Tokenize].
func (t *Tokenizer) Pieces(text string) []Piece {
	var pieces []Piece
	clean := Clean(text)
	t.each(clean, func(id, start, end, word int) {
		pieces = append(pieces, Piece{int32(id), clean[start:end], start, end, word})
	})
	return pieces
}

// each calls yield for the tokens of a cleaned text, in order.
func (t *Tokenizer) each(clean string, yield func(id, start, end, word int)) {
	m := merger{vocabulary: t.vocabulary}
	word := 0
	for start := 0; start < len(clean); {
		n, ok := nextWord(clean[start:])
		end := start + n
		if !ok {
			start = end
			continue
		}
		switch clean[start:end] {
		case specialTokens[0]:
			yield(StartOfText, start, end, word)
		case specialTokens[1]:
			yield(EndOfText, start, end, word)
		default:
			m.merge(clean[start:end])
			for i := 0; i < n; {
				s := m.symbols[i]
				yield(int(s.id), start+i, start+int(s.next), word)
				i = int(s.next)
			}
		}
		start = end
		word++
	}
}

// Option is an option of [Tokenizer.Tokenize]. Of equal options the last counts.
type Option interface{ tokenize(*options) error }

type tokenizeOption func(*options)

func (f tokenizeOption) tokenize(o *options) error { f(o); return nil }

type options struct {
	context  int
	truncate bool
}

// ContextLength sets the number of ids returned. The default is
// [DefaultContext].
func ContextLength(n int) Option { return tokenizeOption(func(o *options) { o.context = n }) }

// Truncate cuts a text that is too long for the context, keeping the end token
// last. Without it such a text is an error.
func Truncate() Option { return tokenizeOption(func(o *options) { o.truncate = true }) }

// Tokenize returns what a text tower takes: the start token, the tokens of
// text, the end token, and zeros up to the context length. A text that does
// not fit is [ErrTooLong] unless [Truncate] is given; so is, always, a context
// without room for the end token.
//
// Source: openai/CLIP clip/clip.py:tokenize.
func (t *Tokenizer) Tokenize(text string, opts ...Option) ([]int32, error) {
	o := options{context: DefaultContext}
	if err := option.Apply(&o, opts, Option.tokenize); err != nil {
		return nil, err
	}
	ids := append([]int32{StartOfText}, t.Encode(text)...)
	ids = append(ids, EndOfText)
	if len(ids) > o.context {
		if !o.truncate || o.context < 1 {
			return nil, fmt.Errorf("%w: %d tokens with start and end, context length %d", ErrTooLong, len(ids), o.context)
		}
		ids[o.context-1] = EndOfText
	}
	row := make([]int32, o.context)
	copy(row, ids)
	return row, nil
}

// Decode returns the text that ids stand for, in lower case and with a space
// after every word. Special tokens are spelled out, and the zeros that pad a
// sequence are exclamation marks, as in the reference. What is not UTF-8 and
// ids outside the vocabulary become U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string {
	v := t.vocabulary
	var b strings.Builder
	for _, id := range ids {
		if id < 0 || id >= VocabSize {
			b.WriteRune('\uFFFD')
			continue
		}
		b.WriteString(v.text[v.offset[id]:v.offset[id+1]])
	}
	// The decoder replaces each maximal part of a character, as Python does,
	// where Go's own conversions replace each byte. It returns no error.
	text, _ := unicode.UTF8.NewDecoder().String(b.String())
	return strings.ReplaceAll(text, wordEnd, " ")
}
