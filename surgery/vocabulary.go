package surgery

import (
	"context"
	"fmt"
	"strings"

	"github.com/clipsurgery/clipsurgery/vit"
	"gonum.org/v1/gonum/blas/blas32"
)

// Class is one class of a segmentation, described by one or several texts. A
// class without texts is never found in the scores; it can serve as
// [Background].
type Class struct {
	Name  string
	Texts []string
}

// ParseClasses reads a class from each line: its texts, separated by commas,
// the first of which is its name too:
//
//	background, wall, building
//	person, person in shirt
//
// Empty lines are skipped. A line that begins with "-" is a class without
// texts.
func ParseClasses(lines string) []Class {
	var all []Class
	for line := range strings.Lines(lines) {
		name, bare := strings.CutPrefix(strings.TrimSpace(line), "-")
		var texts []string
		for _, text := range strings.Split(name, ",") {
			if text = strings.TrimSpace(text); text != "" {
				texts = append(texts, text)
			}
		}
		switch {
		case len(texts) == 0:
		case bare:
			all = append(all, Class{Name: strings.Join(texts, ", ")})
		default:
			all = append(all, Class{texts[0], texts})
		}
	}
	return all
}

// Vocabulary is classes with the features of their texts, computed once for any
// number of pictures. Functions of this package do not change it.
type Vocabulary struct {
	Classes []string
	Text    blas32.General // texts × D, unit rows
	Of      []int          // class of each text, not decreasing
}

// EncodeClasses makes a vocabulary by encoding every text in all templates.
func EncodeClasses(ctx context.Context, clip *vit.CLIP, classes []Class, templates []string, opts ...vit.TextOption) (*Vocabulary, error) {
	v := &Vocabulary{}
	var texts []string
	for i, c := range classes {
		v.Classes = append(v.Classes, c.Name)
		for _, text := range c.Texts {
			texts = append(texts, text)
			v.Of = append(v.Of, i)
		}
	}
	if len(classes) > maxClasses {
		return nil, fmt.Errorf("surgery: %w: %d classes, at most %d", ErrLabel, len(classes), maxClasses)
	}
	var err error
	if v.Text, err = clip.EncodeLabels(ctx, texts, templates, opts...); err != nil {
		return nil, err
	}
	return v, nil
}

// Nouns returns classes whose only text is their name.
func Nouns(names ...string) []Class {
	all := make([]Class, len(names))
	for i, n := range names {
		all[i] = Class{n, []string{n}}
	}
	return all
}

func (v *Vocabulary) check() error {
	if v == nil {
		return fmt.Errorf("surgery: %w: the vocabulary is nil", ErrLabel)
	}
	if len(v.Of) != v.Text.Rows || v.Text.Rows < 1 || len(v.Classes) > maxClasses {
		return fmt.Errorf("surgery: %w: %d classes, %d texts of %d", ErrLabel, len(v.Classes), len(v.Of), v.Text.Rows)
	}
	for i, c := range v.Of {
		if c < 0 || c >= len(v.Classes) || i > 0 && c < v.Of[i-1] {
			return fmt.Errorf("surgery: %w: text %d of class %d", ErrLabel, i, c)
		}
	}
	return nil
}
