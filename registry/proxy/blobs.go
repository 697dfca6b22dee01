package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// BlobURL is where a blob lies; "" for a copy that is not here, which goes through us.
func (s *Storage) BlobURL(ctx context.Context, repository string, dgst digest.Digest) (string, error) {
	direct, ok := s.Storage.(registry.Redirector)
	if !ok {
		return "", nil
	}
	url, err := direct.BlobURL(ctx, repository, dgst)
	if src, _ := s.find(repository); src != nil && errdefs.IsNotFound(err) {
		return "", nil
	}
	return url, err
}

// OpenBlob opens a blob. A copy that is not here is downloaded once for all who ask for it meanwhile, and each of them reads what has come.
func (s *Storage) OpenBlob(ctx context.Context, repository string, dgst digest.Digest) (content.Reader, error) {
	src, there := s.find(repository)
	r, err := s.Storage.OpenBlob(ctx, repository, dgst)
	if src == nil || err != nil && !errdefs.IsNotFound(err) {
		return r, err
	}
	key := "blob " + repository + "@" + dgst.String()
	if err == nil {
		s.counts.hits.Add(1)
		return r, nil
	}
	if s.absent.has(key) {
		return nil, err
	}
	f := s.flights.join(key, func() *flight {
		s.counts.fetches.Add(1)
		return s.begin(src, repository, there, key, dgst)
	})
	if err := f.begun(ctx); err != nil {
		f.leave()
		f.close()
		return nil, err
	}
	return &follower{ctx: ctx, flight: f}, nil
}

// flights are the downloads under way.
type flights struct {
	mu  sync.Mutex
	all map[string]*flight
	wg  sync.WaitGroup
}

// join returns a download, which begin begins when there is none. Who joins leaves it.
func (fs *flights) join(key string, begin func() *flight) *flight {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.all == nil {
		fs.all = map[string]*flight{}
	}
	f := fs.all[key]
	if f == nil {
		f = begin()
		fs.all[key] = f
	}
	f.readers++
	f.mu.Lock()
	f.left++
	f.mu.Unlock()
	return f
}

// drop takes a download out: who comes now begins anew.
func (fs *flights) drop(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.all[f.key] == f {
		delete(fs.all, f.key)
	}
}

func (fs *flights) wait() { fs.wg.Wait() }

// flight is a download: a file without a name that grows, and who reads it.
type flight struct {
	of      *flights
	key     string
	digest  digest.Digest
	cancel  context.CancelFunc
	readers int // with the mutex of of

	mu      sync.Mutex
	file    *os.File
	size    int64
	n       int64 // how many bytes may be read
	err     error
	changed chan struct{} // closed when one of those above changes
	started bool
	left    int // who will use the file still: the download, and its readers
}

// begin begins a download; the mutex of the flights is held.
func (s *Storage) begin(src *source, repository, there, key string, dgst digest.Digest) *flight {
	ctx, cancel := context.WithCancel(s.ctx)
	f := &flight{of: &s.flights, key: key, digest: dgst, cancel: cancel, changed: make(chan struct{}), left: 1}
	s.flights.wg.Go(func() {
		defer cancel()
		err := s.download(ctx, f, src, repository, there)
		if err != nil {
			if errdefs.IsNotFound(err) {
				s.absent.add(key, struct{}{}, src.Absent)
			}
			f.fail(err)
		}
		s.flights.drop(f)
		f.close()
	})
	return f
}

// change changes the flight and tells its readers.
func (f *flight) change(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
	close(f.changed)
	f.changed = make(chan struct{})
}

// fail tells the readers that no more comes. Before they know, nobody joins it any more: until a storage has given up what it has of the blob, it may take a while.
func (f *flight) fail(err error) {
	f.of.drop(f)
	f.change(func() { f.err = err })
}

// download gets a blob. It ends when the blob is kept.
func (s *Storage) download(ctx context.Context, f *flight, src *source, repository, there string) error {
	size, ok := s.gaps.size(repository, f.digest)
	if !ok {
		info, err := src.Upstream.StatBlob(ctx, there, f.digest)
		if err != nil {
			return err
		}
		size = info.Size
	}
	if s.opts.MaxBlob > 0 && size > s.opts.MaxBlob {
		return errdefs.Limit("blob %s has %d bytes upstream, more than the limit of %d", f.digest, size, s.opts.MaxBlob)
	}
	r, err := src.Upstream.OpenBlob(ctx, there, f.digest, size)
	if err != nil {
		return err
	}
	defer r.Close()
	file, err := nameless(s.opts.Dir)
	if err != nil {
		return err
	}
	f.change(func() { f.file, f.size = file, size })
	kept := make(chan error, 1)
	go func() {
		// What is kept is read like any other reader does: verified, and no byte of something wrong becomes a blob.
		err := s.Storage.PutBlob(ctx, repository, ocispec.Descriptor{Digest: f.digest, Size: size}, &follower{ctx: ctx, flight: f})
		kept <- err
	}()
	err = f.fill(r, &s.counts)
	if err != nil {
		f.fail(err)
	}
	keptErr := <-kept
	switch {
	case err != nil:
		return err
	case keptErr != nil && ctx.Err() == nil:
		s.opts.Fault(fmt.Errorf("keep blob %s of %s: %w", f.digest, repository, keptErr))
	case keptErr == nil:
		s.arrived(ctx, repository, f.digest)
	}
	return nil
}

