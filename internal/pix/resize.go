package pix

import (
	"context"
	"fmt"
	"image"
	"math"
)

// Filter is a resampling kernel of Pillow.
type Filter struct {
	support float64
	at      func(x float64) float64
}

// Bicubic is Pillow's BICUBIC: the cubic convolution kernel with a = -0.5.
func Bicubic() Filter { return Filter{2, cubic(-0.5)} }

// Triangle is Pillow's BILINEAR.
func Triangle() Filter { return Filter{1, func(x float64) float64 { return max(0, 1-math.Abs(x)) }} }

// cubic is the cubic convolution kernel with parameter a.
func cubic(a float64) func(x float64) float64 {
	return func(x float64) float64 {
		x = math.Abs(x)
		switch {
		case x < 1:
			return float64(float64((a+2)*x-(a+3))*x*x) + 1
		case x < 2:
			return float64(float64(float64(x-5)*x+8)*x-4) * a
		}
		return 0
	}
}

// Target is what a picture is resized to: Size is that of the whole picture, of
// which only Keep is computed.
type Target struct {
	Size   image.Point
	Keep   image.Rectangle
	Filter Filter
}

// Whole is the target that keeps everything.
func Whole(size image.Point, f Filter) Target { return Target{size, image.Rectangle{Max: size}, f} }

// check reports a target without pixels, one that is too large, and a part that
// lies outside.
func (t Target) check() error {
	if err := CheckSize(t.Keep.Dx(), t.Keep.Dy()); err != nil {
		return err
	}
	if !t.Keep.In(image.Rectangle{Max: t.Size}) || t.Size.X > math.MaxInt32 || t.Size.Y > math.MaxInt32 {
		return fmt.Errorf("%w: %v of %d×%d", ErrSize, t.Keep, t.Size.X, t.Size.Y)
	}
	return nil
}

// Resize scales a picture as Pillow does, in the mode that the picture has, and
// converts it to RGB afterwards: the order of CLIP's transforms. Colors with
// alpha are premultiplied while they are resized; palettes and bilevel pictures
// are resized by nearest neighbor. Memory follows what is kept.
func Resize(ctx context.Context, img image.Image, t Target) (*RGB, error) {
	return resize(ctx, nil, img, t, true)
}

// ResizeRGB converts a picture to RGB and scales it as Pillow does afterwards:
// the order of Segment Anything.
func (s *Scratch) ResizeRGB(ctx context.Context, img image.Image, t Target) (*RGB, error) {
	return resize(ctx, s, img, t, false)
}

func resize(ctx context.Context, mem *Scratch, img image.Image, t Target, ownMode bool) (*RGB, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	r, err := rasterOf(ctx, mem, img)
	if err != nil {
		return nil, err
	}
	if r.width == t.Size.X && r.height == t.Size.Y {
		return r.rgb(ctx, t.Keep)
	}
	s := samplesRGB(r)
	if ownMode {
		if r.mode == ModeBilevel || r.mode == ModePalette {
			return r.nearest(ctx, t)
		}
		s = samplesOf(r)
	}
	out, err := s.resize(ctx, t)
	if err != nil {
		return nil, err
	}
	return out.rgb(ctx, image.Rect(0, 0, out.width, out.height))
}

// nearest is Pillow's affine nearest-neighbor scaling, whose positions add up
// in float64.
func (r *raster) nearest(ctx context.Context, t Target) (*RGB, error) {
	w := t.Keep.Dx()
	columns := nearestPositions(r.width, t.Size.X, t.Keep.Min.X, t.Keep.Max.X)
	out := &RGB{w, t.Keep.Dy(), make([]uint8, 3*w*t.Keep.Dy())}
	line := make([]uint8, w) // modes of one byte
	budget := budget{ctx: ctx}
	for y, sy := range nearestPositions(r.height, t.Size.Y, t.Keep.Min.Y, t.Keep.Max.Y) {
		if err := budget.spend(w); err != nil {
			return nil, err
		}
		src := r.row(sy)
		for x, sx := range columns {
			line[x] = src[sx]
		}
		r.toRGB(out.Pix[3*y*w:3*(y+1)*w], line)
	}
	return out, nil
}

