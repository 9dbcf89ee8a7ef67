// Command heic shows where a word is in a picture of a phone: HEIC and AVIF are
// decoded by libraries beside clipsurgery, compiled from C to WebAssembly and
// run by wazero, so that no cgo is needed.
//
//	go run . -image photo.heic -clip ViT-B-16.pt -label bench -out bench.png
//
// The libraries use a shared library of the system instead where they find
// one; the build tag nodynamic keeps them from looking.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"io"
	"os"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/surgery"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/gen2brain/avif"
	"github.com/gen2brain/heic"
)

var (
	checkpoint = cli.CLIPFlag()
	path       = flag.String("image", "testdata/halves.heic", "picture")
	label      = flag.String("label", "square", "what to look for")
	out        = flag.String("out", "heat.png", "PNG file to write")
)

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	f, err := os.Open(*path)
	if err != nil {
		return err
	}
	defer f.Close()
	img, err := decode(f)
	if err != nil {
		return fmt.Errorf("%s: %w", *path, err)
	}
	clip, err := checkpoint.Open(ctx)
	if err != nil {
		return err
	}
	text, err := clip.EncodeLabels(ctx, []string{*label, ""}, []string{"a photo of a {}."})
	if err != nil {
		return err
	}
	features, err := clip.EncodeImage(ctx, img, vit.Operate(surgery.CLIPSurgery()))
	if err != nil {
		return err
	}
	scores, err := surgery.FeatureSurgery(features, text)
	if err != nil {
		return err
	}
	heat, err := scores.Map(0)
	if err != nil {
		return err
	}
	picture, err := draw.Overlay(img, heat)
	if err != nil {
		return err
	}
	return cli.SavePNG(*out, picture)
}

// decode reads HEIC and AVIF with the libraries and everything else with
// clipsurgery. HEIC comes upright; the AVIF library ignores orientation.
func decode(r io.Reader) (image.Image, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(12)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(head) == 12 && string(head[4:8]) == "ftyp" {
		switch string(head[8:]) {
		case "avif", "avis":
			return avif.Decode(b)
		case "heic", "heix", "mif1", "msf1":
			return heic.Decode(b)
		}
	}
	return clipsurgery.DecodePicture(b)
}
