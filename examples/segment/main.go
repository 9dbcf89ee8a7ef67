// Segment cuts objects out of a picture: those that texts name, by the last
// three parts of the reference's demo (points from a label set, from single
// texts, from combined texts), and those that clicks and a box show.
//
//	go run ./examples/segment
//	go run ./examples/segment -clip FILE -sam FILE -image PICTURE -size 512 -labels "bench, person" -among "grass, sky" -combine "person+bench"
//	go run ./examples/segment -sam FILE -image PICTURE -points "450,300,+;600,100,-" -box 40,30,236,124
//
// Without flags it runs the embedded demo models on embedded scenes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

var (
	clipPath  = flag.String("clip", "", "CLIP checkpoint: file, directory or published name; default: the embedded demo model")
	samPath   = flag.String("sam", "", "SAM checkpoint: file, directory or published name; default: the embedded demo model")
	imagePath = flag.String("image", "", "picture; default: embedded scenes")

	labelList = flag.String("labels", "", "labels to cut out, told apart from each other, separated by commas")
	amongList = flag.String("among", "", "further labels that -labels are told apart from")
	textList  = flag.String("text", "", "single texts to cut out, separated by commas")
	combine   = flag.String("combine", "", `texts to cut out as one object, "person+bench"`)
	points    = flag.String("points", "", `clicks on (+) and beside (-) an object, "x,y,+;x,y,-", in pixels of the picture`)
	box       = flag.String("box", "", "box around an object, x0,y0,x1,y1")

	size       = flag.Int("size", 0, "side of CLIP's input, in pixels, 512 in the reference's demo; default: the model's own")
	components = flag.Bool("components", false, "prompt for each part of a heat map by itself")
	rerank     = flag.Bool("rerank", false, "let the heat map choose among SAM's guesses")
	presence   = flag.Float64("min-presence", math.Inf(-1), "least presence of a label that is cut out")
	out        = flag.String("out", "out", "folder for the pictures")
)

func main() { cli.Main(run) }

// job is a picture and what is asked of it.
type job struct {
	name    string
	picture image.Image
	scene   *shapes.Scene // nil, if it is not an embedded one
	parts   []part
	prompt  *sam.Prompt // clicks and box, or nil
}

// part is texts that are cut out in one way.
type part struct {
	name   string
	labels []string
	opts   []clipsurgery.Option
}

func run(ctx context.Context) error {
	clock := cli.NewClock()
	jobs, err := work()
	if err != nil {
		return err
	}
	s := segmenter{clock: clock}
	if s.sam, err = cli.SAM(*samPath); err != nil {
		return err
	}
	for _, j := range jobs {
		if len(j.parts) > 0 && s.clip == nil {
			if s.clip, err = cli.CLIP(*clipPath); err != nil {
				return err
			}
		}
	}
	clock.Lap("load")
	s.table = tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(s.table, "picture\tby\twhat\tpresence\tclicks\tpixels\tpredicted IoU\tIoU\tfile")
	var sheets []string
	for _, j := range jobs {
		file, err := s.segment(ctx, j)
		if err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
		sheets = append(sheets, file)
	}
	if err := s.table.Flush(); err != nil {
		return err
	}
	fmt.Printf("\nsheets: %s\n%s; kernel %s\n", strings.Join(sheets, ", "), clock, simd.Best())
	return nil
}