// nearestPositions are those of outputs from to to-1 of out.
func nearestPositions(in, out, from, to int) []int {
	step := float64(in) / float64(out)
	at := step * 0.5
	p := make([]int, to-from)
	for i := range to {
		if i >= from {
			p[i-from] = min(int(at), in-1)
		}
		at += step
	}
	return p
}

// samples are a picture as the filter sees it: rows of bytes, of which some are
// converted when they are asked for.
type samples struct {
	*raster
	channels int
	convert  func(dst, src []uint8) // nil: the raster's own bytes
	finish   func(pix []uint8)      // undoes what convert did for the resize
	mode     Mode                   // of what comes out
}

// samplesOf are a picture's in its own mode.
func samplesOf(r *raster) samples {
	s := samples{raster: r, channels: r.mode.Channels(), mode: r.mode}
	switch r.mode {
	case ModeGrayA:
		s.convert = func(dst, src []uint8) { premultiply(dst, src, 2) }
		s.finish = func(pix []uint8) { unpremultiply(pix, 2) }
	case ModeRGBA:
		s.convert = func(dst, src []uint8) { premultiply(dst, src, 4) }
		s.finish = func(pix []uint8) { unpremultiply(pix, 4) }
	case modeRGBX:
		s.convert, s.channels, s.mode = r.toRGB, 3, ModeRGB
	}
	return s
}

// samplesRGB are a picture's converted to RGB; gray pictures keep one channel,
// since all three are resized alike.
func samplesRGB(r *raster) samples {
	s := samples{raster: r, channels: 3, convert: r.toRGB, mode: ModeRGB}
	switch r.mode {
	case ModeRGB:
		s.convert = nil
	case ModeGray, ModeBilevel:
		s.convert, s.channels, s.mode = nil, 1, ModeGray
	}
	return s
}

// premultiply is Pillow's RGBA to RGBa, and LA to La.
func premultiply(dst, src []uint8, n int) {
	for i := 0; i < len(src); i += n {
		a := src[i+n-1]
		for c := i; c < i+n-1; c++ {
			dst[c] = multiply(src[c], a)
		}
		dst[i+n-1] = a
	}
}

// unpremultiply is Pillow's RGBa to RGBA, and La to LA.
func unpremultiply(pix []uint8, n int) {
	for i := 0; i < len(pix); i += n {
		a := uint32(pix[i+n-1])
		if a == 0 || a == 255 {
			continue
		}
		for c := i; c < i+n-1; c++ {
			pix[c] = uint8(min(255*uint32(pix[c])/a, 255))
		}
	}
}

// columns returns samples x0 to x1-1 of row y, in buffer where they are
// converted.
func (s *samples) columns(buffer []uint8, y, x0, x1 int) []uint8 {
	n := s.raster.mode.Channels()
	src := s.pix[y*s.stride+x0*n : y*s.stride+x1*n]
	if s.convert == nil {
		return src
	}
	dst := buffer[:(x1-x0)*s.channels]
	s.convert(dst, src)
	return dst
}

// resize runs Pillow's two passes, each rounded to bytes, for the part that is
// kept. When both are needed, Pillow 13 runs the vertical one first if that
// removes more than twice as many rows as the other removes columns; earlier
// versions always begin with the horizontal one.
// Source: python-pillow/Pillow src/libImaging/Resample.c:ImagingResampleInner.
func (s samples) resize(ctx context.Context, t Target) (*raster, error) {
	across := newScaler(s.width, t.Size.X, t.Keep.Min.X, t.Keep.Max.X, t.Filter)
	down := newScaler(s.height, t.Size.Y, t.Keep.Min.Y, t.Keep.Max.Y, t.Filter)
	horizontal, vertical := across.in != across.out, down.in != down.out
	budget := &budget{ctx: ctx}
	var err error
	if vertical && horizontal && s.height-t.Size.Y > 2*max(0, s.width-t.Size.X) {
		x0, x1 := across.span()
		if s, err = s.passVertical(budget, down, x0, x1); err == nil {
			s, err = s.passHorizontal(budget, across, x0, 0, s.height)
		}
	} else {
		y0, y1 := down.span()
		if horizontal {
			s, err = s.passHorizontal(budget, across, 0, y0, y1)
			down.shift = y0
			across.from, across.to = 0, t.Keep.Dx()
		}
		if vertical && err == nil {
			s, err = s.passVertical(budget, down, across.from, across.to)
		}
	}
	if err != nil {
		return nil, err
	}
	if s.finish != nil {
		s.finish(s.pix)
	}
	out := *s.raster
	out.mode = s.mode
	return &out, nil
}

