package cli

import (
	"errors"
	"flag"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/clipsurgery/clipsurgery/surgery/draw"
)

// Folder is the flag -out: the folder that a program writes to.
type Folder string

// OutFlag defines the flag -out.
func OutFlag() *Folder {
	f := new(Folder)
	flag.StringVar((*string)(f), "out", "out", "folder for what is written")
	return f
}

// Path returns the path of a file in the folder, which it makes. Names, such as
// a picture's and a label, are joined to a file's name that every file system
// takes: letters, digits, dots and dashes.
func (f *Folder) Path(ending string, names ...string) (string, error) {
	name := strings.Map(func(r rune) rune {
		if r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return '-'
	}, strings.Join(names, "-"))
	return filepath.Join(string(*f), name+ending), os.MkdirAll(string(*f), 0o755)
}

// PNG writes a picture under the joined names and returns its path.
func (f *Folder) PNG(img image.Image, names ...string) (string, error) {
	path, err := f.Path(".png", names...)
	if err != nil {
		return "", err
	}
	return path, SavePNG(path, img)
}

// Sheet writes tiles, so many in a row, as one picture under the joined names.
func (f *Folder) Sheet(tiles []draw.Tile, columns int, names ...string) (string, error) {
	sheet, err := draw.Sheet(tiles, draw.Columns(columns))
	if err != nil {
		return "", err
	}
	return f.PNG(sheet, names...)
}

// SavePNG writes a picture.
func SavePNG(path string, img image.Image) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(f, img), f.Close())
}

// Table prints rows to standard output, in columns as wide as their widest cell.
type Table struct{ w *tabwriter.Writer }

// NewTable begins a table.
func NewTable(columns ...string) *Table {
	t := &Table{tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)}
	cells := make([]any, len(columns))
	for i, c := range columns {
		cells[i] = c
	}
	t.Row(cells...)
	return t
}

// Row adds a row. What is not known is "-".
func (t *Table) Row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		if text := fmt.Sprint(c); text != "" {
			fmt.Fprint(t.w, text)
		} else {
			fmt.Fprint(t.w, "-")
		}
	}
	fmt.Fprintln(t.w)
}

// Flush prints what was added.
func (t *Table) Flush() error { return t.w.Flush() }

// Colors is the flag -colors: a color map.
type Colors struct {
	draw.ColorMap
	name string
}

// ColorsFlag defines the flag -colors.
func ColorsFlag(name string) *Colors {
	c := new(Colors)
	if err := c.Set(name); err != nil {
		panic("cli: " + err.Error()) // name is a constant of the program
	}
	flag.Var(c, "colors", "color map: jet, viridis, inferno or turbo")
	return c
}

// Set reads the flag.
func (c *Colors) Set(name string) (err error) {
	c.name = name
	c.ColorMap, err = draw.ColorMapNamed(name)
	return err
}

func (c *Colors) String() string {
	if c == nil {
		return ""
	}
	return c.name
}
