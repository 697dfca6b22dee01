package delta

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// spool is a file without a name, which is gone when it is closed or its process dies.
type spool struct {
	f    *os.File
	size int64
	buf  []byte
}

// newSpool makes a spool in a directory.
func newSpool(dir string) (*spool, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return &spool{f: os.NewFile(uintptr(fd), "spool")}, nil
	}
	f, err := os.CreateTemp(dir, "delta-*")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	return &spool{f: f}, nil
}

// spoolBuffer is how much is written at once.
const spoolBuffer = 256 << 10

// Write appends.
func (s *spool) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if s.buf == nil {
			s.buf = make([]byte, 0, spoolBuffer)
		}
		n := min(cap(s.buf)-len(s.buf), len(rest))
		s.buf = append(s.buf, rest[:n]...)
		rest, s.size = rest[n:], s.size+int64(n)
		if len(s.buf) == cap(s.buf) {
			if err := s.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (s *spool) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.f.WriteAt(s.buf, s.size-int64(len(s.buf)))
	s.buf = s.buf[:0]
	if err != nil {
		return fmt.Errorf("write a temporary file: %w", err)
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if err := s.flush(); err != nil {
		return 0, err
	}
	return s.f.ReadAt(p, off)
}

// section reads a piece.
func (s *spool) section(at Range) *io.SectionReader {
	return io.NewSectionReader(s, at.Offset, at.Length)
}

// Close removes the file.
func (s *spool) Close() error { return s.f.Close() }

// truncate drops what was written after the first n bytes.
func (s *spool) truncate(n int64) {
	if s.flush() == nil && s.f.Truncate(n) == nil {
		s.size = n
	}
}
