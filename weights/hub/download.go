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
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// downloader gets single files. What the disk and the clock do is a field, so
// that tests can make them fail.
type downloader struct {
	client   *http.Client
	open     func(path string) (file, error)
	pause    func(ctx context.Context, try int) error
	patience time.Duration // with a server that sends nothing
}

// file is what is needed of [os.File].
type file interface {
	io.ReadWriteCloser
	Truncate(size int64) error
	Seek(offset int64, whence int) (int64, error)
	Sync() error
}

// maxTries is how often in a row a server may fail to send anything.
const maxTries = 4

func newDownloader() downloader {
	return downloader{
		open: func(path string) (file, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666) },
		pause: func(ctx context.Context, try int) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second << try):
				return nil
			}
		},
		patience: time.Minute,
	}
}

// get fetches a file to path, where it appears when it is whole.
func (d *downloader) get(ctx context.Context, r remote, path string, report func(done, total int64)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	unlock, err := lock(ctx, path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if exists(path) { // another process was first
		return nil
	}
	part := path + ".part"
	resumed, err := d.fill(ctx, r, part, report)
	if errors.Is(err, ErrChecksum) {
		err = errors.Join(err, os.Remove(part))
		if resumed { // what was there from before may be what was wrong
			_, err = d.fill(ctx, r, part, report)
			if errors.Is(err, ErrChecksum) {
				err = errors.Join(err, os.Remove(part))
			}
		}
	}
	if err != nil {
		return err
	}
	return os.Rename(part, path)
}

// fill completes a partial file and checks it. resumed tells that it was begun
// before.
func (d *downloader) fill(ctx context.Context, r remote, part string, report func(done, total int64)) (resumed bool, err error) {
	f, err := d.open(part)
	if err != nil {
		return false, err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	p := partial{remote: r, file: f, hash: sha256.New(), report: report}
	if r.git {
		p.hash = sha1.New()
	}
	if err := p.rewind(); err != nil {
		return false, err
	}
	if p.size, err = io.Copy(p.hash, f); err != nil {
		return false, err
	}
	resumed = p.size > 0
	for try := 0; p.size != r.size; try++ {
		before := p.size
		err := p.stream(ctx, d.client, d.patience)
		var t transient
		if err == nil {
			break
		}
		if !errors.As(err, &t) {
			return resumed, err
		}
		if p.size > before {
			try = 0
		}
		if try+1 == maxTries {
			return resumed, err
		}
		if err := d.pause(ctx, try); err != nil {
			return resumed, err
		}
	}
	if got := hex.EncodeToString(p.hash.Sum(nil)); got != r.digest {
		return resumed, fmt.Errorf("%w: %s has digest %s, want %s", ErrChecksum, r.url, got, r.digest)
	}
	return resumed, f.Sync()
}

// transient is an error that may go away.
type transient struct{ error }

func (t transient) Unwrap() error { return t.error }

// partial is a file that grows.
type partial struct {
	remote
	file   file
	hash   hash.Hash
	size   int64 // so far
	report func(done, total int64)
}

// rewind goes to the beginning of file and hash.
func (p *partial) rewind() error {
	p.size = 0
	p.hash.Reset()
	if p.git {
		fmt.Fprintf(p.hash, "blob %d\x00", p.remote.size)
	}
	_, err := p.file.Seek(0, io.SeekStart)
	return err
}

// restart throws away what is there.
func (p *partial) restart() error { return errors.Join(p.rewind(), p.file.Truncate(0)) }

// errStalled is the cause where a server kept us waiting.
var errStalled = errors.New("the server sends nothing")

// impatient returns a context that ends when heard was not called for a while.
func impatient(ctx context.Context, patience time.Duration) (_ context.Context, heard, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(patience, func() { cancel(errStalled) })
	return ctx, func() { timer.Reset(patience) }, func() { timer.Stop(); cancel(nil) }
}

// stream asks for what is missing and appends it.
func (p *partial) stream(ctx context.Context, client *http.Client, patience time.Duration) error {
	ctx, heard, stop := impatient(ctx, patience)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if p.size > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
	}
	resp, err := client.Do(req)
	if err != nil {
		return passing(ctx, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
		var first, last int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/", &first, &last); err != nil || first != p.size {
			return fmt.Errorf("%s: asked for bytes from %d, got %q", p.url, p.size, resp.Header.Get("Content-Range"))
		}
	case http.StatusOK: // all of it, whatever was asked for
		if err := p.restart(); err != nil {
			return err
		}
	case http.StatusRequestedRangeNotSatisfiable: // nothing is missing, or too much is there
		if resp.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", p.size) {
			return nil
		}
		if err := p.restart(); err != nil {
			return err
		}
		return transient{status(p.url, resp)}
	default:
		return status(p.url, resp)
	}
	total := int64(-1)
	if resp.ContentLength >= 0 {
		total = p.size + resp.ContentLength
	}
	if want := p.remote.size; want >= 0 && total >= 0 && total != want {
		return fmt.Errorf("%w: %s has %d bytes, want %d", ErrChecksum, p.url, total, want)
	}
	return p.append(ctx, resp.Body, total, heard)
}

// append appends what a server sends.
func (p *partial) append(ctx context.Context, body io.Reader, total int64, heard func()) error {
	buf := make([]byte, 1<<18)
	reported := p.size
	for {
		n, err := body.Read(buf)
		heard()
		if _, err := p.file.Write(buf[:n]); err != nil {
			return err
		}
		p.hash.Write(buf[:n])
		p.size += int64(n)
		if want := p.remote.size; want >= 0 && p.size > want {
			return fmt.Errorf("%w: %s has more than %d bytes", ErrChecksum, p.url, want)
		}
		if err != nil || p.size-reported >= 1<<20 {
			reported = p.size
			p.report(p.size, total)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return passing(ctx, err)
		}
	}
}

// passing is an error of the network, unless it is that of the caller's
// context.
func passing(ctx context.Context, err error) error {
	switch context.Cause(ctx) {
	case nil:
		return transient{err}
	case errStalled:
		return transient{errStalled}
	}
	return err
}

// status is the error of an answer that holds no file.
func status(url string, resp *http.Response) error {
	err := fmt.Errorf("%s: %s", url, resp.Status)
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%w: %w", err, fs.ErrPermission)
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		return transient{err}
	}
	return err
}
