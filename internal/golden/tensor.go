package golden

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
)

// Tensor is a stored or computed array, row-major; one of the slices is set.
type Tensor struct {
	Shape []int
	F32   []float32
	F64   []float64
	I32   []int32
	U8    []byte
}

// ReadFile reads all tensors of a safetensors file. It knows only what the
// fixtures use, and shares no code with the package that it helps to test.
func ReadFile(path string) (map[string]Tensor, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(data)
	var header map[string]json.RawMessage
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := make(map[string]Tensor)
	for name, raw := range header {
		if name == "__metadata__" {
			continue
		}
		var info struct {
			DType   string `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}
		if err := json.Unmarshal(raw, &info); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, name, err)
		}
		t, err := decode(info.DType, data[8+int(n)+info.Offsets[0]:8+int(n)+info.Offsets[1]])
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, name, err)
		}
		t.Shape = info.Shape
		out[name] = t
	}
	return out, nil
}

func decode(dtype string, b []byte) (t Tensor, err error) {
	le := binary.LittleEndian
	switch dtype {
	case "F32":
		t.F32 = make([]float32, len(b)/4)
		for i := range t.F32 {
			t.F32[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
	case "F64":
		t.F64 = make([]float64, len(b)/8)
		for i := range t.F64 {
			t.F64[i] = math.Float64frombits(le.Uint64(b[8*i:]))
		}
	case "I32":
		t.I32 = make([]int32, len(b)/4)
		for i := range t.I32 {
			t.I32[i] = int32(le.Uint32(b[4*i:]))
		}
	case "U8", "BOOL":
		t.U8 = b
	default:
		err = fmt.Errorf("dtype %s", dtype)
	}
	return t, err
}
