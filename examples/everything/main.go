// Everything cuts a picture into all the objects that Segment Anything finds,
// and writes them coloured over the picture and as COCO JSON.
//
//	go run ./examples/everything
//	go run ./examples/everything -sam FILE -image PICTURE [-side 32] [-crops 1] [-min-area 100]
//
// Without flags it runs the embedded demo model on embedded scenes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/clipsurgery/clipsurgery"
	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
)

var (
	samPath   = flag.String("sam", "", "SAM checkpoint: file, directory or published name; default: the embedded demo model")
	imagePath = flag.String("image", "", "picture; default: embedded scenes")
	side      = flag.Int("side", 0, "points per side of the grid that is asked; default: 32, of the demo model's small pictures 16")
	batch     = flag.Int("batch", 64, "points that are asked together")
	minIoU    = flag.Float64("iou", 0, "least predicted IoU, negative to keep all; default: 0.88, of the demo model 0.8")
	stability = flag.Float64("stability", 0, "least stability, negative to keep all; default: 0.95, of the demo model 0.8")
	nms       = flag.Float64("nms", 0.7, "IoU of bounding boxes above which the worse mask is dropped")
	crops     = flag.Int("crops", 0, "layers of crops that are asked too, each with a grid of its own")
	minArea   = flag.Int("min-area", 0, "pixels under which holes and islands are removed")
	size      = flag.Int("size", 0, "longest side of SAM's input, in pixels; default: the model's own")
	out       = flag.String("out", "out", "folder for the pictures")
)

func main() { cli.Main(run) }

// job is a picture to cut into pieces.
type job struct {
	name, file string
	picture    image.Image
	truth      []sam.Mask // where it is known
}

func run(ctx context.Context) error {
	clock := cli.NewClock()
	jobs, err := work()
	if err != nil {
		return err
	}
	model, err := cli.SAM(*samPath, sam.InputSize(*size))
	if err != nil {
		return err
	}
	clock.Lap("load")
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "picture\tmasks\tof the picture\tobjects found\toverlay\tCOCO")
	var tiles []draw.Tile
	for _, j := range jobs {
		masks, err := model.Everything(ctx, j.picture, append(options(), sam.WithProgress(cli.Progress(j.name)))...)
		if err != nil {
			return fmt.Errorf("%s: %w", j.name, err)
		}
		clock.Lap("masks")
		overlay, err := j.save(masks)
		if err != nil {
			return err
		}
		clock.Lap("drawing")
		tiles = append(tiles, draw.Tile{Picture: j.picture, Caption: j.name}, draw.Tile{Picture: overlay, Caption: fmt.Sprintf("%d masks", len(masks))})
		covered, err := coverage(j.picture, masks)
		if err != nil {
			return err
		}
		found, err := j.found(masks)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%d\t%.0f%%\t%s\t%s\t%s\n", j.name, len(masks), 100*covered, found, j.path("png"), j.path("json"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	sheet, err := draw.Sheet(tiles, draw.Columns(4))
	if err != nil {
		return err
	}
	file := filepath.Join(*out, "everything.png")
	if err := cli.SavePNG(file, sheet); err != nil {
		return err
	}
	fmt.Printf("\nall pictures: %s\n%s; kernel %s\n", file, clock, simd.Best())
	return nil
}

// options are what the flags say. What they leave open is the reference's
// choice, or what suits pictures of 128 pixels.
func options() []sam.EverythingOption {
	opts := []sam.EverythingOption{
		sam.PointsPerBatch(*batch), sam.CropLayers(*crops), sam.MinRegionArea(*minArea), sam.BoxNMS(*nms),
	}
	if *samPath == "" {
		opts = append(opts, sam.PointsPerSide(16), sam.MinIoU(0.8), sam.MinStability(0.8))
	}
	if *side != 0 {
		opts = append(opts, sam.PointsPerSide(*side))
	}
	if *minIoU != 0 {
		opts = append(opts, sam.MinIoU(*minIoU))
	}
	if *stability != 0 {
		opts = append(opts, sam.MinStability(*stability))
	}
	return opts
}

func work() ([]job, error) {
	if *imagePath != "" {
		img, err := clipsurgery.OpenPicture(*imagePath)
		file := filepath.Base(*imagePath)
		return []job{{strings.TrimSuffix(file, filepath.Ext(file)), file, img, nil}}, err
	}
	scenes, err := shapes.Scenes()
	if err != nil {
		return nil, err
	}
	var jobs []job
	for i := range scenes[:6] {
		s := &scenes[i]
		j := job{name: fmt.Sprintf("scene-%d", s.Seed), file: fmt.Sprintf("scene_%02d.png", i), picture: s.Picture}
		for k := range s.Things {
			j.truth = append(j.truth, sam.MaskOf(s.Mask(k)))
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

func (j job) path(kind string) string { return filepath.Join(*out, j.name+"-everything."+kind) }

// save writes the coloured overlay and COCO JSON.
func (j job) save(masks []sam.Mask) (*image.NRGBA, error) {
	overlay, err := draw.Canvas(j.picture)
	if err != nil {
		return nil, err
	}
	draw.Masks(overlay, masks, draw.BrightPalette(len(masks)))
	if err := cli.SavePNG(j.path("png"), overlay); err != nil {
		return nil, err
	}
	f, err := os.Create(j.path("json"))
	if err != nil {
		return nil, err
	}
	return overlay, errors.Join(sam.WriteCOCO(f, j.file, masks, sam.PictureSize(j.picture.Bounds().Size())), f.Close())
}

// coverage is the share of the picture that lies in a mask.
func coverage(picture image.Image, masks []sam.Mask) (float64, error) {
	all := sam.Mask{Size: picture.Bounds().Size()}
	for _, m := range masks {
		var err error
		if all, err = all.Union(m); err != nil {
			return 0, err
		}
	}
	return float64(all.Area()) / float64(all.Size.X*all.Size.Y), nil
}

// found counts the known objects that a mask shows with an IoU of a half or
// more.
func (j job) found(masks []sam.Mask) (string, error) {
	if j.truth == nil {
		return "-", nil
	}
	n := 0
	for _, truth := range j.truth {
		for _, m := range masks {
			iou, err := sam.IoU(truth, m)
			if err != nil {
				return "", err
			}
			if iou >= 0.5 {
				n++
				break
			}
		}
	}
	return fmt.Sprintf("%d of %d", n, len(j.truth)), nil
}
