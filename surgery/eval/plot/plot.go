// Package plot draws what package eval measures, by gonum/plot:
// precision-recall curves and a bar per class. It is a module of its own, so
// that importers of eval do not carry plots and fonts.
package plot

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"strings"

	"github.com/clipsurgery/clipsurgery/surgery/eval"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// ErrNames reports names that do not fit what is drawn.
var ErrNames = errors.New("names do not fit")

// Width and Height of the pictures; bars take the width that their number
// needs.
const (
	Width  = 6 * vg.Inch
	Height = 4 * vg.Inch
)

// PrecisionRecall writes the curves of some classes of a ranking, classes that
// no picture shows excepted, as png, svg or pdf. names has a name for every
// class of the ranking.
func PrecisionRecall(w io.Writer, format string, r *eval.Ranking, names []string, classes ...int) error {
	if len(names) != r.Classes() {
		return fmt.Errorf("plot: %w: %d names for %d classes", ErrNames, len(names), r.Classes())
	}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = "recall", "precision"
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 0, 1
	for i, c := range classes {
		if c < 0 || c >= len(names) {
			return fmt.Errorf("plot: %w: class %d of %d", ErrNames, c, len(names))
		}
		recall, precision := r.Curve(c)
		if len(recall) == 0 {
			continue
		}
		// The curve starts level, at no recall.
		points := plotter.XYs{{X: 0, Y: precision[0]}}
		for j := range recall {
			points = append(points, plotter.XY{X: recall[j], Y: precision[j]})
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return fmt.Errorf("plot: %w", err)
		}
		line.Color, line.Dashes = plotutil.Color(i), plotutil.Dashes(i/7)
		p.Add(line)
		p.Legend.Add(fmt.Sprintf("%s, %.3f", names[c], r.AveragePrecision(c)), line)
	}
	p.Legend.XOffs, p.Legend.Left = vg.Points(6), true
	return write(w, format, p, Width)
}

// Bars writes a bar for each class, such as its IoU, as png, svg or pdf;
// NaN is a bar of no height.
func Bars(w io.Writer, format, what string, names []string, values []float64) error {
	if len(names) != len(values) || len(names) == 0 {
		return fmt.Errorf("plot: %w: %d names for %d values", ErrNames, len(names), len(values))
	}
	heights := make(plotter.Values, len(values))
	for i, v := range values {
		if !math.IsNaN(v) {
			heights[i] = v
		}
	}
	bars, err := plotter.NewBarChart(heights, vg.Points(14))
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	bars.Color, bars.LineStyle.Width = color.NRGBA{70, 110, 170, 255}, 0
	p := plot.New()
	p.Y.Label.Text = what
	p.Add(bars)
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5
	p.Y.Min, p.Y.Max = min(p.Y.Min, 0), 1.05*p.Y.Max
	p.X.Tick.Label.Rotation = math.Pi / 4
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = -0.9, -0.4
	return write(w, format, p, max(Width, vg.Length(len(names))*vg.Points(24)))
}

func write(w io.Writer, format string, p *plot.Plot, width vg.Length) error {
	out, err := p.WriterTo(width, Height, strings.ToLower(format))
	if err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	_, err = out.WriteTo(w)
	return err
}
