package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Limits on a safetensors header, far above any published one.
const (
	maxHeader     = 100_000_000 // bytes, as the reference implementation has it
	maxTensors    = 1 << 16     // tensors, and entries of metadata
	maxDimensions = 64          // as PyTorch has it
	maxNumbers    = 1 << 20     // in all lists together
	maxName       = 1 << 10     // bytes
)

// metadataKey is what the header has among the tensors and is none.
const metadataKey = "__metadata__"

// isSafetensors tells by the first bytes of a file: a length of eight bytes
// that the limit allows, then a JSON object.
func isSafetensors(head []byte) bool {
	return len(head) > 8 && binary.LittleEndian.Uint64(head) <= maxHeader && head[8] == '{'
}

// addSafetensors adds the tensors and metadata of a safetensors file.
func (f *File) addSafetensors(path string, src source) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("weights: %s: %w: safetensors header: %w", path, ErrFormat, fmt.Errorf(format, args...))
	}
	if src.size() < 8 {
		return bad("file of %d bytes", src.size())
	}
	head, err := readAll(src, 0, 8)
	if err != nil {
		return err
	}
	length := binary.LittleEndian.Uint64(head)
	if length > maxHeader || int64(length) > src.size()-8 {
		return bad("length %d in a file of %d bytes", length, src.size())
	}
	data, err := view(src, 8, int(length))
	if err != nil {
		return err
	}
	h, err := parseHeader(data)
	if err != nil {
		return bad("%w", err)
	}
	f.metadata = merge(f.metadata, h.metadata)

	// The tensors must lie end to end: no overlap, nothing hidden between.
	slices.SortStableFunc(h.tensors, func(a, b headerTensor) int {
		return slices.Compare(a.offsets[:], b.offsets[:])
	})
	start := 8 + int64(length)
	var end uint64
	for _, e := range h.tensors {
		bits := safetensorsBits(e.dtype)
		t := &tensor{TensorInfo: TensorInfo{Name: e.name, DType: dtypeNamed(e.dtype)}, path: path}
		if e.offsets[0] != end || e.offsets[1] < end || e.offsets[1] > uint64(src.size()-start) {
			return t.fail(ErrFormat, "data_offsets %v where %d follows, in %d bytes", e.offsets, end, src.size()-start)
		}
		for _, d := range e.shape {
			t.Shape = append(t.Shape, int(min(d, math.MaxInt)))
		}
		n, ok := volume(t.Shape)
		switch {
		case bits == 0:
			return t.fail(ErrFormat, "dtype %.40q", e.dtype)
		case !ok || uint64(n) > math.MaxUint64/bits || (uint64(n)*bits+7)/8 != e.offsets[1]-end:
			return t.fail(ErrFormat, "%s of %v in data_offsets %v", e.dtype, e.shape, e.offsets)
		case t.DType == Other:
			t.values = unreadable{fmt.Errorf("%w: elements are %.40q, which are not converted", ErrDType, e.dtype)}
		default:
			t.values = &contiguous{src, start + int64(end), n, t.DType, binary.LittleEndian}
		}
		if err := f.add(t); err != nil {
			return err
		}
		end = e.offsets[1]
	}
	if rest := src.size() - start - int64(end); rest != 0 {
		return bad("%d bytes after the last tensor", rest)
	}
	return nil
}

// safetensorsBits is the size of an element in bits, 0 of a name that the format
// does not have.
// Source: huggingface/safetensors safetensors/src/tensor.rs:Dtype.
func safetensorsBits(dtype string) uint64 {
	if t := dtypeNamed(dtype); t != Other {
		return 8 * uint64(t.Size())
	}
	return map[string]uint64{
		"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
		"F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E5M2FNUZ": 8, "F8_E4M3FNUZ": 8,
		"C64": 64, "C128": 128,
	}[dtype]
}

// merge adds the metadata of another shard; the first to tell something is
// believed.
func merge(dst, src map[string]string) map[string]string {
	if dst == nil {
		return src
	}
	for key, value := range src {
		if _, ok := dst[key]; !ok {
			dst[key] = value
		}
	}
	return dst
}
