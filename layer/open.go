package layer

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"io"

	"github.com/camada/camada/archive/compression"
	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// OpenOptions shape the reading of a layer.
type OpenOptions struct {
	// Verified says that the provider's blob is known to have its digest, which is then not
	// computed again. Size and diffID are checked all the same.
	Verified bool
	// MaxBytes is how big the uncompressed tar may be; 0 means the default of archive/compression.
	MaxBytes int64
}

// Open opens the uncompressed tar of a layer. At its end the reader returns io.EOF
// only if the blob had the descriptor's size and digest and the tar the diffID ("" is
// not checked; when it is the descriptor's digest, the tar's is all that is summed); ErrCorrupt otherwise: whoever reads less than all has verified nothing. The media
// types of OCI and Docker are accepted, others are ErrUnsupported.
//
// The compression is told from the bytes, because images exist whose media type
// is wrong about it. Reading, hashing the blob and decompressing happen in a
// goroutine of their own. The caller closes the reader.
func Open(ctx context.Context, p content.Provider, desc ocispec.Descriptor, diffID digest.Digest, opts OpenOptions) (io.ReadCloser, error) {
	if _, err := compression.FromMediaType(desc.MediaType); err != nil {
		return nil, fmt.Errorf("open layer %s: %w", desc.Digest, err)
	}
	blobSum, err := hasher(desc.Digest)
	if err != nil {
		return nil, fmt.Errorf("open layer: %w", err)
	}
	if opts.Verified || diffID == desc.Digest { // of a blob that is the tar itself one sum says all
		blobSum = nil
	}
	tarSum, err := hasher(diffID)
	if err != nil {
		return nil, fmt.Errorf("open layer %s: diffID: %w", desc.Digest, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	blob, err := p.Open(ctx, desc)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open layer %s: %w", desc.Digest, err)
	}
	src := &checked{what: "layer", r: &source{ctx.Err, blob}, sum: blobSum, want: desc.Digest, size: desc.Size}
	tar, err := compression.NewReader(src, compression.Limits{MaxBytes: opts.MaxBytes})
	if err != nil {
		cancel()
		blob.Close()
		return nil, fmt.Errorf("open layer %s: %w", desc.Digest, err)
	}
	return &reader{
		checked: checked{what: "uncompressed layer", r: &drained{tar, src}, sum: tarSum, want: diffID, size: -1},
		tar:     tar, blob: blob, cancel: cancel,
	}, nil
}

// hasher returns the hash of a digest's algorithm; nil for no digest.
func hasher(d digest.Digest) (hash.Hash, error) {
	if d == "" {
		return nil, nil
	}
	if err := d.Validate(); err != nil {
		return nil, errdefs.Invalid("digest %q: %w", d, err)
	}
	switch d.Algorithm() {
	case digest.SHA256:
		return sha256.New(), nil
	case digest.SHA512:
		return sha512.New(), nil
	}
	return nil, errdefs.Unsupported("digest %q: unknown algorithm", d)
}

// reader is what Open returns.
type reader struct {
	checked
	tar    io.Closer
	blob   io.Closer
	cancel context.CancelFunc
}

// Close ends the reading. It does not verify.
func (r *reader) Close() error {
	r.cancel()
	r.tar.Close() //nolint:errcheck // stops a goroutine, cannot fail
	return r.blob.Close()
}

// source reads a blob until the context ends.
type source struct {
	alive func() error
	r     io.Reader
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.alive(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// drained reads src to its end after r has ended: what follows the
// compressed stream belongs to the blob and its digest too.
type drained struct {
	r   io.Reader
	src io.Reader
}

func (d *drained) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err == io.EOF { //nolint:errorlint // the end is the bare value
		if _, err := io.Copy(io.Discard, d.src); err != nil {
			return n, err
		}
	}
	return n, err
}

// checked reads r and compares size and digest at the end.
type checked struct {
	what string
	r    io.Reader
	sum  hash.Hash // nil: no digest to compare
	want digest.Digest
	size int64 // -1 or 0: unknown
	n    int64
	done error
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	if c.done != nil {
		return 0, c.done
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.size > 0 && c.n > c.size {
		c.done = errdefs.Corrupt("%s %s: longer than its %d bytes", c.what, c.want, c.size)
		return 0, c.done
	}
	if c.sum != nil {
		c.sum.Write(p[:n]) //nolint:errcheck // a hash never fails
	}
	if err == io.EOF { //nolint:errorlint // the end is the bare value
		err = c.verify()
	}
	c.done = err
	return n, err
}

// verify returns io.EOF when all is as promised.
func (c *checked) verify() error {
	if c.size > 0 && c.n != c.size {
		return errdefs.Corrupt("%s %s: %d bytes, want %d", c.what, c.want, c.n, c.size)
	}
	if c.sum == nil {
		return io.EOF
	}
	if got := digest.NewDigest(c.want.Algorithm(), c.sum); got != c.want {
		return errdefs.Corrupt("%s %s: the digest is %s", c.what, c.want, got)
	}
	return io.EOF
}
