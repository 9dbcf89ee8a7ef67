package cli

import (
	"flag"
	"fmt"
	"image"
	"path/filepath"
	"strings"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

// Picture is a picture that a program works on.
type Picture struct {
	image.Image
	Name  string        // of its files, without an ending
	File  string        // its own name
	Scene *shapes.Scene // what it shows, if it is an embedded scene
}

// Image is the flag -image: the path of a picture. The zero Image is embedded
// scenes.
type Image struct{ Path string }

// ImageFlag defines the flag -image.
func ImageFlag() *Image {
	i := new(Image)
	flag.StringVar(&i.Path, "image", "", "picture; default: embedded scenes")
	return i
}

// Given reports whether there is a picture of the user's.
func (i *Image) Given() bool { return i.Path != "" }

// Open reads the picture, or returns the embedded scenes of these numbers.
func (i *Image) Open(scenes ...int) ([]Picture, error) {
	if i.Given() {
		img, err := clipsurgery.OpenPicture(i.Path)
		file := filepath.Base(i.Path)
		return []Picture{{Image: img, Name: strings.TrimSuffix(file, filepath.Ext(file)), File: file}}, err
	}
	all, err := shapes.Scenes()
	if err != nil {
		return nil, err
	}
	var pictures []Picture
	for _, n := range scenes {
		s := &all[n]
		pictures = append(pictures, Picture{s.Picture, fmt.Sprintf("scene-%d", s.Seed), fmt.Sprintf("scene_%02d.png", n), s})
	}
	return pictures, nil
}

// SizeFlag defines the flag -size, of which 0 is the default.
func SizeFlag(what, byDefault string) *int {
	return flag.Int("size", 0, what+", in pixels; default: "+byDefault)
}
