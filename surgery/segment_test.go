package surgery

import (
	"context"
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/simd"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights/shapes"
	"github.com/stretchr/testify/require"
)

// gridOf is hand-made scores: class row, then cells × texts.
func gridOf(grid image.Point, texts int, size image.Point, region image.Rectangle, name string) *Scores {
	n := 1 + grid.X*grid.Y
	return &Scores{general(golden.Procedural(name, []int{n, texts}, 0, 1), n, texts), grid, size, region, nil}
}

// bilinearAt is the score at a pixel, straight from the definition.
func bilinearAt(s *Scores, text, x, y int) float64 {
	tap := func(at, n, size int) (int, int, float64) {
		p := max((float64(at)+0.5)*float64(n)/float64(size)-0.5, 0)
		i := min(int(p), n-1)
		return i, min(i+1, n-1), p - float64(i)
	}
	x0, x1, fx := tap(x-s.Region.Min.X, s.Grid.X, s.Region.Dx())
	y0, y1, fy := tap(y-s.Region.Min.Y, s.Grid.Y, s.Region.Dy())
	at := func(x, y int) float64 { return float64(s.Data[(1+y*s.Grid.X+x)*s.Stride+text]) }
	return (at(x0, y0)*(1-fx)+at(x1, y0)*fx)*(1-fy) + (at(x0, y1)*(1-fx)+at(x1, y1)*fx)*fy
}

// vocabularyOf is two classes of two texts, and one of none between them.
func vocabularyOf() *Vocabulary {
	return &Vocabulary{[]string{"a", "nothing", "b"}, general(make([]float32, 4*2), 4, 2), []int{0, 0, 2, 2}}
}

func TestLabel(t *testing.T) {
	ctx := context.Background()
	size := image.Pt(23, 17)
	scores := []*Scores{
		gridOf(image.Pt(5, 3), 4, size, image.Rect(0, 0, 15, 10), "a"),
		gridOf(image.Pt(4, 4), 4, size, image.Rect(8, 0, 23, 12), "b"),
		gridOf(image.Pt(3, 5), 4, size, image.Rect(5, 6, 20, 17), "c"),
	}
	v := vocabularyOf()
	for _, threshold := range []float64{0, 0.5} {
		const scale = 3
		got, err := Label(ctx, nil, scores, v, LogitScale(scale), Background(1, threshold))
		require.NoError(t, err)
		seen := map[uint16]int{}
		for y := range size.Y {
			for x := range size.X {
				count, mean := 0.0, make([]float64, 4)
				for _, s := range scores {
					if image.Pt(x, y).In(s.Region) {
						count++
						for c := range mean {
							mean[c] += bilinearAt(s, c, x, y)
						}
					}
				}
				want, best, sum := uint16(Ignore), math.Inf(-1), 0.0
				for c := range mean {
					p := math.Exp(scale * mean[c] / count)
					sum += p
					if p > best {
						best, want = p, uint16(v.Of[c])
					}
				}
				if count == 0 {
					want = Ignore
				} else if best/sum < float64(threshold) {
					want = 1
				}
				seen[want]++
				require.Equal(t, want, got.At(x, y), "(%d, %d), threshold %v", x, y, threshold)
			}
		}
		if threshold > 0 {
			require.Len(t, seen, 4, "all kinds of labels occur: %v", seen)
		}
	}
	only, err := Label(ctx, nil, scores, v, Among([]bool{false, true, true}))
	require.NoError(t, err)
	require.Equal(t, []bool{false, false, true}, only.Present(3))
	none, err := Label(ctx, nil, scores, v, Among(make([]bool, 3)))
	require.NoError(t, err)
	require.Equal(t, uint16(Ignore), none.At(3, 3))
}

