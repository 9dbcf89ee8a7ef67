package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/nlpodyssey/safetensors"
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
	header, err := readAll(src, 8, int(length))
	if err != nil {
		return err
	}
	if err := checkHeader(header); err != nil {
		return bad("%w", err)
	}
	var meta safetensors.Metadata
	if err := json.Unmarshal(header, &meta); err != nil {
		return bad("%w", err)
	}
	f.metadata = merge(f.metadata, meta.Metadata())

	// The tensors must lie end to end: no overlap, nothing hidden between.
	type entry struct {
		name string
		*safetensors.TensorInfo
	}
	var entries []entry
	for name, info := range meta.Tensors() {
		entries = append(entries, entry{name, info})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return slices.Compare(a.DataOffsets[:], b.DataOffsets[:])
	})
	start := 8 + int64(length)
	var end uint64
	for _, e := range entries {
		t := &tensor{TensorInfo: TensorInfo{Name: e.name, DType: safetensorsDType[e.DType]}, path: path}
		if e.DataOffsets[0] != end || e.DataOffsets[1] < end || e.DataOffsets[1] > uint64(src.size()-start) {
			return t.fail(ErrFormat, "data_offsets %v where %d follows, in %d bytes", e.DataOffsets, end, src.size()-start)
		}
		for _, d := range e.Shape {
			t.Shape = append(t.Shape, int(min(d, math.MaxInt)))
		}
		n, ok := volume(t.Shape)
		if !ok || uint64(n)*uint64(t.DType.Size()) != e.DataOffsets[1]-end {
			return t.fail(ErrFormat, "%v of %v in data_offsets %v", e.DType, e.Shape, e.DataOffsets)
		}
		t.values = &contiguous{src, start + int64(end), n, t.DType, binary.LittleEndian}
		if err := f.add(t); err != nil {
			return err
		}
		end = e.DataOffsets[1]
	}
	if rest := src.size() - start - int64(end); rest != 0 {
		return bad("%d bytes after the last tensor", rest)
	}
	return nil
}

var safetensorsDType = map[safetensors.DType]DType{
	safetensors.F32: F32, safetensors.F64: F64, safetensors.F16: F16, safetensors.BF16: BF16,
	safetensors.I64: I64, safetensors.I32: I32, safetensors.I16: I16, safetensors.I8: I8,
	safetensors.U64: U64, safetensors.U32: U32, safetensors.U16: U16, safetensors.U8: U8, safetensors.BOOL: Bool,
}

// checkHeader refuses what the parser would accept or take much memory for:
// bytes that are not UTF-8, repeated keys, anything before the object, more of
// anything than the limits allow.
func checkHeader(header []byte) error {
	if !utf8.Valid(header) {
		return fmt.Errorf("not UTF-8")
	}
	if len(header) == 0 || header[0] != '{' {
		return fmt.Errorf("does not begin with '{'")
	}
	entries, numbers := 0, 0
	d := json.NewDecoder(bytes.NewReader(header))
	d.UseNumber()
	return eachKey(d, func(d *json.Decoder, name string) error {
		if entries++; len(name) > maxName {
			return fmt.Errorf("name of %d bytes", len(name))
		}
		err := eachKey(d, func(d *json.Decoder, key string) error {
			if name == metadataKey {
				entries++
			}
			if entries > maxTensors {
				return fmt.Errorf("more than %d entries", maxTensors)
			}
			value, err := d.Token()
			if err != nil {
				return err
			}
			text, isText := value.(string)
			switch {
			case isText && (name == metadataKey || key == "dtype" && len(text) <= maxName):
				return nil
			case value == json.Delim('[') && (key == "shape" || key == "data_offsets"):
				return skipNumbers(d, &numbers)
			}
			return fmt.Errorf("unexpected %.80q, or its value", key)
		})
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		return nil
	})
}

// skipNumbers reads the rest of a list, of which there may be as many numbers
// as dimensions, and counts them.
func skipNumbers(d *json.Decoder, count *int) error {
	for n := 0; d.More(); n++ {
		number, err := d.Token()
		if err != nil {
			return err
		}
		digits, ok := number.(json.Number)
		if !ok || len(digits) > 20 || n == maxDimensions { // 20 digits make 64 bits
			return fmt.Errorf("not a list of at most %d numbers", maxDimensions)
		}
		if *count++; *count > maxNumbers {
			return fmt.Errorf("more than %d numbers", maxNumbers)
		}
	}
	_, err := d.Token()
	return err
}

// eachKey reads a JSON object, whose values f must read, and refuses repeated
// keys.
func eachKey(d *json.Decoder, f func(d *json.Decoder, key string) error) error {
	open, err := d.Token()
	if err != nil {
		return noEOF(err)
	}
	if open != json.Delim('{') {
		return fmt.Errorf("no object where one should begin")
	}
	seen := map[string]bool{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return noEOF(err)
		}
		key, ok := token.(string)
		if !ok || seen[key] {
			return fmt.Errorf("key %.80q repeated", key)
		}
		seen[key] = true
		if err := f(d, key); err != nil {
			return noEOF(err)
		}
	}
	_, err = d.Token()
	return noEOF(err)
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
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