// work lists the pictures and what to cut out of them.
func work() ([]job, error) {
	prompt, err := parsePrompt(*points, *box)
	if err != nil {
		return nil, err
	}
	asked := asking(cli.List(*labelList), cli.List(*amongList), cli.List(*textList), cli.List(strings.ReplaceAll(*combine, "+", ",")))
	if *imagePath != "" {
		if len(asked) == 0 && prompt == nil {
			return nil, errors.New("-image needs -labels, -text, -combine, -points or -box")
		}
		img, err := clipsurgery.OpenPicture(*imagePath)
		name := strings.TrimSuffix(filepath.Base(*imagePath), filepath.Ext(*imagePath))
		return []job{{name, img, nil, asked, prompt}}, err
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		return nil, err
	}
	var jobs []job
	for _, i := range []int{0, 1, 4, 13} {
		s := &scenes[i]
		j := job{fmt.Sprintf("scene-%d", s.Seed), s.Picture, s, asked, prompt}
		if len(asked) == 0 && prompt == nil {
			j.parts, j.prompt = questions(s)
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// asking is the parts of the given texts.
func asking(labels, among, texts, combined []string) []part {
	common := []clipsurgery.Option{
		clipsurgery.MinPresence(*presence),
		clipsurgery.TextOptions(vit.WithProgress(cli.Progress("labels"))),
	}
	if *size > 0 {
		common = append(common, clipsurgery.ImageOptions(vit.Resize(*size)))
	}
	if *components {
		common = append(common, clipsurgery.Components())
	}
	if *rerank {
		common = append(common, clipsurgery.Rerank())
	}
	var parts []part
	add := func(name string, labels []string, opts ...clipsurgery.Option) {
		if len(labels) > 0 {
			parts = append(parts, part{name, labels, append(opts, common...)})
		}
	}
	add("label set", labels, clipsurgery.Among(among...))
	add("single text", texts, clipsurgery.SingleText())
	add("combined", combined, clipsurgery.Combine())
	return parts
}

// questions are those that a scene is asked without flags: its shapes among all
// nouns, its first object alone, the first two as one, and a click and a box on
// the last.
func questions(s *shapes.Scene) ([]part, *sam.Prompt) {
	var nouns, names []string
	for _, thing := range s.Things {
		if !slices.Contains(nouns, thing.Shape) {
			nouns = append(nouns, thing.Shape)
		}
		if !slices.Contains(names, thing.Name) {
			names = append(names, thing.Name)
		}
	}
	b := s.Things[len(s.Things)-1].Box
	return asking(nouns, shapes.Classes(), names[:1], names[:min(2, len(names))]), &sam.Prompt{
		Points: []sam.Point{{X: float32(b.Min.X+b.Max.X) / 2, Y: float32(b.Min.Y+b.Max.Y) / 2, Label: sam.Foreground}},
		Box:    &sam.Box{X0: float32(b.Min.X), Y0: float32(b.Min.Y), X1: float32(b.Max.X - 1), Y1: float32(b.Max.Y - 1)},
	}
}

// parsePrompt reads -points and -box; nil, if both are empty.
func parsePrompt(points, box string) (*sam.Prompt, error) {
	if points == "" && box == "" {
		return nil, nil
	}
	var p sam.Prompt
	for _, click := range strings.Split(points, ";") {
		if strings.TrimSpace(click) == "" {
			continue
		}
		fields := cli.List(click)
		labels := map[string]sam.Label{"+": sam.Foreground, "-": sam.Background}
		if len(fields) == 3 {
			label, ok := labels[fields[2]]
			if xy, err := numbers(fields[:2]); ok && err == nil {
				p.Points = append(p.Points, sam.Point{X: xy[0], Y: xy[1], Label: label})
				continue
			}
		}
		return nil, fmt.Errorf("-points has %q, want x,y,+ or x,y,-", click)
	}
	if points != "" && len(p.Points) == 0 {
		return nil, fmt.Errorf("-points is %q, want clicks, x,y,+ or x,y,-", points)
	}
	if box != "" {
		b, err := numbers(cli.List(box))
		if err != nil || len(b) != 4 {
			return nil, fmt.Errorf("-box is %q, want x0,y0,x1,y1", box)
		}
		p.Box = &sam.Box{X0: b[0], Y0: b[1], X1: b[2], Y1: b[3]}
	}
	return &p, nil
}

func numbers(fields []string) ([]float32, error) {
	var all []float32
	for _, f := range fields {
		v, err := strconv.ParseFloat(f, 32)
		if err != nil {
			return nil, err
		}
		all = append(all, float32(v))
	}
	return all, nil
}

type segmenter struct {
	clip  *vit.CLIP
	sam   *sam.Model
	clock *cli.Clock
	table *tabwriter.Writer
}

var (
	onObject = color.NRGBA{60, 220, 60, 255}
	beside   = color.NRGBA{230, 40, 40, 255}
)

// segment cuts all out of one picture, which SAM encodes once, and returns the
// file of its sheet: what the prompts are made of beside each mask.
func (s *segmenter) segment(ctx context.Context, j job) (string, error) {
	e, err := s.sam.Encode(ctx, j.picture, sam.WithProgress(cli.Progress("picture")))
	if err != nil {
		return "", err
	}
	s.clock.Lap("pictures")
	var tiles []draw.Tile
	for _, p := range j.parts {
		cutouts, err := s.cutOut(ctx, j.picture, e, p)
		if err != nil {
			return "", fmt.Errorf("%s: %w", p.name, err)
		}
		for _, c := range cutouts {
			more, err := s.show(j, p, c)
			if err != nil {
				return "", err
			}
			tiles = append(tiles, more...)
		}
	}
	if j.prompt != nil {
		more, err := s.click(ctx, j, e)
		if err != nil {
			return "", err
		}
		tiles = append(tiles, more...)
	}
	if len(tiles) == 0 {
		tiles = []draw.Tile{{Picture: j.picture, Caption: "nothing found"}}
	}
	sheet, err := draw.Sheet(tiles, draw.Columns(6))
	if err != nil {
		return "", err
	}
	s.clock.Lap("drawing")
	file := filepath.Join(*out, j.name+"-segment.png")
	return file, cli.SavePNG(file, sheet)
}

// cutOut runs CLIP Surgery and SAM's decoder. That nothing is found is no
// error here: each cutout tells why.
func (s *segmenter) cutOut(ctx context.Context, picture image.Image, e *sam.Embedding, p part) ([]clipsurgery.Cutout, error) {
	texts, err := clipsurgery.NewSegmenter(ctx, s.clip, s.sam, p.labels, p.opts...)
	if err != nil {
		return nil, err
	}
	s.clock.Lap("texts")
	cutouts, err := texts.SegmentEncoded(ctx, picture, e)
	s.clock.Lap("masks")
	if len(cutouts) > 0 {
		err = nil
	}
	return cutouts, err
}

// show draws a cutout: its heat map with the clicks, and its mask.
func (s *segmenter) show(j job, p part, c clipsurgery.Cutout) ([]draw.Tile, error) {
	if c.Err != nil {
		fmt.Fprintf(s.table, "%s\t%s\t%s\t%.3f\t-\t-\t-\t-\t%v\n", j.name, p.name, c.Label, c.Presence, c.Err)
		return nil, nil
	}
	heat, err := draw.Overlay(j.picture, c.Heat)
	if err != nil {
		return nil, err
	}
	var clicks []string
	for _, k := range c.Clicks {
		draw.Dots(heat, k.Background, beside)
		clicks = append(clicks, fmt.Sprintf("%d+ %d-", len(k.Foreground), len(k.Background)))
	}
	for _, k := range c.Clicks {
		draw.Dots(heat, k.Foreground, onObject)
	}
	cut, file, err := save(j, c.Mask, cli.FileName(j.name, p.name, c.Label))
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(s.table, "%s\t%s\t%s\t%.3f\t%s\t%d\t%.3f\t%s\t%s\n", j.name, p.name, c.Label, c.Presence,
		strings.Join(clicks, ", "), c.Mask.Area(), c.Mask.IoU, j.iou(c.Mask, strings.Split(c.Label, "+")), file)
	return []draw.Tile{{Picture: heat, Caption: c.Label}, {Picture: cut, Caption: p.name}}, nil
}

// click asks for the mask of -points and -box.
func (s *segmenter) click(ctx context.Context, j job, e *sam.Embedding) ([]draw.Tile, error) {
	results, err := s.sam.Predict(ctx, e, []sam.Prompt{*j.prompt})
	if err != nil {
		return nil, err
	}
	s.clock.Lap("masks")
	shown, err := draw.Canvas(j.picture)
	if err != nil {
		return nil, err
	}
	clicks := fmt.Sprintf("%d", len(j.prompt.Points))
	if b := j.prompt.Box; b != nil {
		draw.Frame(shown, image.Rect(int(b.X0), int(b.Y0), int(b.X1)+1, int(b.Y1)+1), onObject)
		clicks += ", box"
	}
	for _, p := range j.prompt.Points {
		c := beside
		if p.Label == sam.Foreground {
			c = onObject
		}
		draw.Dots(shown, []image.Point{{X: int(p.X), Y: int(p.Y)}}, c)
	}
	mask := results[0].Best()
	cut, file, err := save(j, mask, j.name+"-clicks")
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(s.table, "%s\tclicks\t-\t-\t%s\t%d\t%.3f\t-\t%s\n", j.name, clicks, mask.Area(), mask.IoU, file)
	return []draw.Tile{{Picture: shown, Caption: "clicks"}, {Picture: cut, Caption: fmt.Sprintf("IoU %.2f", mask.IoU)}}, nil
}

// save writes a mask as white on black, and returns what it cuts out.
func save(j job, mask sam.Mask, name string) (cut *image.NRGBA, file string, err error) {
	if cut, err = draw.CutOut(j.picture, mask); err != nil {
		return nil, "", err
	}
	a := mask.Alpha()
	file = filepath.Join(*out, name+"-mask.png")
	return cut, file, cli.SavePNG(file, &image.Gray{Pix: a.Pix, Stride: a.Stride, Rect: a.Rect})
}

// iou compares a mask with all that the labels name, where that is known.
func (j job) iou(mask sam.Mask, labels []string) string {
	if j.scene == nil {
		return "-"
	}
	truth := sam.Mask{Size: mask.Size}
	for _, label := range labels {
		more, err := truth.Union(sam.MaskOf(j.scene.NounMask(label)))
		if err != nil {
			return "-"
		}
		truth = more
	}
	iou, err := sam.IoU(mask, truth)
	if err != nil || truth.Area() == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", iou)
}
