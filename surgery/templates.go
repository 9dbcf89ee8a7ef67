package surgery

import (
	_ "embed"
	"strings"
)

// templates.txt is one template a line, in the order of
// xmed-lab/CLIP_Surgery clip/clip.py:encode_text_with_prompt_ensemble.
//
//go:embed templates.txt
var templates string

// Templates returns the 85 prompt templates of the reference: the 80 that
// openai/CLIP uses for ImageNet and 5 for scenes. The label takes the place of
// {}.
func Templates() []string {
	return strings.Split(strings.TrimSuffix(templates, "\n"), "\n")
}
