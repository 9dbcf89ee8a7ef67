//go:build unix

package weights

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a whole file for reading.
func mapFile(f *os.File, size int) ([]byte, error) {
	return unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_PRIVATE)
}

func unmapFile(data []byte) error { return unix.Munmap(data) }

// releasePages drops pages, which are read from the file again if needed. It is
// a hint: nothing is lost where it fails.
func releasePages(pages []byte) { _ = unix.Madvise(pages, unix.MADV_DONTNEED) }