// after returns an empty picture that holds the samples of a pass.
func (s samples) after(width, height int) samples {
	stride := width * s.channels
	s.raster = &raster{width, height, stride, s.mode, s.mem.newBytes(stride * height), nil, s.mem}
	s.convert = nil
	return s
}

// passHorizontal scales rows y0 to y1-1. The raster's first column is column
// shift of the picture. Outputs are worked on in blocks whose table of weights
// is small.
func (s samples) passHorizontal(budget *budget, a scaler, shift, y0, y1 int) (samples, error) {
	out := s.after(a.to-a.from, y1-y0)
	var mem lineMemory
	for first := a.from; first < a.to; {
		end, table, err := a.block(budget, s.mem, &mem, first)
		if err != nil {
			return out, err
		}
		if table == nil {
			err = s.wideOutput(budget, &mem, a, first, shift, y0, out)
		} else {
			err = s.horizontalBlock(budget, &mem, table, first-a.from, shift, y0, out)
		}
		if err != nil {
			return out, err
		}
		first = end
	}
	return out, nil
}

// lineMemory is what blocks of a horizontal pass use one after the other.
type lineMemory struct {
	pairs         []int64
	bytes         []uint8
	weights, sums []int32
}

// horizontalBlock works on two rows at a time: one in the lower half of 64-bit
// numbers, the other in the upper one, so that a multiplication serves both.
func (s *samples) horizontalBlock(budget *budget, mem *lineMemory, table []taps, at, shift, y0 int, out samples) error {
	n := s.channels
	x0 := table[0].first - shift
	x1 := x0
	for _, t := range table {
		x1 = max(x1, t.first-shift+len(t.weights))
	}
	width := (x1 - x0) * n
	if len(mem.pairs) < width {
		mem.pairs = s.mem.newPairs(width)
	}
	pairs := mem.pairs[:width]
	var buffers [2][]uint8
	if s.convert != nil {
		if len(mem.bytes) < 2*width {
			mem.bytes = s.mem.newBytes(2 * width)
		}
		buffers = [2][]uint8{mem.bytes[:width], mem.bytes[width:]}
	}
	for y := 0; y < out.height; y += 2 {
		if err := budget.spend(width); err != nil {
			return err
		}
		next := min(y+1, out.height-1)
		a := s.columns(buffers[0], y0+y, x0, x1)
		b := s.columns(buffers[1], y0+next, x0, x1)
		for i := range pairs {
			pairs[i] = int64(a[i]) | int64(b[i])<<32
		}
		first, second := out.row(y)[at*n:][:len(table)*n], out.row(next)[at*n:][:len(table)*n]
		const half = 1<<(precision-1) | 1<<(precision-1)<<32
		switch n {
		case 3:
			for x, t := range table {
				p := pairs[3*(t.first-shift-x0):][:3*len(t.weights)]
				s0, s1, s2 := int64(half), int64(half), int64(half)
				for _, w := range t.weights {
					if len(p) < 3 { // never: it spares the checks below
						break
					}
					s0 += p[0] * int64(w)
					s1 += p[1] * int64(w)
					s2 += p[2] * int64(w)
					p = p[3:]
				}
				first[3*x], second[3*x] = clipPair(s0)
				first[3*x+1], second[3*x+1] = clipPair(s1)
				first[3*x+2], second[3*x+2] = clipPair(s2)
			}
		default:
			for x, t := range table {
				p := pairs[(t.first-shift-x0)*n:]
				for c := range n {
					s := int64(half)
					for i, w := range t.weights {
						s += p[i*n+c] * int64(w)
					}
					first[x*n+c], second[x*n+c] = clipPair(s)
				}
			}
		}
	}
	return nil
}

