package tokenizer_test

import (
	"fmt"

	"github.com/clipsurgery/clipsurgery/tokenizer"
)

func Example() {
	t := tokenizer.New()
	ids, err := t.Tokenize("A photo of a cat.", tokenizer.ContextLength(10))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ids)
	fmt.Println(t.Decode(ids[1:8]))
	// Output:
	// [49406 320 1125 539 320 2368 269 49407 0 0]
	// a photo of a cat . <|endoftext|>
}

func ExampleTokenizer_Pieces() {
	for _, p := range tokenizer.New().Pieces("Zebra-striped LABRADOODLES") {
		fmt.Println(p.Word, p.Text, p.ID)
	}
	// Output:
	// 0 zebra 22548
	// 1 - 268
	// 2 striped 22192
	// 3 labra 37067
	// 3 doodles 22156
}

func ExampleClean() {
	fmt.Println(tokenizer.Clean("  Tom &amp; Jerry’s\nＢＩＧ ﬁght "))
	// Output: tom & jerry's big fight
}
