package main

import (
	"errors"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

// pair is a picture and a sentence.
type pair struct {
	cli.Picture
	sentence string
}

// pairsOf pairs the pictures with -text, or with their own captions and others'.
func pairsOf() ([]pair, error) {
	if images.Given() && *text == "" {
		return nil, errors.New("-image needs -text")
	}
	pictures, err := images.Open(0, 1, 2, 3)
	if err != nil {
		return nil, err
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		return nil, err
	}
	var pairs []pair
	for i, p := range pictures {
		if *text != "" {
			pairs = append(pairs, pair{p, *text})
			continue
		}
		other := p
		other.Name += "-other"
		pairs = append(pairs, pair{p, p.Scene.Captions[0]}, pair{other, scenes[i+4].Captions[0]})
	}
	return pairs, nil
}
