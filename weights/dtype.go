package weights

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/clipsurgery/clipsurgery/simd"
)

// DType is the type of a tensor's elements in a file.
type DType uint8

// Element types, named as safetensors names them.
const (
	F32 DType = iota
	F64
	F16  // IEEE 754 half precision
	BF16 // the upper half of an F32
	I64
	I32
	I16
	I8
	U64
	U32
	U16
	U8
	Bool
	// Other is any type that this package does not convert, such as complex
	// numbers and floats of 8 bits. Its tensors are listed; reading one is
	// [ErrDType].
	Other
)

var dtypes = [...]struct {
	name string
	size int
}{
	F32: {"F32", 4}, F64: {"F64", 8}, F16: {"F16", 2}, BF16: {"BF16", 2},
	I64: {"I64", 8}, I32: {"I32", 4}, I16: {"I16", 2}, I8: {"I8", 1},
	U64: {"U64", 8}, U32: {"U32", 4}, U16: {"U16", 2}, U8: {"U8", 1}, Bool: {"BOOL", 1}, Other: {"OTHER", 0},
}

// String returns the name in safetensors, for example "BF16".
func (t DType) String() string {
	if !t.valid() {
		return fmt.Sprintf("DType(%d)", uint8(t))
	}
	return dtypes[t].name
}

// Size returns the number of bytes of one element; 0 for [Other] and for a
// value that is no type.
func (t DType) Size() int {
	if !t.valid() {
		return 0
	}
	return dtypes[t].size
}

// Float reports whether elements are floating-point numbers.
func (t DType) Float() bool { return t <= BF16 }

// dtypeNamed returns the type that safetensors calls so, or Other.
func dtypeNamed(name string) DType {
	for t, d := range dtypes {
		if d.name == name {
			return DType(t)
		}
	}
	return Other
}

func (t DType) valid() bool { return int(t) < len(dtypes) }

// decode converts len(dst) elements of src. Integers and F64 are rounded to
// the nearest float32.
func (t DType) decode(dst []float32, src []byte, order binary.ByteOrder) {
	if order == binary.LittleEndian {
		decodeLittle(t, dst, src)
		return
	}
	size := t.Size()
	var e [8]byte
	for i := range dst {
		for j := range size {
			e[j] = src[(i+1)*size-1-j]
		}
		decodeLittle(t, dst[i:i+1], e[:size])
	}
}

func decodeLittle(t DType, dst []float32, src []byte) {
	le := binary.LittleEndian
	src = src[:len(dst)*t.Size()]
	switch t {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(src[8*i:])))
		}
	case F16:
		simd.Best().FromF16(dst, src)
	case BF16:
		simd.Best().FromBF16(dst, src)
	case I64:
		for i := range dst {
			dst[i] = float32(int64(le.Uint64(src[8*i:])))
		}
	case I32:
		for i := range dst {
			dst[i] = float32(int32(le.Uint32(src[4*i:])))
		}
	case I16:
		for i := range dst {
			dst[i] = float32(int16(le.Uint16(src[2*i:])))
		}
	case I8:
		for i := range dst {
			dst[i] = float32(int8(src[i]))
		}
	case U64:
		for i := range dst {
			dst[i] = float32(le.Uint64(src[8*i:]))
		}
	case U32:
		for i := range dst {
			dst[i] = float32(le.Uint32(src[4*i:]))
		}
	case U16:
		for i := range dst {
			dst[i] = float32(le.Uint16(src[2*i:]))
		}
	case U8, Bool:
		for i := range dst {
			dst[i] = float32(src[i])
		}
	}
}

// notFinite returns the index of the first NaN or infinity, or -1.
func notFinite(x []float32) int {
	// Adding one to an exponent of all ones carries into the sign.
	const exponent, one = 0x7f800000, 0x00800000
	var carry uint32
	for _, v := range x {
		carry |= math.Float32bits(v)&exponent + one
	}
	if carry>>31 == 0 {
		return -1
	}
	for i, v := range x {
		if math.Float32bits(v)&exponent == exponent {
			return i
		}
	}
	panic("unreachable")
}
