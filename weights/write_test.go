package weights

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSave: every format becomes safetensors of the same tensors. The
// fixtures' values fit F16 and BF16.
func TestSave(t *testing.T) {
	for _, file := range []string{"clip_f32.safetensors", "clip_sharded", "clip_jit_f16.pt", "clip_open_clip_train.pt", "sam_f32.pth"} {
		f := mustOpen(t, formats(t, file))
		for _, dtype := range []DType{F32, F16, BF16} {
			path := filepath.Join(t.TempDir(), "out.safetensors")
			var last, total int
			require.NoError(t, Save(t.Context(), path, f, dtype, WithProgress(func(done, all int) {
				require.GreaterOrEqual(t, done, last)
				last, total = done, all
			})))
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.EqualValues(t, info.Size(), total)
			require.Equal(t, total, last)
			g := mustOpen(t, path)
			require.Equal(t, f.Names(), g.Names())
			for _, name := range f.Names() {
				want, _ := f.Info(name)
				got, _ := g.Info(name)
				if want.DType.Float() {
					want.DType = dtype
				}
				require.Equal(t, want.DType, got.DType)
				a, err := f.Float32(name)
				require.NoError(t, err)
				b, err := g.Float32(name, want.Shape...)
				require.NoError(t, err)
				require.Equal(t, a, b)
			}
		}
	}
}

// TestWriteOdd keeps names, shapes and metadata of any kind.
func TestWriteOdd(t *testing.T) {
	f := mustOpen(t, formats(t, "odd_tensors.pth"))
	var b bytes.Buffer
	require.NoError(t, Write(t.Context(), &b, f, F32))
	g, err := FromBytes(b.Bytes())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"format": "pt"}, g.Metadata())
	for _, name := range f.Names() {
		want, err := f.Float32(name)
		require.NoError(t, err)
		shape, _ := f.Shape(name)
		got, err := g.Float32(name, append([]int{}, shape...)...)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
}

func TestWriteErrors(t *testing.T) {
	one := func(dtype DType, v float32) *File {
		f, err := FromFunc([]TensorInfo{{"w", []int{2}, dtype}}, func(_ string, dst []float32) error {
			dst[1] = v
			return nil
		})
		require.NoError(t, err)
		return f
	}
	ctx := t.Context()
	write := func(f *File, dtype DType) error { return Write(ctx, new(bytes.Buffer), f, dtype) }
	require.NoError(t, write(one(F64, 65504), F16))
	require.ErrorIs(t, write(one(F32, 65520), F16), ErrNotFinite)
	require.ErrorContains(t, write(one(F32, 65520), F16), "w: element 1, 65520")
	require.NoError(t, write(one(F32, 65520), BF16))
	require.ErrorIs(t, write(one(F32, math.MaxFloat32), BF16), ErrNotFinite)
	require.NoError(t, write(one(I32, -1<<24+1), F16))
	require.ErrorIs(t, write(one(I32, 1<<24), F16), ErrDType)
	require.ErrorIs(t, write(one(F32, 1), I32), ErrDType)

	// What fails leaves what was there.
	path := filepath.Join(t.TempDir(), "w.safetensors")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, Save(canceled, path, one(F32, 1), F32), context.Canceled)
	require.ErrorIs(t, Save(ctx, path, one(F32, float32(math.NaN())), F32), ErrNotFinite)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(data))
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1)
	require.NoError(t, Save(ctx, path, one(F32, 1), F32))
	require.Equal(t, []string{"w"}, mustOpen(t, path).Names())
	require.ErrorIs(t, Save(ctx, filepath.Join(path+"s", "x"), one(F32, 1), F32), os.ErrNotExist)

	full := errors.New("no space left")
	require.ErrorIs(t, Write(ctx, failing{full}, one(F32, 1), F32), full)
}

type failing struct{ error }

func (w failing) Write([]byte) (int, error) { return 0, w.error }

// TestRounding: widening and rounding back is the identity; between two halves
// the nearer is taken, of equally near ones the even.
func TestRounding(t *testing.T) {
	for h := range 0x7c00 {
		v, next := halfToFloat(uint16(h)), halfToFloat(uint16(h+1))
		require.Equal(t, uint16(h), floatToHalf(v))
		require.Equal(t, uint16(h)|0x8000, floatToHalf(-v))
		if h+1 == 0x7c00 {
			next = 65536
		}
		middle := v + (next-v)/2
		require.Equal(t, uint16(h+h&1), floatToHalf(middle))
		require.Equal(t, uint16(h), floatToHalf(math.Nextafter32(middle, 0)))
		require.Equal(t, uint16(h+1), floatToHalf(math.Nextafter32(middle, 1e9)))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		v := math.Float32frombits(r.Uint32() & 0xbfffffff)
		data, bad := BF16.encode(nil, []float32{v})
		require.Negative(t, bad)
		var got [1]float32
		decodeLittle(BF16, got[:], data)
		bits := math.Float32bits(v)
		low, high := math.Float32frombits(bits&^0xffff), math.Float32frombits(bits&^0xffff+1<<16)
		want := low
		if d := math.Abs(float64(high-v)) - math.Abs(float64(v-low)); d < 0 || d == 0 && bits>>16&1 == 1 {
			want = high
		}
		require.Equal(t, want, got[0])
	}
}
