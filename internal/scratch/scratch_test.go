package scratch

import (
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// call cuts n slices of size elements and resets.
func call(t *testing.T, a *Arena[float32], n, size int) {
	t.Helper()
	for range n {
		s := a.Take(size)
		require.Len(t, s, size)
		require.Equal(t, size, cap(s))
		require.Zero(t, uintptr(unsafe.Pointer(unsafe.SliceData(s)))%line)
		s[0], s[size-1] = 1, 1
	}
	a.Reset()
}

// TestArenaSlices: slices do not overlap, and those cut after a mark give way.
func TestArenaSlices(t *testing.T) {
	var a Arena[float32]
	var all [][]float32
	for i := range 100 {
		s := a.Take(1000 * i)
		for j := range s {
			s[j] = float32(i)
		}
		all = append(all, s)
	}
	for i, s := range all {
		if i > 0 {
			require.EqualValues(t, i, slices.Min(s))
			require.EqualValues(t, i, slices.Max(s))
		}
	}
	a.Reset()
	first := a.Take(100)
	mark := a.Mark()
	second := a.Take(1 << 20)
	third := a.Take(1 << 20)
	a.Release(mark)
	require.Same(t, &second[0], &a.Take(5)[0])
	require.NotSame(t, &second[0], &third[0])
	require.NotSame(t, &second[0], &first[0])
	require.Empty(t, a.Take(0))
}

// TestArenaConsolidates: a call that needed several blocks leaves one, as large
// as needed, and no call after it allocates.
func TestArenaConsolidates(t *testing.T) {
	var a Arena[float32]
	call(t, &a, 50, 30_000)
	require.Len(t, a.blocks, 1)
	require.Equal(t, 50*30_000, a.Size())
	require.Zero(t, testing.AllocsPerRun(20, func() {
		for range 50 {
			a.Take(30_000)
		}
		a.Reset()
	}))
}

// TestArenaPeak: what was released before more was cut is not needed twice.
func TestArenaPeak(t *testing.T) {
	var a Arena[float32]
	for range 3 {
		for range 100 {
			m := a.Mark()
			a.Take(1 << 16)
			a.Release(m)
		}
		a.Reset()
	}
	require.Equal(t, 1<<16, a.Size())
}

// TestArenaShrinks: a growing burst holds about one call's memory at any time,
// and small calls that follow give back all of it.
func TestArenaShrinks(t *testing.T) {
	var a Arena[float32]
	for i := range 24 {
		n := (i + 1) * 10_000
		call(t, &a, 10, n)
		require.LessOrEqual(t, a.Size(), 10*(n+line), "call %d", i)
	}
	for range recent {
		call(t, &a, 1, 100)
	}
	require.LessOrEqual(t, a.Size(), minBytes/4)

	// A large call among the recent ones keeps its block.
	for range 5 {
		call(t, &a, 1, 1<<20)
		held := a.Size()
		for range recent - 1 {
			call(t, &a, 1, 100)
			if held > 0 {
				require.Equal(t, held, a.Size())
			}
		}
	}
}

func TestArenaReserve(t *testing.T) {
	var a Arena[float32]
	call(t, &a, 3, 1<<16)
	a.Reserve(1 << 20)
	require.Equal(t, 1<<20, a.Size())
	for range 4 {
		a.Take(1 << 18)
	}
	a.Reset()
	require.Equal(t, 1<<20, a.Size())
	a.Reserve(1 << 19)
	require.Equal(t, 1<<20, a.Size(), "the block is large enough")
}

// TestArenaTypes: elements of any size, with pointers and without a size.
func TestArenaTypes(t *testing.T) {
	type odd [3]byte
	type pointer struct{ s []int }
	var a Arena[odd]
	require.Len(t, a.Take(1<<20), 1<<20)
	var b Arena[pointer]
	p := b.Take(5)
	p[4].s = make([]int, 3)
	b.Clear()
	require.Nil(t, p[4].s)
	var c Arena[struct{}]
	require.Len(t, c.Take(7), 7)
	var d Arena[[100]float64]
	require.Len(t, d.Take(7), 7)
	require.Panics(t, func() { d.Take(-1) })
}

type piece struct{ Arena[float32] }

// TestPool: a burst of calls at the same time leaves one piece, after garbage
// collections, and one caller at a time allocates nothing.
func TestPool(t *testing.T) {
	var p Pool[piece]
	live := func() uint64 {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	const size = 1 << 20
	var all []*piece
	for range 16 {
		v := p.Get()
		v.Take(size)
		all = append(all, v)
	}
	for i, v := range all {
		v.Reset()
		p.Put(v)
		all[i] = nil
	}
	require.Less(t, live(), before+2*4*size)
	runtime.KeepAlive(&p)

	require.Zero(t, testing.AllocsPerRun(10, func() {
		v := p.Get()
		v.Take(size)
		v.Reset()
		p.Put(v)
	}))
}
