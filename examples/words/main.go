// Words shows which words of a sentence a picture supports: the sentence
// colored token by token, and where in the picture the best supported tokens
// are seen.
//
//	go run ./examples/words
//	go run ./examples/words -clip FILE -image PICTURE -text "a person on a bench in front of a lake"
//
// Without flags it runs the embedded demo model on embedded scenes, with a
// caption of the scene and one of another.
package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
	"github.com/clipsurgery/clipsurgery/vit"
)

var (
	checkpoint = cli.CLIPFlag()
	images     = cli.ImageFlag()
	text       = flag.String("text", "", "sentence; default: captions of the scenes")
	size       = cli.SizeFlag("side of the input", "the model's own")
	maps       = flag.Int("maps", 5, "how many tokens' maps to draw, the best supported first")
	colors     = cli.ColorsFlag("viridis")
	out        = cli.OutFlag()
)

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	clip, err := checkpoint.Open(ctx)
	if err != nil {
		return err
	}
	pairs, err := pairsOf()
	if err != nil {
		return err
	}
	table := cli.NewTable("picture", "file", "best supported", "sentence")
	for _, p := range pairs {
		file, best, err := explain(ctx, clip, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		table.Row(p.Name, file, strings.Join(best, ", "), p.sentence)
	}
	return table.Flush()
}

// explain writes the colored sentence and the maps of the tokens that the
// picture supports best, which it returns.
func explain(ctx context.Context, clip *vit.CLIP, p pair) (file string, best []string, err error) {
	tokens, err := clip.TextTokens(ctx, p.sentence)
	if err != nil {
		return "", nil, err
	}
	opts := []vit.ImageOption{vit.Operate(surgery.CLIPSurgery())}
	if *size > 0 {
		opts = append(opts, vit.Resize(*size))
	}
	features, err := clip.EncodeImage(ctx, p, opts...)
	if err != nil {
		return "", nil, err
	}
	scores, err := surgery.Words(features, tokens)
	if err != nil {
		return "", nil, err
	}
	support, palette := scores.Support(), draw.Colors(colors.ColorMap)
	tiles := []draw.Tile{{Picture: p, Caption: "picture"}}
	for _, r := range surgery.Top(support[1:], *maps) { // the start token says nothing
		token := 1 + r.Label
		heat, err := scores.Map(token)
		if err != nil {
			return "", nil, err
		}
		overlay, err := draw.Overlay(p, heat, palette)
		if err != nil {
			return "", nil, err
		}
		name := tokens.Pieces[token]
		if token == len(tokens.Pieces)-1 {
			name = "[end]"
		}
		best = append(best, fmt.Sprintf("%s %.2f", name, r.Score))
		tiles = append(tiles, draw.Tile{Picture: overlay, Caption: name})
	}
	sheet, err := draw.Sheet(tiles, draw.Columns(len(tiles)))
	if err != nil {
		return "", nil, err
	}
	sentence, err := draw.Sentence(tokens, support, sheet.Rect.Dx(), palette)
	if err != nil {
		return "", nil, err
	}
	file, err = out.PNG(draw.Stack(sentence, sheet), p.Name, "words")
	return file, best, err
}
