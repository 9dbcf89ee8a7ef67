package hub

import (
	"context"
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
	patience time.Duration // with a server that sends fewer than least bytes
	least    int64
	most     int64 // bytes of a file whose size is not known; of others if MaxBytes was given
	mostOf   int64 // bytes of a file whose size is known
}

// file is what is needed of [os.File].
type file interface {
	io.ReadWriteCloser
	Truncate(size int64) error
	Seek(offset int64, whence int) (int64, error)
	Sync() error
}

const (
	// maxTries is how often in a row a server may fail to bring a file on.
	maxTries = 4
	// minProgress is how many new bytes bring a file on.
	minProgress = 64 << 10
	// maxRequests is how often a server is asked for a file, and maxRestarts
	// how often it may begin again.
	maxRequests = 100
	maxRestarts = 4
	// maxUnknown and maxKnown are the bounds of a file in bytes without MaxBytes.
	maxUnknown = 2 << 30
	maxKnown   = 64 << 30
)

func newDownloader() downloader {
	return downloader{
		open: func(path string) (file, error) {
			f, err := openRegular(path)
			if err != nil {
				return nil, err
			}
			return f, nil
		},
		pause: func(ctx context.Context, try int) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second << try):
				return nil
			}
		},
		patience: time.Minute,
		least:    64 << 10,
		most:     maxUnknown,
		mostOf:   maxKnown,
	}
}