// wideOutput computes one column whose weights are more than a table holds.
func (s *samples) wideOutput(budget *budget, mem *lineMemory, a scaler, x, shift, y0 int, out samples) error {
	n := s.channels
	if len(mem.weights) < maxWeights {
		mem.weights = s.mem.newInts(maxWeights)
	}
	if len(mem.sums) == 0 {
		mem.sums = s.mem.newInts(out.height * n)
	}
	if s.convert != nil && len(mem.bytes) < maxWeights*n {
		mem.bytes = s.mem.newBytes(maxWeights * n)
	}
	sums := mem.sums
	for i := range sums {
		sums[i] = 1 << (precision - 1)
	}
	w, err := a.window(budget, x)
	if err != nil {
		return err
	}
	for from := w.first; from < w.end; from += maxWeights {
		part := w.fill(mem.weights[:maxWeights], from)
		for y := range out.height {
			if err := budget.spend(len(part)); err != nil {
				return err
			}
			src := s.columns(mem.bytes, y0+y, from-shift, from-shift+len(part))
			for i, weight := range part {
				for c := range n {
					sums[y*n+c] += int32(src[i*n+c]) * weight
				}
			}
		}
	}
	for i, v := range sums {
		out.row(i / n)[(x-a.from)*n+i%n] = clip8(v)
	}
	return nil
}

// clipPair takes the sums of two rows apart: the lower half may be negative,
// for which the upper has paid.
func clipPair(s int64) (first, second uint8) {
	low := int32(s)
	return clip8(low), clip8(int32((s - int64(low)) >> 32))
}

// passVertical scales columns x0 to x1-1, in blocks that stay in the cache, four
// rows at a time.
func (s samples) passVertical(budget *budget, d scaler, x0, x1 int) (samples, error) {
	out := s.after(x1-x0, d.to-d.from)
	const maxColumns = 1 << 15
	for ; x0 < x1; x0 += maxColumns {
		if err := s.verticalBlock(budget, d, x0, min(x0+maxColumns, x1), out, out.width-(x1-x0)); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (s *samples) verticalBlock(budget *budget, d scaler, x0, x1 int, out samples, at int) error {
	n := (x1 - x0) * s.channels
	sums := s.mem.newInts(n)
	weights := s.mem.newInts(min(maxWeights, d.most()))
	var buffers [4][]uint8
	if s.convert != nil {
		for i := range buffers {
			buffers[i] = s.mem.newBytes(n)
		}
	}
	row := func(i, y int) []uint8 { return s.columns(buffers[i], y-d.shift, x0, x1)[:len(sums)] }
	for y := d.from; y < d.to; y++ {
		for i := range sums {
			sums[i] = 1 << (precision - 1)
		}
		window, err := d.window(budget, y)
		if err != nil {
			return err
		}
		for from := window.first; from < window.end; from += maxWeights {
			at, w := from, window.fill(weights, from)
			for ; len(w) >= 4; at, w = at+4, w[4:] {
				if err := budget.spend(4 * n); err != nil {
					return err
				}
				a, b, c, d := row(0, at), row(1, at+1), row(2, at+2), row(3, at+3)
				w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
				for x := range sums {
					sums[x] += int32(a[x])*w0 + int32(b[x])*w1 + int32(c[x])*w2 + int32(d[x])*w3
				}
			}
			for i, w := range w {
				for x, v := range row(0, at+i) {
					sums[x] += int32(v) * w
				}
			}
		}
		if err := budget.spend(n); err != nil {
			return err
		}
		dst := out.row(y - d.from)[at*s.channels:]
		for x, v := range sums {
			dst[x] = clip8(v)
		}
	}
	return nil
}
