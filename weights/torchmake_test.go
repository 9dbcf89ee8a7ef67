package weights

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
)

// pickled writes pickles as torch.save does, and as it never would.
type pickled struct{ bytes.Buffer }

func newPickle() *pickled {
	p := new(pickled)
	p.WriteString("\x80\x02")
	return p
}

func (p *pickled) text(s string) *pickled {
	p.WriteByte('X')
	p.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	p.WriteString(s)
	return p
}

// integer takes 64 bits, unlike torch.save's.
func (p *pickled) integer(n int64) *pickled {
	p.WriteString("\x8a\x08")
	p.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	return p
}

func (p *pickled) integers(ns []int64) *pickled {
	p.WriteByte('(')
	for _, n := range ns {
		p.integer(n)
	}
	p.WriteByte('t')
	return p
}

func (p *pickled) global(module, name string) *pickled {
	fmt.Fprintf(p, "c%s\n%s\n", module, name)
	return p
}

// raw writes operations as they are.
func (p *pickled) raw(ops string) *pickled {
	p.WriteString(ops)
	return p
}

// torchTensor describes a tensor to be pickled.
type torchTensor struct {
	name, kind, key string
	count, offset   int64
	shape, strides  []int64
	legacy          bool
}

// vector is an F32 vector that fills its storage.
func vector(name, key string, n int64) torchTensor {
	return torchTensor{name: name, kind: "Float", key: key, count: n, shape: []int64{n}, strides: []int64{1}}
}

func (p *pickled) tensor(t torchTensor) *pickled {
	p.global("torch._utils", "_rebuild_tensor_v2").raw("((").text("storage").global("torch", t.kind+"Storage").
		text(t.key).text("cpu").integer(t.count)
	if t.legacy {
		p.raw("N")
	}
	p.raw("tQ").integer(t.offset).integers(t.shape).integers(t.strides)
	return p.raw("\x89").global("collections", "OrderedDict").raw(")RtR")
}

// dict writes a dict of tensors.
func (p *pickled) dict(tensors ...torchTensor) *pickled {
	p.raw("}(")
	for _, t := range tensors {
		p.text(t.name).tensor(t)
	}
	return p.raw("u")
}

func (p *pickled) stop() []byte { return append(bytes.Clone(p.Bytes()), '.') }

// record is a file in a zip archive.
type record struct {
	name string
	data []byte
}

// archive makes what torch.save writes, less the padding.
func archive(t testing.TB, data []byte, more ...record) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, r := range append([]record{{"a/data.pkl", data}, {"a/version", []byte("3\n")}}, more...) {
		f, err := w.CreateRaw(&zip.FileHeader{Name: r.name, Method: zip.Store, CRC32: crc32.ChecksumIEEE(r.data),
			CompressedSize64: uint64(len(r.data)), UncompressedSize64: uint64(len(r.data))})
		require.NoError(t, err)
		_, err = f.Write(r.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// legacy makes what torch.save wrote before PyTorch 1.6.
func legacy(data []byte, storages ...record) []byte {
	var b bytes.Buffer
	b.WriteString("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.")
	b.Write(data)
	keys := newPickle().raw("](")
	for _, s := range storages {
		keys.text(s.name)
	}
	b.Write(keys.raw("e").stop())
	for _, s := range storages {
		b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(s.data)/4)))
		b.Write(s.data)
	}
	return b.Bytes()
}
