package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxHashed bounds the files of the cache whose digest is computed at every
// call; of larger ones the size is looked at.
const maxHashed = 16 << 20

// newHash returns the hash of the file's digest, begun.
func (r remote) newHash() hash.Hash {
	if !r.git {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", r.size)
	return h
}

// check says what is wrong with a file that should be this one:
// [fs.ErrNotExist] if it is not there, [ErrChecksum] if it is another.
func (r remote) check(ctx context.Context, path string) error {
	if err := checkRegular(path, r.size); err != nil {
		return err
	}
	if r.size < 0 || r.size > maxHashed {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := r.newHash()
	if _, err := io.Copy(h, reader{ctx, io.LimitReader(f, r.size+1)}); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != r.digest {
		return fmt.Errorf("%w: %s has digest %s, want %s", ErrChecksum, path, got, r.digest)
	}
	return nil
}

// checkRegular says what is wrong with a file that should be a regular one of
// size bytes, or of any but 0 where size is negative.
func checkRegular(path string, size int64) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w: %s: want a regular file, got %v", ErrChecksum, path, info.Mode().Type())
	case size >= 0 && info.Size() != size:
		return fmt.Errorf("%w: %s has %d bytes, want %d", ErrChecksum, path, info.Size(), size)
	case size < 0 && info.Size() == 0:
		return fmt.Errorf("%w: %s is empty", ErrChecksum, path)
	}
	return nil
}

// openRegular opens a file to write, and makes it if it is not there. Whatever
// else has its name, such as a link, is removed first.
func openRegular(path string) (*os.File, error) {
	before, err := os.Lstat(path)
	if err == nil && !before.Mode().IsRegular() {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		err = fs.ErrNotExist
	}
	flag := os.O_RDWR | os.O_CREATE
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// Exclusive, so that no link is followed that appears meanwhile.
		f, err := os.OpenFile(path, flag|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		if before, err = os.Lstat(path); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	f, err := os.OpenFile(path, flag, 0o666)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !os.SameFile(before, info) {
		f.Close()
		return nil, errors.Join(fmt.Errorf("%s: another file took its place", path), err)
	}
	return f, nil
}

// removeIfThere removes a file that may be gone already.
func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// makeDir makes a directory; a link that has its name is replaced by one.
func makeDir(path string) error {
	if info, err := os.Lstat(path); err == nil && !info.IsDir() {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return os.MkdirAll(path, 0o777)
}

// folderOf is the folder of a repository: owner--name, where no other
// repository has the same; else with hyphens as %2D.
func folderOf(repository string) string {
	owner, name, _ := strings.Cut(repository, "/")
	return unhyphened(owner) + "--" + unhyphened(name)
}

func unhyphened(word string) string {
	if strings.Contains(word, "--") || strings.HasSuffix(word, "-") {
		return strings.ReplaceAll(word, "-", "%2D")
	}
	return word
}

// isFileName reports whether a name that a repository gives its file can be
// that of a file in our folder, on every system: a word, no device of
// Windows, and no name that a download gives its own files.
func isFileName(s string) bool {
	return isWord(s) && !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, ".lock") && !strings.HasSuffix(s, ".part") && !isDevice(s)
}

// isDevice reports whether Windows takes a name for a device, whatever follows
// its first point.
func isDevice(s string) bool {
	s, _, _ = strings.Cut(strings.ToUpper(s), ".")
	switch s {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	return len(s) == 4 && (s[:3] == "COM" || s[:3] == "LPT") && s[3] >= '0' && s[3] <= '9'
}

// sweep removes from a directory what is not wanted.
func sweep(dir string, wanted map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !wanted[e.Name()] {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
