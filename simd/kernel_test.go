package simd

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRequiredKernels fails where CLIPSURGERY_REQUIRE, a list of names with
// commas, has a kernel that the tests over All would leave out.
func TestRequiredKernels(t *testing.T) {
	for name := range strings.SplitSeq(os.Getenv("CLIPSURGERY_REQUIRE"), ",") {
		if name = strings.TrimSpace(name); name != "" {
			_, err := Select(name)
			require.NoError(t, err, Info())
		}
	}
}

func TestKernels(t *testing.T) {
	all := All()
	require.Equal(t, []string{"generic", "gonum"}, names(all[:2]))
	require.Equal(t, Kernel{}, all[0], "the zero kernel is the plain Go one")
	for _, k := range all {
		same, err := Select(k.Name())
		require.NoError(t, err)
		require.Equal(t, k, same)
		require.Equal(t, k.Name(), k.String())
	}
	_, err := Select("mmx")
	require.EqualError(t, err, `simd: no kernel "mmx" here; this machine has [`+strings.Join(names(all), " ")+"]")
}

func TestBestAndInfo(t *testing.T) {
	all := All()
	fastest := all[len(all)-1]
	for _, c := range []struct {
		env  string
		want Kernel
		why  string
	}{
		{"", fastest, "fastest"},
		{"generic", Kernel{}, "CLIPSURGERY_KERNEL"},
		{"gonum", all[1], "CLIPSURGERY_KERNEL"},
		{"mmx", fastest, "fastest, as there is no CLIPSURGERY_KERNEL=mmx"},
	} {
		t.Setenv("CLIPSURGERY_KERNEL", c.env)
		require.Equal(t, c.want, Best(), c.env)
		info := Info()
		require.Contains(t, info, "kernel "+c.want.Name()+" ("+c.why+"; here are "+strings.Join(names(all), " ")+");")
		require.Contains(t, info, runtime.GOOS+"/"+runtime.GOARCH)
		require.NotContains(t, info, "\n")
		t.Log(info)
	}
	for bytes, want := range map[int]string{-1: "unknown", 48 << 10: "48 KiB", 32 << 20: "32 MiB"} {
		require.Equal(t, want, size(bytes))
	}
}
