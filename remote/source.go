package remote

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/camada/camada/content"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// source opens a blob for an upload and keeps its error, which net/http would take for the connection's.
type source struct {
	src  content.Provider
	desc ocispec.Descriptor

	mu  sync.Mutex // net/http reads in goroutines of its own
	now *part
	err error
}

// failed is the error of the part that was opened last.
func (s *source) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail keeps an error of p, unless another part was opened meanwhile.
func (s *source) fail(p *part, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == p {
		s.err = err
	}
}

// part opens size bytes from off on.
func (s *source) part(ctx context.Context, off, size int64) (io.ReadCloser, error) {
	p := &part{s: s}
	s.mu.Lock()
	s.now, s.err = p, nil
	s.mu.Unlock()
	r, err := s.src.Open(ctx, s.desc)
	if err != nil {
		s.fail(p, err)
		return nil, err
	}
	from, err := skipTo(r, off)
	if err != nil {
		s.fail(p, err)
		return nil, errors.Join(err, r.Close())
	}
	p.Reader, p.closer = io.LimitReader(from, size), r
	return p, nil
}

// skipTo returns a reader of r's bytes from off on.
func skipTo(r content.Reader, off int64) (io.Reader, error) {
	if off == 0 {
		return r, nil
	}
	if s, ok := r.(io.Seeker); ok {
		_, err := s.Seek(off, io.SeekStart)
		if err == nil || !errors.Is(err, errors.ErrUnsupported) {
			return r, err
		}
	}
	return io.NewSectionReader(r, off, r.Size()-off), nil
}

// blame returns the source's error instead of the connection's, when it has one.
func (s *source) blame(err error) error {
	if own := s.failed(); own != nil {
		return own
	}
	return err
}

// part is a piece of a blob on its way.
type part struct {
	io.Reader
	closer io.Closer
	s      *source
}

func (p *part) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // the end is the bare value
		p.s.fail(p, err)
	}
	return n, err
}

func (p *part) Close() error { return p.closer.Close() }
