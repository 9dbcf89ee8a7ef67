package weights_test

import (
	"archive/zip"
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/clipsurgery/clipsurgery/internal/golden"
	"github.com/clipsurgery/clipsurgery/internal/untrained"
	"github.com/clipsurgery/clipsurgery/vit"
	"github.com/clipsurgery/clipsurgery/weights"
	"github.com/stretchr/testify/require"
)

// vitB16 are the tensors of OpenAI's ViT-B/16: 150 million elements.
func vitB16(t testing.TB, dtype weights.DType) []weights.TensorInfo {
	tensors, err := untrained.ViTB16().Tensors()
	require.NoError(t, err)
	for i := range tensors {
		tensors[i].DType = dtype
	}
	return tensors
}

// published gives tensors the types that OpenAI's files have: halves, but for
// embeddings, layer norms and the scale.
// Source: openai/CLIP clip/model.py:convert_weights.
func published(tensors []weights.TensorInfo) []weights.TensorInfo {
	for i, t := range tensors {
		tensors[i].DType = weights.F16
		if strings.Contains(t.Name, "embedding") || strings.Contains(t.Name, "ln_") || t.Name == "logit_scale" {
			tensors[i].DType = weights.F32
		}
	}
	return tensors
}

// ones fills a file with halves that are 1 and F32 that are 1.
func ones(dtype weights.DType) []byte {
	if dtype == weights.F16 {
		return bytes.Repeat([]byte{0x00, 0x3c}, 1<<15)
	}
	return bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, 1<<14)
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// writeTorch writes what torch.save does.
func writeTorch(t testing.TB, path string, tensors []weights.TensorInfo) {
	kinds := map[weights.DType]string{weights.F16: "Half", weights.F32: "Float"}
	p := bytes.NewBufferString("\x80\x02}(")
	text := func(s string) {
		p.WriteByte('X')
		p.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
		p.WriteString(s)
	}
	integer := func(n int) {
		p.WriteByte('J')
		p.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
	}
	f, err := os.Create(path)
	require.NoError(t, err)
	w := bufio.NewWriterSize(f, 1<<20)
	z := zip.NewWriter(w)
	create := func(name string, size int) io.Writer {
		record, err := z.CreateRaw(&zip.FileHeader{Name: "model/" + name, CompressedSize64: uint64(size), UncompressedSize64: uint64(size)})
		require.NoError(t, err)
		return record
	}
	for i, tensor := range tensors {
		n := product(tensor.Shape)
		text(tensor.Name)
		p.WriteString("ctorch._utils\n_rebuild_tensor_v2\n((")
		text("storage")
		fmt.Fprintf(p, "ctorch\n%sStorage\n", kinds[tensor.DType])
		text(fmt.Sprint(i))
		text("cpu")
		integer(n)
		p.WriteString("tQK\x00(")
		for _, d := range tensor.Shape {
			integer(d)
		}
		p.WriteString("t(")
		for i := range tensor.Shape {
			integer(product(tensor.Shape[i+1:]))
		}
		p.WriteString("t\x89ccollections\nOrderedDict\n)RtR")
	}
	p.WriteString("u.")
	_, err = create("data.pkl", p.Len()).Write(p.Bytes())
	require.NoError(t, err)
	for i, tensor := range tensors {
		size := product(tensor.Shape) * tensor.DType.Size()
		record := create(fmt.Sprintf("data/%d", i), size)
		for block := ones(tensor.DType); size > 0; size -= len(block) {
			block = block[:min(len(block), size)]
			_, err := record.Write(block)
			require.NoError(t, err)
		}
	}
	require.NoError(t, z.Close())
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
}

// checkpoints writes ViT-B/16 as OpenAI published it, and its halves in two
// containers.
func checkpoints(b testing.TB) map[string]string {
	dir := b.TempDir()
	paths := map[string]string{
		"published": filepath.Join(dir, "published.pt"),
		"pt":        filepath.Join(dir, "model.pt"), "safetensors": filepath.Join(dir, "model.safetensors"),
	}
	writeTorch(b, paths["published"], published(vitB16(b, weights.F16)))
	writeTorch(b, paths["pt"], vitB16(b, weights.F16))
	f, err := weights.Open(paths["pt"])
	require.NoError(b, err)
	defer f.Close()
	require.NoError(b, weights.Save(b.Context(), paths["safetensors"], f, weights.F16))
	return paths
}

// best reports the time of the fastest run.
func best(b *testing.B, run func()) {
	fastest := time.Duration(1 << 62)
	for b.Loop() {
		start := time.Now()
		run()
		fastest = min(fastest, time.Since(start))
	}
	b.ReportMetric(float64(fastest.Microseconds())/1e3, "ms/best")
}

// BenchmarkOpen lists the tensors of ViT-B/16: 350 MB as published, 300 MB of
// halves.
func BenchmarkOpen(b *testing.B) {
	paths := checkpoints(b)
	for _, kind := range []string{"published", "pt", "safetensors"} {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			best(b, func() {
				f, err := weights.Open(paths[kind])
				require.NoError(b, err)
				require.Len(b, f.Names(), 302)
				require.NoError(b, f.Close())
			})
		})
	}
}

// BenchmarkLoad reads and packs ViT-B/16, 300 MB of halves.
func BenchmarkLoad(b *testing.B) {
	paths := checkpoints(b)
	for _, kind := range []string{"pt", "safetensors"} {
		b.Run(kind, func(b *testing.B) {
			best(b, func() {
				_, err := vit.Open(paths[kind])
				require.NoError(b, err)
			})
		})
	}
}

// TestLoadingMemory: while a model is loaded, the process takes no more than
// the weights, one tensor and 64 MiB. Another process measures it, whose peak
// is not that of other tests.
func TestLoadingMemory(t *testing.T) {
	if path := os.Getenv("WEIGHTS_TEST_LOAD"); path != "" {
		_, err := vit.Open(path)
		require.NoError(t, err)
		data, err := os.ReadFile("/proc/self/status")
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "VmHWM:") {
				fmt.Print(line)
			}
		}
		return
	}
	golden.Long(t)
	if runtime.GOOS != "linux" {
		return // the system does not tell
	}
	paths := checkpoints(t)
	paths["F32"] = filepath.Join(t.TempDir(), "model.pt")
	writeTorch(t, paths["F32"], vitB16(t, weights.F32))
	var packed, largest int
	for _, tensor := range vitB16(t, weights.F32) {
		packed += 4 * product(tensor.Shape)
		largest = max(largest, 4*product(tensor.Shape))
	}
	for kind, path := range paths {
		cmd := exec.Command(os.Args[0], "-test.run=^TestLoadingMemory$")
		cmd.Env = append(os.Environ(), "WEIGHTS_TEST_LOAD="+path)
		out, err := cmd.Output()
		require.NoError(t, err, "%s", out)
		var peak int
		_, err = fmt.Sscanf(string(out), "VmHWM: %d kB", &peak)
		require.NoError(t, err, "%s", out)
		peak <<= 10
		t.Logf("%s: weights %d MiB, largest tensor %d MiB, peak %d MiB", kind, packed>>20, largest>>20, peak>>20)
		require.Less(t, peak, packed+largest+64<<20)
	}
}
