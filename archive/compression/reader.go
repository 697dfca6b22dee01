package compression

import (
	"bufio"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/camada/camada/errdefs"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

const (
	defaultMaxBytes = 256 << 30
	// defaultMaxRatio is above what deflate can reach (1032), so that no gzip of
	// an honest file is refused.
	defaultMaxRatio = 1100
	// ratioAfter is how much may come out before the ratio counts: a few
	// bytes that become a few megabytes of zeros do no harm.
	ratioAfter = 4 << 30
	// maxWindow bounds the memory that a zstd or xz stream can ask for.
	maxWindow = 128 << 20
)

// Limits bound what a stream may become. The zero value has the defaults.
type Limits struct {
	// MaxBytes that come out; 0 means 256 GiB.
	MaxBytes int64
	// MaxRatio of bytes out to bytes in, once RatioAfter bytes came out; 0 means
	// 1100, which is more than gzip can reach.
	MaxRatio int64
	// RatioAfter is how many bytes may come out before MaxRatio counts; 0 means 4 GiB.
	RatioAfter int64
}

// NewReader detects the compression of r and returns the decompressed stream.
// Decompression runs ahead in a goroutine. Malformed or truncated input is ErrCorrupt, more
// than the limits allow is ErrLimit, and an error of r is returned as it is.
// Close has to be called; it waits for a Read of r that is under way and does not close r.
func NewReader(r io.Reader, limits Limits) (io.ReadCloser, error) {
	src := &source{r: r}
	br := bufio.NewReaderSize(src, 64<<10)
	head, err := br.Peek(DetectLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("detect compression: %w", err)
	}
	alg := Detect(head)
	lim := newLimiter(alg, src, limits)
	if alg == None {
		lim.r = br
		return io.NopCloser(lim), nil
	}
	dec, done, err := decoder(alg, br)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, src.classify(alg, err)
	}
	lim.r = dec
	return newAhead(lim, done), nil
}

// decoder opens the decoder of an algorithm; done releases it.
func decoder(alg Algorithm, br *bufio.Reader) (r io.Reader, done func(), err error) {
	switch alg {
	case Gzip:
		r, err = gzip.NewReader(br)
	case Zstd:
		var z *zstd.Decoder
		z, err = zstd.NewReader(br,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			return z, z.Close, nil
		}
	case Bzip2:
		r = bzip2.NewReader(br)
	case XZ:
		r, err = xz.NewReader(br, maxWindow)
	}
	return r, func() {}, err
}

// source counts what is read and remembers the reader's own error, so that
// it is not taken for a malformed stream.
type source struct {
	r   io.Reader
	n   int64
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// classify tells an error of the source from one of the decoder.
func (s *source) classify(alg Algorithm, err error) error {
	switch {
	case err == io.EOF: //nolint:errorlint // only the bare value is the end
		return err
	case s.err != nil:
		return s.err
	case errdefs.IsLimit(err) || errdefs.IsUnsupported(err):
		return fmt.Errorf("decompress %s: %w", alg, err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return errdefs.Limit("decompress zstd: window bigger than %d bytes: %w", maxWindow, err)
	case errors.Is(err, xz.ErrMemlimit):
		return errdefs.Limit("decompress xz: dictionary bigger than %d bytes: %w", maxWindow, err)
	case errors.Is(err, xz.ErrOptions) || errors.Is(err, xz.ErrUnsupportedCheck):
		return errdefs.Unsupported("decompress xz: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errdefs.Corrupt("decompress %s: truncated after %d bytes: %w", alg, s.n, err)
	}
	return errdefs.Corrupt("decompress %s: after %d bytes: %w", alg, s.n, err)
}

// limiter ends a stream that becomes too much.
type limiter struct {
	r      io.Reader
	alg    Algorithm
	src    *source
	limits Limits
	n      int64
}

func newLimiter(alg Algorithm, src *source, l Limits) *limiter {
	if l.MaxBytes == 0 {
		l.MaxBytes = defaultMaxBytes
	}
	if l.MaxRatio == 0 {
		l.MaxRatio = defaultMaxRatio
	}
	if l.RatioAfter == 0 {
		l.RatioAfter = ratioAfter
	}
	return &limiter{alg: alg, src: src, limits: l}
}

func (l *limiter) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.n += int64(n)
	if l.n > l.limits.MaxBytes {
		return 0, errdefs.Limit("decompress %s: more than %d bytes come out", l.alg, l.limits.MaxBytes)
	}
	if l.n > l.limits.RatioAfter && l.n/l.limits.MaxRatio > l.src.n {
		return 0, errdefs.Limit("decompress %s: %d bytes become more than %d", l.alg, l.src.n, l.n-1)
	}
	if err != nil {
		err = l.src.classify(l.alg, err)
	}
	return n, err
}