// nameless makes a file that goes with its last user.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "copy-")
	if err != nil {
		return nil, errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("keep a copy: %w", err))
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("keep a copy: %w", err))
	}
	return f, nil
}

// fill writes what comes to the file. The last byte is held back until all of them are known to be right.
func (f *flight) fill(r io.Reader, c *counts) error {
	h := f.digest.Algorithm().Hash()
	buf := make([]byte, 128<<10)
	var n int64
	for {
		m, err := r.Read(buf)
		if m > 0 {
			if n+int64(m) > f.size {
				return errdefs.Corrupt("blob %s has more than %d bytes upstream", f.digest, f.size)
			}
			if _, err := f.file.WriteAt(buf[:m], n); err != nil {
				return errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("keep a copy: %w", err))
			}
			h.Write(buf[:m])
			n += int64(m)
			c.bytes.Add(int64(m))
			f.change(func() { f.started, f.n = true, min(n, f.size-1) })
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if got := digest.NewDigest(f.digest.Algorithm(), h); n != f.size || got != f.digest {
		return errdefs.Corrupt("upstream sent %d bytes with digest %s instead of the %d of %s", n, got, f.size, f.digest)
	}
	f.change(func() { f.started, f.n = true, f.size })
	return nil
}

// begun waits until the first bytes are there, or it is known that there will be none.
func (f *flight) begun(ctx context.Context) error {
	for {
		f.mu.Lock()
		started, err, changed := f.started, f.err, f.changed
		f.mu.Unlock()
		if err != nil || started {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leave ends the use of a flight by somebody who joined it. When nobody reads it any more before half of it is there, it ends.
func (f *flight) leave() {
	f.of.mu.Lock()
	defer f.of.mu.Unlock()
	f.mu.Lock()
	early := f.n < f.size/2 || !f.started
	f.mu.Unlock()
	if f.readers--; f.readers == 0 && early && f.of.all[f.key] == f {
		delete(f.of.all, f.key) // who comes now begins anew
		f.cancel()
	}
}

// close gives the file up.
func (f *flight) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left == 0 && f.file != nil {
		f.file.Close()
	}
}

// follower reads what has come of a flight, and waits for the rest.
type follower struct {
	ctx    context.Context // that of OpenBlob: io.Reader has no room for one
	flight *flight
	offset int64
}

// Grows says that bytes may take a while to come.
func (r *follower) Grows() {}

// Size is the size of the whole.
func (r *follower) Size() int64 {
	r.flight.mu.Lock()
	defer r.flight.mu.Unlock()
	return r.flight.size
}

// Read reads on.
func (r *follower) Read(p []byte) (int, error) {
	n, err := r.some(p, r.offset)
	r.offset += int64(n)
	return n, err
}

// Seek seeks from the start or from here.
func (r *follower) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekCurrent {
		offset += r.offset
	}
	if whence == io.SeekEnd || offset < 0 || offset > r.Size() {
		return r.offset, errdefs.Invalid("seek outside of blob %s", r.flight.digest)
	}
	r.offset = offset
	return offset, nil
}

// ReadAt reads all of p, or to the end.
func (r *follower) ReadAt(p []byte, off int64) (int, error) {
	total := 0
	for total < len(p) {
		n, err := r.some(p[total:], off+int64(total))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// some reads at least one byte.
func (r *follower) some(p []byte, off int64) (int, error) {
	f := r.flight
	for {
		f.mu.Lock()
		n, size, err, changed := f.n, f.size, f.err, f.changed
		f.mu.Unlock()
		switch {
		case off >= size && n == size:
			return 0, io.EOF
		case off < n:
			m, err := f.file.ReadAt(p[:min(int64(len(p)), n-off)], off)
			if m > 0 {
				err = nil
			}
			return m, err
		case err != nil:
			return 0, err
		case len(p) == 0:
			return 0, nil
		}
		select {
		case <-changed:
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
}

// Close leaves the flight.
func (r *follower) Close() error {
	r.flight.leave()
	r.flight.close()
	return nil
}
