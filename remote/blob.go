package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var (
	_ content.Provider = (*Repository)(nil)
	_ content.Statter  = (*Repository)(nil)
)

// Open implements content.Provider. Manifests are read and verified at once. Of a blob nothing is
// asked before the first Read, so a blob that is not there shows only then, with ErrNotFound. The reader is an io.Seeker too: reading
// goes on anywhere, with one request for each place. It lives as long as ctx.
func (r *Repository) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	if err := content.CheckDigest(desc.Digest); err != nil {
		return nil, err
	}
	if isManifest(desc.MediaType) {
		got, data, err := r.Manifest(ctx, desc.Digest.String())
		if err != nil {
			return nil, err
		}
		if desc.Size > 0 && got.Size != desc.Size {
			return nil, errdefs.Corrupt("registry %s: manifest %s has %d bytes instead of %d", r.Host(), desc.Digest, got.Size, desc.Size)
		}
		return manifestReader{bytes.NewReader(data)}, nil
	}
	size := desc.Size
	if size <= 0 {
		info, err := r.Stat(ctx, desc.Digest)
		if err != nil {
			return nil, err
		}
		size = info.Size
	}
	return &blobReader{ctx: ctx, r: r, digest: desc.Digest, size: size, stop: size}, nil
}

// Stat implements content.Statter for blobs; manifests are found by Resolve.
func (r *Repository) Stat(ctx context.Context, dgst digest.Digest) (content.Info, error) {
	res, err := r.host.do(ctx, call{
		method: http.MethodHead, path: r.name + "/blobs/" + dgst.String(), what: "look up blob " + dgst.String(),
		scopes: []string{r.scope("pull")},
	})
	if err != nil {
		return content.Info{}, err
	}
	res.Body.Close()
	if res.ContentLength < 0 {
		return content.Info{}, errdefs.Unsupported("registry %s: it does not tell the size of blob %s", r.Host(), dgst)
	}
	return content.Info{Digest: dgst, Size: res.ContentLength}, nil
}

// manifestReader reads a manifest from memory.
type manifestReader struct{ *bytes.Reader }

func (manifestReader) Close() error { return nil }

// blobReader reads a blob, in as many requests as it takes.
type blobReader struct {
	ctx    context.Context // that of Open: io.Reader has no room for one
	r      *Repository
	digest digest.Digest
	size   int64
	// offset is where the next Read begins, stop where the last one ends.
	offset, stop int64
	body         io.ReadCloser
	failed       int // tries in a row that brought nothing
}

func (b *blobReader) Size() int64 { return b.size }

// Seek implements io.Seeker; only from the start and from here.
func (b *blobReader) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekCurrent {
		offset += b.offset
	}
	if whence == io.SeekEnd || offset < 0 || offset > b.size {
		return b.offset, errdefs.Invalid("seek in blob %s: outside of it", b.digest)
	}
	if offset != b.offset {
		b.Close()
		b.offset = offset
	}
	return offset, nil
}

// Read reads on, and asks again for the rest when the connection breaks.
func (b *blobReader) Read(p []byte) (int, error) {
	for {
		if b.offset >= b.stop {
			return 0, b.end()
		}
		if b.body == nil {
			body, err := b.r.rangeOf(b.ctx, b.digest, b.offset, b.stop, b.size)
			if err != nil {
				return 0, err
			}
			b.body = body
		}
		n, err := b.body.Read(p)
		b.offset += int64(n)
		if n > 0 {
			b.failed = 0
			return n, nil // an error comes again
		}
		if err == nil {
			return 0, nil
		}
		b.Close()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if b.failed++; b.ctx.Err() != nil || b.failed >= b.r.c.opts.Tries {
			return 0, fmt.Errorf("registry %s: read blob %s at %d of %d bytes: %w", b.r.Host(), b.digest, b.offset, b.size, b.class(err))
		}
		if err := b.r.c.pause(b.ctx, b.failed-1, 0); err != nil {
			return 0, err
		}
	}
}

// end is what follows the last byte: nothing, unless the registry has more than there should be.
func (b *blobReader) end() error {
	if b.body == nil || b.stop < b.size {
		return io.EOF
	}
	var one [1]byte
	n, _ := io.ReadFull(b.body, one[:])
	b.Close()
	if n > 0 {
		return errdefs.Corrupt("registry %s: blob %s is longer than its %d bytes", b.r.Host(), b.digest, b.size)
	}
	return io.EOF
}

func (b *blobReader) class(err error) error {
	if cause := context.Cause(b.ctx); cause != nil {
		return cause
	}
	return errdefs.With(errdefs.ErrUnavailable, err)
}

// ReadAt makes a request of its own.
func (b *blobReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= b.size {
		return 0, io.EOF
	}
	part := &blobReader{ctx: b.ctx, r: b.r, digest: b.digest, size: b.size, offset: off, stop: min(b.size, off+int64(len(p)))}
	defer part.Close()
	n := 0
	for part.offset < part.stop {
		m, err := part.Read(p[n : n+int(part.stop-part.offset)])
		n += m
		if err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close ends the request under way.
func (b *blobReader) Close() error {
	if b.body == nil {
		return nil
	}
	err := b.body.Close()
	b.body = nil
	return err
}

// rangeOf asks for the bytes from offset up to end of a blob of size bytes.
func (r *Repository) rangeOf(ctx context.Context, dgst digest.Digest, offset, end, size int64) (io.ReadCloser, error) {
	c := call{
		method: http.MethodGet, path: r.name + "/blobs/" + dgst.String(), what: "read blob " + dgst.String(),
		scopes: []string{r.scope("pull")}, want: []int{http.StatusOK, http.StatusPartialContent},
	}
	if offset > 0 || end < size {
		c.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", offset, end-1)}}
	}
	res, err := r.host.do(ctx, c)
	if err != nil {
		return nil, err
	}
	skip := offset
	if res.StatusCode == http.StatusPartialContent {
		start, ok := rangeStart(res.Header.Get("Content-Range"))
		if !ok || start > offset {
			res.Body.Close()
			return nil, errdefs.Corrupt("registry %s: blob %s: the answer is another range than the one asked for", r.Host(), dgst)
		}
		skip = offset - start
	}
	// A registry may send all when a part was asked for.
	if _, err := io.CopyN(io.Discard, res.Body, skip); err != nil {
		res.Body.Close()
		return nil, errdefs.With(errdefs.ErrUnavailable, fmt.Errorf("registry %s: read blob %s: %w", r.Host(), dgst, err))
	}
	return res.Body, nil
}

// rangeStart reads the first number of "bytes 10-20/30".
func rangeStart(v string) (int64, bool) {
	v, ok := strings.CutPrefix(v, "bytes ")
	first, _, found := strings.Cut(v, "-")
	n, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	return n, ok && found && err == nil && n >= 0
}
