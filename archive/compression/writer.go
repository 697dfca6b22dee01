package compression

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/camada/camada/errdefs"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// What shapes the compressed bytes. To change one of these is to change the
// digest of every layer: it belongs into the release notes.
const (
	// gzipLevel 2 takes the time of level 1 and makes less; level 6 is two and
	// a half times as slow for a tenth less.
	gzipLevel = 2
	// gzipBlock is how much one core compresses at a time, with the 32 KiB
	// before it as its dictionary.
	gzipBlock = 512 << 10
	zstdLevel = zstd.SpeedDefault
	// zstdWindow is what any decoder has to be able to hold (RFC 8878, 3.1.1.1.2).
	zstdWindow = 8 << 20
)

// How much is under way at once. It does not shape the bytes.
const (
	gzipBlocks  = 4
	zstdThreads = 2
)

// NewWriter returns a writer that compresses into w; None, Gzip and Zstd are
// supported. Close ends the stream and does not close w; it has to be called on
// errors too, because goroutines work for the writer.
func NewWriter(w io.Writer, a Algorithm) (io.WriteCloser, error) { return new(Pool).NewWriter(w, a) }

// Pool makes writers and keeps what closed ones needed for the next: the tables and buffers of a gzip writer take megabytes, which cost more
// than the compression of a small layer. The zero value is ready. Many goroutines may use one Pool.
type Pool struct {
	mu   sync.Mutex
	gzip []*pgzip.Writer
}

// kept is how many writers a Pool keeps.
const kept = 2

// NewWriter is the function NewWriter.
func (p *Pool) NewWriter(w io.Writer, a Algorithm) (io.WriteCloser, error) {
	switch a {
	case None:
		return plainWriter{w}, nil
	case Gzip:
		out := &patient{w: w}
		z, err := p.pgzip(out)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return &gzipWriter{z, out, p}, nil
	case Zstd:
		z, err := zstd.NewWriter(w,
			zstd.WithEncoderLevel(zstdLevel),
			zstd.WithWindowSize(zstdWindow),
			zstd.WithEncoderConcurrency(zstdThreads),
			zstd.WithEncoderCRC(true),
			zstd.WithZeroFrames(true))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return z, nil
	}
	return nil, errdefs.Unsupported("compress with %q", a)
}

// pgzip returns a kept writer, or a new one.
func (p *Pool) pgzip(out io.Writer) (z *pgzip.Writer, err error) {
	p.mu.Lock()
	if last := len(p.gzip) - 1; last >= 0 {
		z, p.gzip = p.gzip[last], p.gzip[:last]
	}
	p.mu.Unlock()
	if z != nil {
		z.Reset(out)
	} else if z, err = pgzip.NewWriterLevel(out, gzipLevel); err != nil {
		return nil, err
	}
	z.OS = 255 // unknown: the library's default, pinned
	// Reset forgets it.
	return z, z.SetConcurrency(gzipBlock, gzipBlocks)
}

func (p *Pool) keep(z *pgzip.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.gzip) < kept {
		p.gzip = append(p.gzip, z)
	}
}

// gzipWriter tells of the failures that patient keeps.
type gzipWriter struct {
	z    *pgzip.Writer
	out  *patient
	pool *Pool // nil once it is closed
}

func (g *gzipWriter) Write(p []byte) (int, error) {
	if err := g.out.failure(); err != nil {
		return 0, err
	}
	return g.z.Write(p)
}

func (g *gzipWriter) Close() error {
	if g.pool == nil {
		return nil
	}
	err := g.z.Close()
	if err == nil {
		g.pool.keep(g.z)
	}
	g.pool = nil
	if failure := g.out.failure(); failure != nil {
		return failure
	}
	return err
}

// patient hides a failing writer from pgzip, whose goroutines do not end when it sees one.
type patient struct {
	w   io.Writer
	err atomic.Pointer[error]
}

func (p *patient) Write(b []byte) (int, error) {
	if p.err.Load() == nil {
		if _, err := p.w.Write(b); err != nil {
			p.err.Store(&err)
		}
	}
	return len(b), nil
}

func (p *patient) failure() error {
	if err := p.err.Load(); err != nil {
		return *err
	}
	return nil
}

type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }
