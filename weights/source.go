package weights

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
)

// source is the bytes of one file, read only where asked.
type source interface {
	size() int64
	// bytes returns the n bytes at off, which are inside the file: a part of
	// the source itself, or scratch filled, which then has room for them.
	bytes(off int64, n int, scratch []byte) ([]byte, error)
	// release lets go of the memory that holds n bytes at off. They can be
	// read again.
	release(off, n int64)
	close() error
}

// memory is a source of bytes in memory: given by the caller, or a map of a
// file.
type memory struct {
	data  []byte
	unmap func([]byte) error // nil unless data is a map
}

func (m *memory) size() int64 { return int64(len(m.data)) }

func (m *memory) bytes(off int64, n int, _ []byte) ([]byte, error) {
	return m.data[off : off+int64(n) : off+int64(n)], nil
}

func (m *memory) release(off, n int64) {
	if m.unmap == nil {
		return
	}
	// Only whole pages: those at the ends hold parts of other tensors.
	page := int64(os.Getpagesize())
	first, last := (off+page-1)/page*page, (off+n)/page*page
	if first < last {
		releasePages(m.data[first:last])
	}
}

func (m *memory) close() error {
	if m.unmap == nil {
		return nil
	}
	return m.unmap(m.data)
}

// handle is a source that reads from an open file.
type handle struct {
	io.ReaderAt
	io.Closer
	length int64
}

func (h *handle) size() int64 { return h.length }

func (h *handle) bytes(off int64, n int, scratch []byte) ([]byte, error) {
	got, err := h.ReadAt(scratch[:n], off)
	if got < n {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return scratch[:n], nil
}

func (h *handle) release(off, n int64) {}

func (h *handle) close() error { return h.Close() }

// openSource opens a file of fsys: as a memory map where system and file
// allow, else to be read piece by piece, else, where the file system has no
// access at random, whole.
func openSource(fsys fs.FS, name string) (source, error) {
	// Opening a named pipe would wait for somebody to write.
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", ErrFormat)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, err
	}
	size := info.Size()
	if f, ok := f.(*os.File); ok && size > 0 && int64(int(size)) == size {
		if data, err := mapFile(f, int(size)); err == nil {
			f.Close() // the map stays
			return &memory{data, unmapFile}, nil
		}
	}
	if r, ok := f.(io.ReaderAt); ok {
		return &handle{r, f, size}, nil
	}
	defer f.Close()
	var data bytes.Buffer
	if _, err := data.ReadFrom(f); err != nil {
		return nil, err
	}
	return &memory{data: data.Bytes()}, nil
}

// view returns n bytes at off, which must not be changed: a part of the source
// itself, or a copy.
func view(s source, off int64, n int) ([]byte, error) {
	if m, ok := s.(*memory); ok {
		return m.bytes(off, n, nil)
	}
	return readAll(s, off, n)
}

// readAll returns a copy of n bytes at off.
func readAll(s source, off int64, n int) ([]byte, error) {
	buf := make([]byte, n)
	data, err := s.bytes(off, n, buf)
	copy(buf, data)
	return buf, err
}

// guard runs f and turns a fault on mapped memory, which is how a file cut
// short by another program shows, into an error.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(interface {
				runtime.Error
				Addr() uintptr
			})
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("%w: the file changed while it was open: %w", ErrFormat, errors.New(fault.Error()))
		}
	}()
	return f()
}
