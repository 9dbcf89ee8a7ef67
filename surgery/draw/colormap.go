package draw

import (
	"fmt"
	"image/color"
)

// ColorMap maps values of 0–1 to colors.
type ColorMap struct {
	name  string
	table string // 256 RGB triples
}

// Jet is OpenCV's blue-to-red table, the one of the reference demo. It is not
// perceptually uniform: to read values off a map, use another.
func Jet() ColorMap { return ColorMap{"jet", jetTable} }

// Viridis is perceptually uniform, dark blue to yellow.
func Viridis() ColorMap { return ColorMap{"viridis", viridisTable} }

// Inferno is perceptually uniform, black over red to pale yellow.
func Inferno() ColorMap { return ColorMap{"inferno", infernoTable} }

// Turbo is a smooth rainbow, an even-handed replacement for jet.
func Turbo() ColorMap { return ColorMap{"turbo", turboTable} }

// ColorMapNamed returns the map of that name: jet, viridis, inferno or turbo.
func ColorMapNamed(name string) (ColorMap, error) {
	for _, m := range []ColorMap{Jet(), Viridis(), Inferno(), Turbo()} {
		if m.name == name {
			return m, nil
		}
	}
	return ColorMap{}, fmt.Errorf("draw: no color map %q: jet, viridis, inferno or turbo", name)
}

// At returns the color of v, limited to 0–1; the value is truncated to one of
// 256 steps, as the reference demo does. The zero ColorMap is Jet.
func (m ColorMap) At(v float32) color.NRGBA {
	table := m.table
	if table == "" {
		table = jetTable
	}
	i := 0
	if v > 0 { // false for NaN
		i = int(min(v, 1) * 255)
	}
	return color.NRGBA{table[3*i], table[3*i+1], table[3*i+2], 255}
}