// limit is how many bytes a file may have: its size, where that is known.
func (d *downloader) limit(r remote) (int64, error) {
	if r.size < 0 {
		return d.most, nil
	}
	if r.size > d.mostOf {
		return 0, fmt.Errorf("%w: %s has %d bytes, at most %d", ErrTooLarge, clip(r.url), r.size, d.mostOf)
	}
	return r.size, nil
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
	switch err := r.check(ctx, path); {
	case err == nil: // another process was first
		return nil
	case errors.Is(err, ErrChecksum):
		if err := os.Remove(path); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	part := path + ".part"
	resumed, err := d.fill(ctx, r, part, report)
	if isWrong(err) {
		err = errors.Join(err, removeIfThere(part))
		if resumed && errors.Is(err, ErrChecksum) { // what was there from before may be what was wrong
			_, err = d.fill(ctx, r, part, report)
			if isWrong(err) {
				err = errors.Join(err, removeIfThere(part))
			}
		}
	}
	if err != nil {
		return err
	}
	return os.Rename(part, path)
}

// isWrong reports whether an error says that what came is of no use.
func isWrong(err error) bool { return errors.Is(err, ErrChecksum) || errors.Is(err, ErrTooLarge) }

// fill completes a partial file and checks it. resumed tells that it was begun
// before.
func (d *downloader) fill(ctx context.Context, r remote, part string, report func(done, total int64)) (resumed bool, err error) {
	limit, err := d.limit(r)
	if err != nil {
		return false, err
	}
	f, err := d.open(part)
	if err != nil {
		return false, err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	p := partial{remote: r, file: f, hash: r.newHash(), limit: limit, whole: -1, report: report}
	if resumed, err = p.resume(ctx); err != nil {
		return resumed, err
	}
	if err := d.finish(ctx, &p); err != nil {
		return resumed, err
	}
	if got := hex.EncodeToString(p.hash.Sum(nil)); got != r.digest {
		return resumed, fmt.Errorf("%w: %s has digest %s, want %s", ErrChecksum, clip(r.url), got, r.digest)
	}
	return resumed, f.Sync()
}

// finish asks for what is missing until nothing is, as long as the server
// brings the file on.
func (d *downloader) finish(ctx context.Context, p *partial) error {
	if p.size == p.remote.size {
		return nil
	}
	furthest, try := p.size, 0
	for request := 1; ; request++ {
		err := p.stream(ctx, d)
		if err == nil {
			return nil
		}
		var t transient
		if !errors.As(err, &t) {
			return err
		}
		if p.size >= furthest+minProgress {
			furthest, try = p.size, 0
		}
		if try++; try == maxTries || request == maxRequests || p.restarts > maxRestarts {
			return fmt.Errorf("gave up after %d requests: %w", request, err)
		}
		if err := d.pause(ctx, try-1); err != nil {
			return err
		}
	}
}

// partial is a file that grows.
type partial struct {
	remote
	file     file
	hash     hash.Hash
	size     int64 // so far
	limit    int64 // of size
	whole    int64 // size of the file as the server says, or -1
	restarts int
	report   func(done, total int64)
}

// resume reads what is there from before.
func (p *partial) resume(ctx context.Context) (resumed bool, err error) {
	size, err := p.file.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	if size > p.limit {
		return false, p.empty()
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	p.size, err = io.Copy(p.hash, reader{ctx, io.LimitReader(p.file, size)})
	return p.size > 0, err
}

// empty throws away what is there.
func (p *partial) empty() error {
	p.size, p.hash = 0, p.newHash()
	_, err := p.file.Seek(0, io.SeekStart)
	return errors.Join(err, p.file.Truncate(0))
}

// restart begins again, where a server says that what is there is of no use.
func (p *partial) restart() error {
	if p.size > 0 {
		p.restarts++
	}
	return p.empty()
}

// stream asks for what is missing and appends it.
func (p *partial) stream(ctx context.Context, d *downloader) error {
	watched, w, stop := newWatch(ctx, d.patience, d.least)
	defer stop()
	req, err := p.request(watched)
	if err != nil {
		return err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return failed(watched, p.url, err)
	}
	defer resp.Body.Close()
	// A body that does not know the context ends by being closed.
	defer context.AfterFunc(watched, func() { resp.Body.Close() })()
	w.heard(d.least)
	if done, err := p.begin(resp); done || err != nil {
		return err
	}
	if err := p.append(watched, resp.Body, w); err != nil {
		return err
	}
	if p.whole >= 0 && p.size < p.whole {
		return transient{fmt.Errorf("%s: %d bytes of %d: %w", clip(p.url), p.size, p.whole, io.ErrUnexpectedEOF)}
	}
	return nil
}

func (p *partial) request(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if p.size > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", p.size))
	}
	authorize(req, p.token)
	return req, nil
}

// authorize adds a token, if there is one.
func authorize(req *http.Request, token string) {
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
}

// begin looks at the head of an answer, and makes the file ready for its body.
// done tells that nothing is missing.
func (p *partial) begin(resp *http.Response) (done bool, err error) {
	whole := int64(-1)
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if whole, err = p.contentRange(resp); err != nil {
			return false, err
		}
	case http.StatusOK: // all of it, whatever was asked for
		if err := p.restart(); err != nil {
			return false, err
		}
		whole = resp.ContentLength
	case http.StatusRequestedRangeNotSatisfiable: // nothing is missing, or too much is there
		if p.size > 0 && resp.Header.Get("Content-Range") == fmt.Sprintf("bytes */%d", p.size) {
			return true, nil
		}
		if err := p.restart(); err != nil {
			return false, err
		}
		return false, transient{status(p.url, resp)}
	default:
		return false, status(p.url, resp)
	}
	if want := p.remote.size; want >= 0 && whole >= 0 && whole != want {
		return false, fmt.Errorf("%w: %s has %d bytes, want %d", ErrChecksum, clip(p.url), whole, want)
	}
	if whole > p.limit {
		return false, fmt.Errorf("%w: %s has %d bytes, at most %d", ErrTooLarge, clip(p.url), whole, p.limit)
	}
	p.whole = whole
	return false, nil
}

// contentRange checks that an answer holds what was asked for, and returns the
// size of the whole file, or -1.
func (p *partial) contentRange(resp *http.Response) (whole int64, err error) {
	text := resp.Header.Get("Content-Range")
	var first, last int64
	if _, err := fmt.Sscanf(text, "bytes %d-%d/%d", &first, &last, &whole); err != nil {
		whole = -1
		if _, err := fmt.Sscanf(text, "bytes %d-%d/*", &first, &last); err != nil {
			first = -1
		}
	}
	if first != p.size || last < first || whole >= 0 && last >= whole ||
		resp.ContentLength >= 0 && resp.ContentLength-1 != last-first {
		return 0, fmt.Errorf("%s: asked for bytes from %d, got Content-Range %q and %d bytes", clip(p.url), p.size, clip(text), resp.ContentLength)
	}
	return whole, nil
}

// maxEmpty is how often in a row a body may give nothing.
const maxEmpty = 100

// append appends what a server sends.
func (p *partial) append(ctx context.Context, body io.Reader, w *watch) error {
	buf := make([]byte, 1<<18)
	reported, empty := p.size, 0
	for {
		if ctx.Err() != nil {
			return passing(ctx, ctx.Err())
		}
		w.wait()
		n, err := body.Read(buf)
		w.heard(int64(n))
		if empty++; n > 0 {
			empty = 0
		}
		if int64(n) > p.limit-p.size {
			if p.remote.size >= 0 {
				return fmt.Errorf("%w: %s has more than %d bytes", ErrChecksum, clip(p.url), p.limit)
			}
			return fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, clip(p.url), p.limit)
		}
		if _, err := p.file.Write(buf[:n]); err != nil {
			return err
		}
		p.hash.Write(buf[:n])
		p.size += int64(n)
		if err != nil || p.size-reported >= 1<<20 {
			reported = p.size
			p.report(p.size, max(p.whole, p.remote.size))
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return passing(ctx, err)
		case empty == maxEmpty:
			return transient{io.ErrNoProgress}
		}
	}
}

// status is the error of an answer that holds no file.
func status(url string, resp *http.Response) error {
	code := resp.StatusCode
	err := fmt.Errorf("%s: %d %s", clip(url), code, http.StatusText(code))
	switch {
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%w: %w", err, fs.ErrPermission)
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		return transient{err}
	}
	return err
}
