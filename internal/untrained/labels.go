package untrained

import "strings"

// Labels are the 59 things and stuffs of PASCAL Context, the labels of CLIP
// Surgery's demo.
func Labels() []string { return strings.Split(labels, ", ") }

const labels = "airplane, bag, bed, bedclothes, bench, bicycle, bird, boat, book, bottle, building, bus, cabinet, car, " +
	"cat, ceiling, chair, cloth, computer, cow, cup, curtain, dog, door, fence, floor, flower, food, grass, ground, horse, " +
	"keyboard, light, motorbike, mountain, mouse, person, plate, platform, potted plant, road, rock, sheep, shelves, " +
	"sidewalk, sign, sky, snow, sofa, table, track, train, tree, truck, tv monitor, wall, water, window, wood"
