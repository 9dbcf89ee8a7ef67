package cli

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"

	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/hub"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

const checkpointUsage = "checkpoint: file, directory or published name; default: the embedded demo model"

// CLIP is the flag -clip: a path, or a name that [hub.Fetch] knows. The zero CLIP
// is the embedded demo model.
type CLIP struct{ Name string }

// CLIPFlag defines the flag -clip.
func CLIPFlag() *CLIP {
	c := new(CLIP)
	flag.StringVar(&c.Name, "clip", "", "CLIP "+checkpointUsage)
	return c
}

// Open loads the model.
func (c *CLIP) Open(ctx context.Context) (*vit.CLIP, error) {
	if c.Name != "" {
		path, err := Checkpoint(ctx, c.Name)
		if err != nil {
			return nil, err
		}
		return vit.Open(path)
	}
	f, err := shapes.CLIP()
	if err != nil {
		return nil, err
	}
	return vit.Load(f)
}

// SAM is the flag -sam: a path, or a name that [hub.Fetch] knows. The zero SAM is
// the embedded demo model.
type SAM struct{ Name string }

// SAMFlag defines the flag -sam.
func SAMFlag() *SAM {
	s := new(SAM)
	flag.StringVar(&s.Name, "sam", "", "SAM "+checkpointUsage)
	return s
}

// Demo reports whether the model is the embedded one.
func (s *SAM) Demo() bool { return s.Name == "" }

// Open loads the model.
func (s *SAM) Open(ctx context.Context, opts ...sam.Option) (*sam.Model, error) {
	if s.Name != "" {
		path, err := Checkpoint(ctx, s.Name)
		if err != nil {
			return nil, err
		}
		return sam.Open(path, opts...)
	}
	f, err := shapes.SAM()
	if err != nil {
		return nil, err
	}
	return sam.Load(f, opts...)
}

// Checkpoint returns the path of a checkpoint that is given by path or by a
// name, which it fetches unless it is in the cache. What is a path, or could be
// one by its folder or its ending, is one.
func Checkpoint(ctx context.Context, name string) (string, error) {
	if isPath(name) {
		return name, nil
	}
	return hub.Fetch(ctx, name, hub.WithProgress(Bytes("fetching "+name)))
}

func isPath(name string) bool {
	if _, err := os.Stat(name); err == nil || !hub.IsName(name) {
		return true
	}
	if slices.Contains(hub.Names(), name) {
		return false
	}
	_, err := os.Stat(filepath.Dir(name))
	return err == nil || slices.Contains([]string{".pt", ".pth", ".bin", ".safetensors", ".json"}, filepath.Ext(name))
}
