package tokenizer_test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/tokenizer"
)

func TestFixtures(t *testing.T) {
	tok := tokenizer.New()
	file, err := os.Open(filepath.Join(golden.Root(t), "tokenizer", "tokenize.jsonl"))
	require.NoError(t, err)
	defer file.Close()
	checked := 0
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var want struct {
			Text, Clean          string
			Decoded              *string // absent where truncated
			IDs                  []int32
			Mojibake, Truncated  bool
			FullLength           int    `json:"full_length"`
			ErrorWithoutTruncate string `json:"error_without_truncate"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &want))
		if want.Mojibake {
			continue // repair of wrongly decoded text is not ours
		}
		checked++
		padded := append(want.IDs, make([]int32, tokenizer.DefaultContext-len(want.IDs))...)
		got, err := tok.Tokenize(want.Text, tokenizer.Truncate())
		require.NoError(t, err)
		assert.Equal(t, padded, got, "%q", want.Text)
		assert.Equal(t, want.Clean, tokenizer.Clean(want.Text), "%q", want.Text)
		if want.Decoded != nil {
			assert.Equal(t, *want.Decoded, tok.Decode(tok.Encode(want.Text)), "%q", want.Text)
		}

		got, err = tok.Tokenize(want.Text)
		assert.Equal(t, want.ErrorWithoutTruncate != "", err != nil, "%q", want.Text)
		if want.Truncated {
			require.ErrorIs(t, err, tokenizer.ErrTooLong)
			assert.Equal(t, want.FullLength, len(tok.Encode(want.Text))+2, "%q", want.Text)
		} else {
			assert.Equal(t, padded, got, "%q", want.Text)
		}
	}
	require.NoError(t, lines.Err())
	assert.Equal(t, 393, checked)
}

func TestPromptTemplates(t *testing.T) {
	tok := tokenizer.New()
	data, err := os.ReadFile(filepath.Join(golden.Root(t), "tokenizer", "prompts.json"))
	require.NoError(t, err)
	var prompts struct {
		Templates []string
		Lengths   []int `json:"template_sot_eot_len"`
	}
	require.NoError(t, json.Unmarshal(data, &prompts))
	require.Len(t, prompts.Templates, 85)
	require.Len(t, prompts.Lengths, 85)
	for i, template := range prompts.Templates {
		text := strings.ReplaceAll(template, "{}", "x")
		assert.Len(t, tok.Encode(text), prompts.Lengths[i]-2, "%q", text)
	}
}

// The expectations are openai/CLIP's with ftfy 6.3.1: text, cleaned text,
// words.
var cases = []struct {
	text, clean string
	words       []string
}{
	{"A  photo\x09of\u00a0a\u3000CAT\u2028!", "a photo of a cat !", []string{"a", "photo", "of", "a", "cat", "!"}},
	{"&amp;amp;amp;lt;b&gt;", "<b>", []string{"<", "b", ">"}},
	{"&lt;b> &amp; &eacute;", "<b> & \u00e9", []string{"<", "b", ">", "&", "\u00e9"}},
	{"x < y &amp;amp;amp; z", "x < y &amp; z", []string{"x", "<", "y", "&", "amp", ";", "z"}},
	{"one &amp;amp; two\x0athree &eacute; < four\x0afive &amp;amp;amp; six", "one & two three \u00e9 < four five &amp; six", []string{"one", "&", "two", "three", "\u00e9", "<", "four", "five", "&", "amp", ";", "six"}},
	{"P&EACUTE;REZ &SZLIG; &NAPOS;", "p\u00e9rez ss 'n", []string{"p\u00e9rez", "ss", "'", "n"}},
	{"&notit; &amp &AMP", "\u00acit; & &", []string{"\u00ac", "it", ";", "&", "&"}},
	{"&num;&num;65;&#65;&#x41;", "##65;aa", []string{"##", "6", "5", ";", "aa"}},
	{"&#38;#38;#65;", "a", []string{"a"}},
	{"&#59; &semi; &amp&semi;", "; ; &", []string{";", ";", "&"}},
	{"&#0;&#1;&#31;&#127;&#128;&#x9f;&#xD800;&#x110000;&#99999999999999999999;&#xFFFE;|", "\ufffd\u20ac\u00ff\ufffd\ufffd\ufffd|", []string{"\ufffd\u20ac", "\u00ff", "\ufffd\ufffd\ufffd|"}},
	{"<&#0;&#1&#x2;&#128&#150;&#55296;|&#x;&#;", "<\ufffd\u20ac\u2013\ufffd|&#x;&#;", []string{"<\ufffd\u20ac\u2013\ufffd|&#", "x", ";&#;"}},
	{"&am\x00p;lt;", "<", []string{"<"}},
	{"&nGt; &nLt;", "\u226b\u20d2 \u226a\u20d2", []string{"\u226b\u20d2", "\u226a\u20d2"}},
	{"&CounterClockwiseContourIntegral;", "\u2233", []string{"\u2233"}},
	{"\uff06\uff41\uff4d\uff50\uff1b \uff2c\uff2f\uff35\uff24\u3000\uff2e\uff2f\uff29\uff33\uff25\uff33 \uff8a\uff9f \uffe3 \uffe1", "& loud noises \u30d1 \u0304 \u00a3", []string{"&", "loud", "noises", "\u30d1", "\u0304", "\u00a3"}},
	{"\x1b[31mred\x1b[0m \x1b[&#51;m \x1b[&amp;#51;m \x1b[\uff13;1Hx \x1b]", "red [3m x ]", []string{"red", "[", "3", "m", "x", "]"}},
	{"\ufb02ubberi\ufb01c \ufb05 \u0149 \u01c4 \u0133 \u00c6", "flubberific \u017ft 'n d\u017e ij \u00e6", []string{"flubberific", "\u017ft", "'", "n", "d\u017e", "ij", "\u00e6"}},
	{"\u201chere\u2019s a \u201etest\u201f \u02bc", "\"here's a \"test\" '", []string{"\"", "here", "'s", "a", "\"", "test", "\"", "'"}},
	{"it\u0092s \u0093ok\u0094 \u0081 \u0085", "it's \"ok\" \u0081 \u2026", []string{"it", "'s", "\"", "ok", "\"", "\u0081", "\u2026"}},
	{"\ufeffBOM\u206a\ufff9\ufffb\x07\x0b.", "bom.", []string{"bom", "."}},
	{"\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u0391\u03a3. \u0391\u03a3' \u0391\u03a3'\u0391 \u03a3 \u0130I \u02b0\u03a3", "\u03bf\u03b4\u03c5\u03c3\u03c3\u03b5\u03c5\u03c2 \u03b1\u03c2. \u03b1\u03c2' \u03b1\u03c3'\u03b1 \u03c3 i\u0307i \u02b0\u03c3", []string{"\u03bf\u03b4\u03c5\u03c3\u03c3\u03b5\u03c5\u03c2", "\u03b1\u03c2", ".", "\u03b1\u03c2", "'", "\u03b1\u03c3", "'", "\u03b1", "\u03c3", "i", "\u0307", "i", "\u02b0\u03c3"}},
	{"e\u0301\u0323 \u1100\u1161\u11a8 \u212a\u2126 \u0958 \u037e", "\u1eb9\u0301 \uac01 k\u03c9 \u0915\u093c ;", []string{"\u1eb9", "\u0301", "\uac01", "k\u03c9", "\u0915", "\u093c", ";"}},
	{"a\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0323", "\u1ea1\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301", []string{"\u1ea1", "\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301"}},
	{"\U00010437\u0308 \U00010cc6\u0cc2 \U00011099\U000110ba", "\U00010437\u0308 \U00010cc6\u0cc2 \U0001109a", []string{"\U00010437", "\u0308", "\U00010cc6", "\u0cc2", "\U0001109a"}},
	{"\uff9e\uff21", "\u3099a", []string{"\u3099", "a"}},
	{"'\u017f 'S \u2019s 'Re 'x'll ''s", "'\u017f 's 's 're 'x'll ''s", []string{"'\u017f", "'s", "'s", "'re", "'", "x", "'ll", "''", "s"}},
	{"<|endoftext|><|StartOfText|> <|\u017ftartoftext|> !<|endoftext|>", "<|endoftext|><|startoftext|> <|\u017ftartoftext|> !<|endoftext|>", []string{"<|endoftext|>", "<|startoftext|>", "<|\u017ftartoftext|>", "!<|", "endoftext", "|>"}},
	{"12\u00bd\u2177\u0663 \u00b2", "12\u00bd\u2177\u0663 \u00b2", []string{"1", "2", "\u00bd", "\u2177", "\u0663", "\u00b2"}},
	{"a\u0345b !\u0345! \u0345", "a\u0345b !\u0345! \u0345", []string{"a", "b", "!", "!"}},
	{"na\u00efve\u2014x\u2026", "na\u00efve\u2014x\u2026", []string{"na\u00efve", "\u2014", "x", "\u2026"}},
	{"\U0001f469\u200d\U0001f680\U0001f3fd", "\U0001f469\u200d\U0001f680\U0001f3fd", []string{"\U0001f469\u200d\U0001f680\U0001f3fd"}},
	{"a_b-c+d", "a_b-c+d", []string{"a", "_", "b", "-", "c", "+", "d"}},
	{"x</w>y", "x</w>y", []string{"x", "</", "w", ">", "y"}},
}

func TestCleanAndSplit(t *testing.T) {
	tok := tokenizer.New()
	for _, c := range cases {
		assert.Equal(t, c.clean, tokenizer.Clean(c.text), "%q", c.text)
		var words []string
		for _, p := range tok.Pieces(c.text) {
			if p.Word == len(words) {
				words = append(words, "")
			}
			words[p.Word] += p.Text
		}
		assert.Equal(t, c.words, words, "%q", c.text)
	}
}

func TestCleanInvalidUTF8(t *testing.T) {
	assert.Equal(t, "a\uFFFD\uFFFDb \uFFFD", tokenizer.Clean("A\xe4\xb8B \xff"))
}

func TestSpecialTokens(t *testing.T) {
	tok := tokenizer.New()
	assert.Equal(t, []int32{tokenizer.StartOfText, tokenizer.EndOfText}, tok.Encode("<|startoftext|><|endoftext|>"))
	assert.Equal(t, "<|startoftext|><|endoftext|>", tok.Decode([]int32{tokenizer.StartOfText, tokenizer.EndOfText}))
}

func TestContextLength(t *testing.T) {
	tok := tokenizer.New()
	const text = "a photo of a cat" // 320 1125 539 320 2368
	row := func(opts ...tokenizer.Option) []int32 {
		ids, err := tok.Tokenize(text, opts...)
		require.NoError(t, err)
		return ids
	}
	assert.Len(t, row(), 77)
	assert.Equal(t, []int32{49406, 320, 1125, 539, 320, 2368, 49407, 0}, row(tokenizer.ContextLength(8)))
	assert.Equal(t, []int32{49406, 320, 1125, 539, 320, 2368, 49407}, row(tokenizer.ContextLength(7)))
	assert.Equal(t, []int32{49406, 320, 49407}, row(tokenizer.ContextLength(3), tokenizer.Truncate()))
	assert.Equal(t, []int32{49407}, row(tokenizer.ContextLength(1), tokenizer.Truncate()))

	_, err := tok.Tokenize(text, tokenizer.ContextLength(6))
	require.ErrorIs(t, err, tokenizer.ErrTooLong)
	assert.ErrorContains(t, err, "7 tokens with start and end, context length 6")
	for _, n := range []int{0, -1} {
		_, err = tok.Tokenize("", tokenizer.ContextLength(n), tokenizer.Truncate())
		assert.ErrorIs(t, err, tokenizer.ErrTooLong)
	}
}

func TestDecode(t *testing.T) {
	tok := tokenizer.New()
	assert.Empty(t, tok.Decode(nil))
	assert.Equal(t, "cat !!", tok.Decode([]int32{2368, 0, 0}))
	assert.Equal(t, "cat \uFFFD\uFFFDcat ", tok.Decode([]int32{2368, -1, tokenizer.VocabSize, 2368}))

	// A part of a character is replaced as a whole, by one U+FFFD.
	emoji := tok.Encode("😀\U0010FFFF")
	for i := range emoji {
		assert.NotContains(t, tok.Decode(emoji[:i]), "\uFFFD\uFFFD")
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := tokenizer.New()
	want := tok.Encode(cases[0].text)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				assert.Equal(t, want, tok.Encode(cases[0].text))
			}
		})
	}
	wg.Wait()
}

// Texts that take minutes where time grows with the square of the length.
func TestLongTexts(t *testing.T) {
	tok := tokenizer.New()
	texts := longTexts(1 << 17)
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			checkInvariants(t, tok, text)
		})
	}
	assert.Equal(t, "&", tokenizer.Clean(texts["nested entities"]))
	assert.Equal(t, ";", tokenizer.Clean(texts["semicolons"]))
}

// checkInvariants checks what holds for every text.
func checkInvariants(t *testing.T, tok *tokenizer.Tokenizer, text string) {
	clean := tokenizer.Clean(text)
	require.True(t, utf8.ValidString(clean), "%.80q", text)
	require.Equal(t, strings.Join(strings.Fields(clean), " "), clean)

	// The pieces cover all of the text but spaces and U+0345, in order.
	ids := tok.Encode(text)
	pieces := tok.Pieces(text)
	require.Len(t, pieces, len(ids))
	end, word := 0, -1
	for i, p := range pieces {
		if p.ID != ids[i] || p.Text != clean[p.Start:p.End] || p.Text == "" ||
			withoutGaps(clean[end:p.Start]) != "" || p.Word != word && p.Word != word+1 {
			require.Failf(t, "piece", "%d: %+v, id %d, %.80q", i, p, ids[i], text)
		}
		end, word = p.End, p.Word
	}
	require.Empty(t, withoutGaps(clean[end:]))

	decoded := tok.Decode(ids)
	if withoutGaps(clean) != withoutGaps(decoded) {
		require.Failf(t, "decoded", "%.80q: %.80q, cleaned %.80q", text, decoded, clean)
	}
	row, err := tok.Tokenize(text, tokenizer.Truncate())
	require.NoError(t, err)
	require.Len(t, row, tokenizer.DefaultContext)
	require.EqualValues(t, tokenizer.StartOfText, row[0])
	require.Contains(t, row, int32(tokenizer.EndOfText))
}

func withoutGaps(s string) string { return strings.NewReplacer(" ", "", "\u0345", "").Replace(s) }

func FuzzEncode(f *testing.F) {
	for _, c := range cases {
		f.Add(c.text)
	}
	f.Add("\xf0\x9f\x98 &#")
	tok := tokenizer.New()
	f.Fuzz(func(t *testing.T, text string) { checkInvariants(t, tok, text) })
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 0, 64, 9, 255, 255})
	tok := tokenizer.New()
	f.Fuzz(func(t *testing.T, data []byte) {
		ids := make([]int32, len(data)/2)
		for i := range ids {
			ids[i] = int32(data[2*i]) | int32(data[2*i+1])<<8
		}
		text := tok.Decode(ids)
		require.True(t, utf8.ValidString(text))
		require.NotContains(t, text, "</w>")
	})
}
