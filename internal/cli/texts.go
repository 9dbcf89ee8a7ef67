package cli

import (
	"flag"
	"os"
	"strings"

	"github.com/clipsurgery/clipsurgery/surgery"
)

// Texts is a flag: texts separated by commas.
type Texts []string

// TextsFlag defines a flag.
func TextsFlag(name, usage string) *Texts {
	t := new(Texts)
	flag.Var(t, name, usage+", separated by commas")
	return t
}

// Set reads the flag.
func (t *Texts) Set(s string) error { *t = List(s); return nil }

func (t *Texts) String() string {
	if t == nil {
		return ""
	}
	return strings.Join(*t, ",")
}

// List splits "person, bench" at the commas.
func List(s string) []string {
	var out []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// Templates is the flag -templates: a file of prompt templates. The zero
// Templates is [surgery.Templates].
type Templates struct{ Path string }

// TemplatesFlag defines the flag -templates.
func TemplatesFlag() *Templates {
	t := new(Templates)
	flag.StringVar(&t.Path, "templates", "", "file of prompt templates, one a line, {} for the label; default: the reference's 85")
	return t
}

// Read returns the templates.
func (t *Templates) Read() ([]string, error) {
	if t.Path == "" {
		return surgery.Templates(), nil
	}
	data, err := os.ReadFile(t.Path)
	return strings.Split(strings.TrimSpace(string(data)), "\n"), err
}
