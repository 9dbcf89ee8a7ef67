package weights

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/clipsurgery/clipsurgery/internal/option"
)

// WriteOption is an option of [Write] and [Save].
type WriteOption interface{ write(*writeOptions) error }

type writeOptions struct{ progress func(done, total int) }

type progressOption func(done, total int)

func (p progressOption) write(o *writeOptions) error { o.progress = p; return nil }

// WithProgress calls f now and then with the number of bytes written so far,
// and at the end with the total. A nil f means no progress.
func WithProgress(f func(done, total int)) WriteOption { return progressOption(f) }

// Save is [Write] to a file. The file appears when it is complete; until then,
// and after an error, an existing file is unchanged.
func Save(ctx context.Context, path string, f *File, dtype DType, opts ...WriteOption) (err error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	temp, err := os.CreateTemp(dir, "."+name+"-*")
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, temp.Close(), os.Remove(temp.Name()))
		}
	}()
	if err := Write(ctx, temp, f, dtype, opts...); err != nil {
		return err
	}
	if err := errors.Join(temp.Chmod(0o644), temp.Sync(), temp.Close(), os.Rename(temp.Name(), path)); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// Write writes all tensors of a checkpoint as one safetensors file, under their
// names. Only one tensor is held at a time. Floating-point elements are
// converted to dtype, which is [F32], [F16] or [BF16], rounding to nearest
// even; integers keep their type. Metadata is kept.
//
// Errors are [ErrDType] for another dtype, and for integers of 2²⁴ or more;
// [ErrNotFinite] for a value beyond dtype; and those of reading and writing.
func Write(ctx context.Context, w io.Writer, f *File, dtype DType, opts ...WriteOption) error {
	var o writeOptions
	if err := option.Apply(&o, opts, WriteOption.write); err != nil {
		return err
	}
	if o.progress == nil {
		o.progress = func(int, int) {}
	}
	if dtype != F32 && dtype != F16 && dtype != BF16 {
		return fmt.Errorf("weights: %w: write as %v, want F32, F16 or BF16", ErrDType, dtype)
	}
	tensors, header, total, err := f.header(dtype)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(w, 1<<20)
	done, reported := len(header), 0
	if _, err := out.Write(header); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	var buf []float32
	var encoded []byte
	for _, t := range tensors {
		n, _ := volume(t.Shape)
		if cap(buf) < n {
			buf = nil // let the collector have it before its successor is made
			buf = make([]float32, n)
		}
		buf = buf[:n]
		if err := f.Read(t.Name, buf); err != nil {
			return err
		}
		f.Release(t.Name)
		for at := 0; at < n; at += chunk {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := buf[at:min(at+chunk, n)]
			var bad int
			if encoded, bad = t.DType.encode(encoded[:0], part); bad >= 0 {
				kind := ErrNotFinite
				if !t.DType.Float() {
					kind = ErrDType
				}
				return f.tensors[t.Name].fail(kind, "element %d, %v, does not fit %v", at+bad, part[bad], t.DType)
			}
			if _, err := out.Write(encoded); err != nil {
				return fmt.Errorf("weights: %w", err)
			}
			if done += len(encoded); done-reported >= 1<<22 {
				reported = done
				o.progress(done, total)
			}
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	o.progress(total, total)
	return nil
}

// header makes the header of a safetensors file, the list of its tensors in
// the order of their data, and the size of the whole. Wide elements come first,
// so that all are aligned.
func (f *File) header(dtype DType) (tensors []TensorInfo, header []byte, total int, err error) {
	for _, name := range f.Names() {
		info, _ := f.Info(name)
		if err := f.tensors[name].lost(); err != nil {
			return nil, nil, 0, err
		}
		if info.DType.Float() {
			info.DType = dtype
		}
		tensors = append(tensors, info)
	}
	slices.SortStableFunc(tensors, func(a, b TensorInfo) int { return cmp.Compare(b.DType.Size(), a.DType.Size()) })
	type entry struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	// Hugging Face's loaders want to be told whose tensors these are.
	metadata := map[string]string{"format": "pt"}
	maps.Copy(metadata, f.metadata)
	entries := map[string]any{metadataKey: metadata}
	for _, t := range tensors {
		n, _ := volume(t.Shape)
		entries[t.Name] = entry{t.DType.String(), append([]int{}, t.Shape...), [2]int{total, total + n*t.DType.Size()}}
		total += n * t.DType.Size()
	}
	text, err := json.Marshal(entries)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("weights: %w", err)
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	header = append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	return tensors, header, total + len(header), nil
}

// encode appends elements to dst, little-endian. bad is the first that the type
// cannot hold, or -1.
func (t DType) encode(dst []byte, src []float32) (_ []byte, bad int) {
	le := binary.LittleEndian
	for i, v := range src {
		switch t {
		case F32:
			dst = le.AppendUint32(dst, math.Float32bits(v))
		case F16:
			h := floatToHalf(v)
			if h&0x7c00 == 0x7c00 {
				return dst, i
			}
			dst = le.AppendUint16(dst, h)
		case BF16:
			b := math.Float32bits(v)
			b += 0x7fff + b>>16&1 // half a step, less one where the kept part is even
			if b&0x7f800000 == 0x7f800000 {
				return dst, i
			}
			dst = le.AppendUint16(dst, uint16(b>>16))
		default:
			// From here on float32 skips integers.
			if v >= 1<<24 || v <= -1<<24 {
				return dst, i
			}
			dst = append(dst, le.AppendUint64(nil, uint64(int64(v)))[:t.Size()]...)
		}
	}
	return dst, -1
}

// floatToHalf rounds to the nearest half, of two the even one.
func floatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b >= 0x47800000: // 2^16 and more, NaN
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: adding 1/2 leaves the bits of a subnormal
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	default:
		b += 0xfff + b>>13&1
		return sign | uint16((b-112<<23)>>13)
	}
}
