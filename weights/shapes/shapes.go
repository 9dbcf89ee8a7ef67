package shapes

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"

	"github.com/clipsurgery/clipsurgery/weights"
)

//go:embed clip.safetensors.gz sam.safetensors.gz scenes
var files embed.FS

// CLIP returns the demo CLIP: OpenAI's names, 96-pixel pictures, patch 8, width
// 64, 8 layers; 106 tokens are trained.
func CLIP() (*weights.File, error) { return open("clip.safetensors.gz") }

// SAM returns the demo SAM: Meta's names, 128-pixel pictures, patch 8, width 96,
// 4 layers.
func SAM() (*weights.File, error) { return open("sam.safetensors.gz") }

func open(name string) (*weights.File, error) {
	packed, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("shapes: %s: %w", name, err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("shapes: %s: %w", name, err)
	}
	return weights.FromBytes(data)
}

// Scene is a drawn picture with exact ground truth.
type Scene struct {
	Seed     int
	Picture  image.Image // 128×128
	Captions []string
	Grounds  []string // nouns of what lies behind, such as "grass"
	Things   []Thing  // objects, in the order of their labels in Instances

	// Instances labels every pixel with the 1-based index of a thing, 0 for
	// ground; Semantic with an index into [Classes].
	Instances, Semantic *image.Gray
}

// Thing is an object of a scene.
type Thing struct {
	Name  string          // "red circle"
	Shape string          // "circle"
	Color string          // "red"
	Box   image.Rectangle // half-open
	Area  int             // visible pixels
}

// Mask returns the pixels of thing i, counted from 0.
func (s *Scene) Mask(i int) *image.Alpha {
	return mask(s.Instances, func(v uint8) bool { return int(v) == i+1 })
}

// NounMask returns the pixels of a noun of [Classes]: all objects of a shape,
// or a ground; or of a colored shape such as "red circle".
func (s *Scene) NounMask(noun string) *image.Alpha {
	for c, name := range Classes() {
		if name == noun {
			return mask(s.Semantic, func(v uint8) bool { return int(v) == c })
		}
	}
	return mask(s.Instances, func(v uint8) bool { return v > 0 && int(v) <= len(s.Things) && s.Things[v-1].Name == noun })
}

// Nouns returns the nouns that the scene shows, in the order of [Classes].
func (s *Scene) Nouns() []string {
	var seen [256]bool
	for _, v := range s.Semantic.Pix {
		seen[v] = true
	}
	var out []string
	for c, name := range Classes() {
		if seen[c] {
			out = append(out, name)
		}
	}
	return out
}

func mask(labels *image.Gray, in func(uint8) bool) *image.Alpha {
	out := image.NewAlpha(labels.Rect)
	for i, v := range labels.Pix {
		if in(v) {
			out.Pix[i] = 255
		}
	}
	return out
}

// Classes returns the 18 nouns of the drawn world: 8 grounds, then 10 shapes.
func Classes() []string {
	return []string{"grass", "sky", "brick", "water", "sand", "wood", "stripes", "paper",
		"circle", "square", "triangle", "star", "heart", "ring", "cross", "moon", "arrow", "diamond"}
}

// ColoredShapes returns the 80 names of things, such as "red circle": the
// shapes of [Classes] in each of 8 colors, color by color.
func ColoredShapes() []string {
	var all []string
	for _, color := range []string{"red", "green", "blue", "yellow", "purple", "orange", "white", "black"} {
		for _, shape := range Classes()[8:] {
			all = append(all, color+" "+shape)
		}
	}
	return all
}

// Scenes returns the 24 held-out scenes.
func Scenes() ([]Scene, error) {
	sub, err := fs.Sub(files, "scenes")
	if err != nil {
		return nil, err
	}
	return ReadScenes(sub)
}

// ReadScenes reads scenes from a folder that tools/shapes/scenes.py wrote, as
// "python scenes.py heldout" does.
func ReadScenes(fsys fs.FS) ([]Scene, error) {
	data, err := fs.ReadFile(fsys, "scenes.json")
	if err != nil {
		return nil, err
	}
	var index struct {
		Scenes []struct {
			Image     string
			Instances string
			Semantic  string
			Seed      int
			Grounds   []string
			Captions  []string
			Objects   []struct {
				Name, Shape string
				Color       string `json:"colour"`
				Box         [4]int
				Area        int
			}
		}
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("shapes: scenes.json: %w", err)
	}
	scenes := make([]Scene, len(index.Scenes))
	for i, in := range index.Scenes {
		s := Scene{Seed: in.Seed, Grounds: in.Grounds, Captions: in.Captions}
		for _, o := range in.Objects {
			s.Things = append(s.Things, Thing{o.Name, o.Shape, o.Color,
				image.Rect(o.Box[0], o.Box[1], o.Box[2]+1, o.Box[3]+1), o.Area})
		}
		if s.Picture, err = picture(fsys, in.Image); err != nil {
			return nil, err
		}
		if s.Instances, err = labels(fsys, in.Instances); err != nil {
			return nil, err
		}
		if s.Semantic, err = labels(fsys, in.Semantic); err != nil {
			return nil, err
		}
		scenes[i] = s
	}
	return scenes, nil
}

func picture(fsys fs.FS, name string) (image.Image, error) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("shapes: %s: %w", name, err)
	}
	return img, nil
}

func labels(fsys fs.FS, name string) (*image.Gray, error) {
	img, err := picture(fsys, name)
	if err != nil {
		return nil, err
	}
	switch m := img.(type) {
	case *image.Gray:
		return m, nil
	case *image.Paletted:
		return &image.Gray{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}, nil
	}
	return nil, fmt.Errorf("shapes: %s: want a palette or gray picture as a label map, got %T", name, img)
}