func TestLabelErrors(t *testing.T) {
	ctx := context.Background()
	size := image.Pt(8, 8)
	all := image.Rectangle{Max: size}
	s, v := gridOf(image.Pt(2, 2), 4, size, all, "a"), vocabularyOf()
	_, err := Label(ctx, nil, nil, v)
	require.ErrorIs(t, err, ErrGrid)
	_, err = Label(ctx, nil, []*Scores{s, gridOf(image.Pt(2, 2), 4, image.Pt(9, 8), all, "b")}, v)
	require.ErrorIs(t, err, ErrGrid)
	_, err = Label(ctx, nil, []*Scores{gridOf(image.Pt(2, 2), 3, size, all, "b")}, v)
	require.ErrorIs(t, err, ErrLabel)
	_, err = Label(ctx, nil, []*Scores{s}, &Vocabulary{Classes: []string{"a"}})
	require.ErrorIs(t, err, ErrLabel)
	_, err = Label(ctx, nil, []*Scores{s}, v, Background(3, 0.5))
	require.ErrorIs(t, err, ErrLabel)
	_, err = Label(ctx, nil, []*Scores{s}, v, Among(make([]bool, 2)))
	require.ErrorIs(t, err, ErrLabel)
	_, err = Label(ctx, image.NewGray(image.Rect(0, 0, 3, 3)), []*Scores{s}, v, Refine(DefaultPAMR()))
	require.ErrorIs(t, err, ErrGrid)
	for _, p := range []PAMR{{1, nil}, {-1, []int{1}}, {1, []int{0}}, {1 << 30, []int{1}}} {
		_, err = Label(ctx, image.NewGray(all), []*Scores{s}, v, Refine(p))
		require.Error(t, err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = Label(canceled, nil, []*Scores{s}, v)
	require.ErrorIs(t, err, context.Canceled)
}

// pamrPlainly is the filter from its formula.
func pamrPlainly(img *image.NRGBA, plane []float64, p PAMR) []float64 {
	size := img.Rect.Size()
	at := func(x, y int) int { return min(max(y, 0), size.Y-1)*size.X + min(max(x, 0), size.X-1) }
	for range p.Iterations {
		next := make([]float64, len(plane))
		for y := range size.Y {
			for x := range size.X {
				var neighbors []int
				samples := []int{}
				for _, d := range p.Distances {
					for dy := -d; dy <= d; dy += d {
						for dx := -d; dx <= d; dx += d {
							if samples = append(samples, at(x+dx, y+dy)); dx != 0 || dy != 0 {
								neighbors = append(neighbors, at(x+dx, y+dy))
							}
						}
					}
				}
				score := make([]float64, len(neighbors))
				for c := range 3 {
					color := func(i int) float64 { return float64(img.Pix[4*i+c]) }
					mean, squares := 0.0, 0.0
					for _, i := range samples {
						mean += color(i) / float64(len(samples))
					}
					for _, i := range samples {
						squares += math.Pow(color(i)-mean, 2) / float64(len(samples)-1)
					}
					for n, i := range neighbors {
						score[n] -= math.Abs(color(at(x, y))-color(i)) / (1e-8 + 0.1*math.Sqrt(squares)) / 3
					}
				}
				sum := 0.0
				for n, i := range neighbors {
					sum += math.Exp(score[n])
					next[at(x, y)] += math.Exp(score[n]) * plane[i]
				}
				next[at(x, y)] /= sum
			}
		}
		plane = next
	}
	return plane
}

func TestPAMR(t *testing.T) {
	for _, size := range []image.Point{{19, 13}, {3, 30}, {1, 1}} {
		img := &image.NRGBA{Pix: make([]uint8, 4*size.X*size.Y), Stride: 4 * size.X, Rect: image.Rectangle{Max: size}}
		for i, v := range golden.U8Image("pamr", size.Y, size.X, 4, 0.7, 0.3) {
			img.Pix[i/3*4+i%3] = v
		}
		p := PAMR{3, []int{1, 4}}
		plane := golden.Procedural("pamr/plane", []int{size.X * size.Y}, 0, 1)
		want := make([]float64, len(plane))
		for i, v := range plane {
			want[i] = float64(v)
		}
		want = pamrPlainly(img, want, p)
		planes := [][]float32{plane}
		require.NoError(t, p.refine(context.Background(), nil, img, planes))
		for i := range want {
			require.InDelta(t, want[i], planes[0][i], 1e-5, "%v, pixel %d", size, i)
		}
	}
}

// On a picture of two colors, labels move to the edge between them.
func TestRefineFindsEdges(t *testing.T) {
	img := image.NewNRGBA(image.Rect(0, 0, 32, 16))
	for y := range 16 {
		for x := range 32 {
			img.SetNRGBA(x, y, color.NRGBA{uint8(60 + 120*(x/19)), 90, 90, 255})
		}
	}
	// Two cells: the border of the labels is at column 16, that of the colors
	// at 19.
	s := &Scores{general([]float32{0, 0, 1, 0, 0, 1}, 3, 2), image.Pt(2, 1), image.Pt(32, 16), img.Rect, nil}
	v := &Vocabulary{[]string{"left", "right"}, general(make([]float32, 2), 2, 1), []int{0, 1}}
	border := func(opts ...SegmentOption) int {
		m, err := Label(context.Background(), img, []*Scores{s}, v, opts...)
		require.NoError(t, err)
		for x := range 32 {
			if m.At(x, 8) == 1 {
				return x
			}
		}
		return 32
	}
	require.Equal(t, 16, border())
	require.Equal(t, 19, border(Refine(PAMR{60, []int{1, 2}})))
}

func TestSegmentScene(t *testing.T) {
	ctx := context.Background()
	f, err := shapes.CLIP()
	require.NoError(t, err)
	clip, err := vit.Load(f)
	require.NoError(t, err)
	scenes, err := shapes.Scenes()
	require.NoError(t, err)
	scene := scenes[3] // a blue heart on water
	v, err := EncodeClasses(ctx, clip, []Class{{"shape", []string{"heart", "circle"}}, {"ground", []string{"water", "grass"}}}, Templates()[:1])
	require.NoError(t, err)
	truth := scene.Mask(0)
	for name, c := range map[string]struct {
		least float64 // of the IoU with the heart; larger inputs are worse here
		opts  []SegmentOption
	}{
		"whole":   {0.4, nil},
		"large":   {0.1, []SegmentOption{ImageOptions(vit.Resize(192))}},
		"windows": {0.25, []SegmentOption{SlidingWindow(vit.Windows{ShortSide: 144, Side: 96, Stride: 48})}},
		"refined": {0.4, []SegmentOption{Refine(PAMR{5, []int{1, 2}}), Operate(CLIPSurgery())}},
	} {
		m, err := Segment(ctx, clip, scene.Picture, v, c.opts...)
		require.NoError(t, err, name)
		inter, union := 0, 0
		for i, c := range m.Labels {
			a, b := c == 0, truth.Pix[i] > 0
			if a && b {
				inter++
			}
			if a || b {
				union++
			}
		}
		require.Greater(t, float64(inter)/float64(union), c.least, name)
		pal, err := m.Paletted(nil)
		require.NoError(t, err)
		require.Equal(t, uint8(m.At(5, 7)), pal.ColorIndexAt(5, 7))
	}
}

func TestParseClasses(t *testing.T) {
	require.Equal(t, []Class{
		{"-", []string{"-"}}, {"person", []string{"person", "person in shirt"}}, {Name: "what is left"}, {"tv", []string{"tv"}},
	}[1:], ParseClasses(" person , person in shirt,\n\n-what is left\n-\ntv"))
}

// The first colors of VOC's table.
func TestPalette(t *testing.T) {
	want := []color.NRGBA{{0, 0, 0, 255}, {128, 0, 0, 255}, {0, 128, 0, 255}, {128, 128, 0, 255}, {0, 0, 128, 255}, {128, 0, 128, 255},
		{0, 128, 128, 255}, {128, 128, 128, 255}, {64, 0, 0, 255}, {192, 0, 0, 255}}
	for i, c := range want {
		require.Equal(t, c, Palette(256)[i], "%d", i)
	}
	require.Equal(t, color.NRGBA{224, 224, 192, 255}, Palette(300)[255])
	_, err := (&LabelMap{1, 1, []uint16{3}}).Paletted(Palette(3))
	require.ErrorIs(t, err, ErrLabel)
}

func BenchmarkLabel(b *testing.B) {
	size := image.Pt(640, 480)
	s := gridOf(image.Pt(40, 30), 64, size, image.Rectangle{Max: size}, "bench")
	v := &Vocabulary{make([]string, 64), general(make([]float32, 64), 64, 1), make([]int, 64)}
	for i := range v.Of {
		v.Of[i] = i
	}
	b.Run(simd.Best().Name(), func(b *testing.B) {
		for b.Loop() {
			if _, err := Label(context.Background(), nil, []*Scores{s}, v, Background(0, 0.1)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestNotFiniteOptions: a threshold that compares with nothing is no choice.
func TestNotFiniteOptions(t *testing.T) {
	scores := &Scores{General: general([]float32{0, 0, 1, 0}, 2, 2), Grid: image.Pt(1, 1), Size: image.Pt(2, 2)}
	v := &Vocabulary{Classes: []string{"a", "b"}, Text: general([]float32{1, 0, 0, 1}, 2, 2), Of: []int{0, 1}}
	_, err := Label(t.Context(), nil, []*Scores{scores}, v, Background(0, 0.5))
	require.NoError(t, err)
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300} {
		for _, o := range []SegmentOption{Background(0, x), LogitScale(x)} {
			_, err := Label(t.Context(), nil, []*Scores{scores}, v, o)
			require.ErrorIs(t, err, ErrThreshold)
		}
	}
}
