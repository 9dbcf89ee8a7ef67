// Everything cuts a picture into all the objects that Segment Anything finds,
// and writes them colored over the picture and as COCO JSON.
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
	"os"

	"github.com/clipsurgery/clipsurgery/internal/cli"
	"github.com/clipsurgery/clipsurgery/sam"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/surgery/draw"
)

var (
	checkpoint = cli.SAMFlag()
	images     = cli.ImageFlag()
	side       = flag.Int("side", 0, "points per side of the grid that is asked; default: 32, of the demo model's small pictures 16")
	batch      = flag.Int("batch", 64, "points that are asked together")
	minIoU     = flag.Float64("iou", 0, "least predicted IoU, negative to keep all; default: 0.88, of the demo model 0.8")
	stability  = flag.Float64("stability", 0, "least stability, negative to keep all; default: 0.95, of the demo model 0.8")
	nms        = flag.Float64("nms", 0.7, "IoU of bounding boxes above which the worse mask is dropped")
	crops      = flag.Int("crops", 0, "layers of crops that are asked too, each with a grid of its own")
	minArea    = flag.Int("min-area", 0, "pixels under which holes and islands are removed")
	size       = cli.SizeFlag("longest side of SAM's input", "the model's own")
	out        = cli.OutFlag()
)

func main() { cli.Main(run) }

func run(ctx context.Context) error {
	clock := cli.NewClock()
	pictures, err := images.Open(0, 1, 2, 3, 4, 5)
	if err != nil {
		return err
	}
	model, err := checkpoint.Open(ctx, sam.InputSize(*size))
	if err != nil {
		return err
	}
	clock.Lap("load")
	table := cli.NewTable("picture", "masks", "of the picture", "objects found", "overlay", "COCO")
	var tiles []draw.Tile
	for _, p := range pictures {
		masks, err := model.Everything(ctx, p, append(options(), sam.WithProgress(cli.Progress(p.Name)))...)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		clock.Lap("masks")
		overlay, err := draw.Canvas(p)
		if err != nil {
			return err
		}
		draw.Masks(overlay, masks, draw.BrightPalette(len(masks)))
		shown, err := out.PNG(overlay, p.Name, "everything")
		if err != nil {
			return err
		}
		coco, err := writeCOCO(p, masks)
		if err != nil {
			return err
		}
		covered, found, err := measure(p, masks)
		if err != nil {
			return err
		}
		clock.Lap("drawing")
		tiles = append(tiles, draw.Tile{Picture: p, Caption: p.Name}, draw.Tile{Picture: overlay, Caption: fmt.Sprintf("%d masks", len(masks))})
		table.Row(p.Name, len(masks), fmt.Sprintf("%.0f%%", 100*covered), found, shown, coco)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	file, err := out.Sheet(tiles, 4, "everything")
	if err != nil {
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
	if checkpoint.Demo() {
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

func writeCOCO(p cli.Picture, masks []sam.Mask) (file string, err error) {
	if file, err = out.Path(".json", p.Name, "everything"); err != nil {
		return "", err
	}
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	return file, errors.Join(sam.WriteCOCO(f, p.File, masks, sam.PictureSize(p.Bounds().Size())), f.Close())
}
