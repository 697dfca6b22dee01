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
	"time"

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
	return &blobReader{ctx: ctx, r: r, digest: desc.Digest, size: size, stop: size, urls: foreign(desc)}, nil
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
	// offset is where the next Read begins, stop where the last one ends, and until where the request under way ends.
	offset, stop, until int64
	body                io.ReadCloser
	skip                int64    // bytes of it that come before offset
	patience            patience // for tries in a row that bring nothing
	// wide is not nil while several requests are under way. narrow is set when one has to be enough; strict, when a registry that does not take
	// ranges is of no use.
	wide           *wide
	narrow, strict bool
	// waited is how long the first bytes took.
	waited time.Duration
	// urls are where else it may be, and away the one that has it; nil is the registry.
	urls []string
	away *outside
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
		b.offset, b.until = offset, 0
	}
	return offset, nil
}

// Read reads on, and asks again for the rest when the connection breaks.
func (b *blobReader) Read(p []byte) (int, error) {
	for {
		if b.offset >= b.stop {
			return 0, b.end()
		}
		if b.wide != nil {
			n, err := b.wide.Read(p)
			b.offset += int64(n)
			if n > 0 {
				return n, nil
			}
			if b.Close(); b.ctx.Err() != nil {
				return 0, b.fail(err)
			}
			b.narrow = true // one request goes on, and tells what is wrong
		}
		if b.body != nil && b.offset == b.until {
			b.choose()
			continue
		}
		if b.body == nil {
			if err := b.ask(); err != nil {
				return 0, err
			}
		}
		begun := time.Now()
		n, err := b.read(p[:min(int64(len(p)), b.until-b.offset)])
		b.waited += time.Since(begun)
		b.offset += int64(n)
		if n > 0 {
			b.patience.failed = 0
			return n, nil // an error comes again
		}
		if err == nil {
			return 0, nil
		}
		b.Close()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err = b.fail(err); b.ctx.Err() != nil {
			return 0, err
		}
		if b.patience.tries == 0 {
			b.patience.tries = b.r.c.opts.Tries
		}
		if err := b.r.c.wait(b.ctx, &b.patience, b.r.Host(), err); err != nil {
			return 0, err
		}
	}
}

// read reads on in the answer, and passes over what was not asked for: a registry may send all when a part was asked for.
func (b *blobReader) read(p []byte) (int, error) {
	if b.skip > 0 {
		n, err := io.CopyN(io.Discard, b.body, b.skip)
		if b.skip -= n; err != nil {
			return 0, err
		}
	}
	return b.body.Read(p)
}

// ask begins a request: for all the rest, or for the first part of a big blob, to see how fast it comes.
func (b *blobReader) ask() error {
	if b.until <= b.offset {
		b.until, b.waited = b.stop, 0
		if t := b.r.c.tuning; !b.narrow && b.stop-b.offset >= t.least {
			b.until = b.offset + t.first
		}
	}
	for {
		res, err := b.request()
		if err != nil {
			return err
		}
		skip, err := b.begins(res)
		if err == nil {
			b.body, b.skip = res.Body, skip
			return nil
		}
		res.Body.Close()
		if !errdefs.IsCorrupt(err) || !b.r.host.doubt(res) {
			return err
		}
	}
}

// request asks for the bytes from offset up to until.
func (b *blobReader) request() (*http.Response, error) {
	c := call{
		method: http.MethodGet, path: b.r.name + "/blobs/" + b.digest.String(), what: "read blob " + b.digest.String(),
		scopes: []string{b.r.scope("pull")}, want: []int{http.StatusOK, http.StatusPartialContent},
	}
	if b.offset > 0 || b.until < b.size {
		c.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", b.offset, b.until-1)}}
	}
	if b.away != nil {
		return b.away.ask(b.ctx, c)
	}
	res, err := b.r.host.do(b.ctx, c)
	if errdefs.IsNotFound(err) && len(b.urls) > 0 {
		return b.outside(b.ctx, c, err)
	}
	return res, err
}

// begins looks whether an answer is of the blob, and how many of its bytes come before what is wanted.
func (b *blobReader) begins(res *http.Response) (skip int64, err error) {
	total := res.ContentLength
	if res.StatusCode == http.StatusPartialContent {
		start, all, ok := rangeStart(res.Header.Get("Content-Range"))
		if !ok || start > b.offset {
			return 0, errdefs.Corrupt("registry %s: blob %s: the answer is another range than the one asked for", b.r.Host(), b.digest)
		}
		total, skip = all, b.offset-start
	} else {
		if b.strict {
			return 0, errdefs.Unsupported("registry %s: it does not take ranges of blobs", b.r.Host())
		}
		skip, b.until, b.narrow = b.offset, b.stop, true
	}
	if total >= 0 && total != b.size {
		return 0, errdefs.Corrupt("registry %s: blob %s has %d bytes instead of %d", b.r.Host(), b.digest, total, b.size)
	}
	return skip, nil
}

// choose goes on after the first part: with one request when that is fast enough, or with several.
func (b *blobReader) choose() {
	t := b.r.c.tuning
	slow := float64(t.first) < t.below*b.waited.Seconds()
	b.Close()
	if slow {
		b.wide = newWide(b, b.offset)
	}
	b.narrow = true
}

func (b *blobReader) fail(err error) error {
	return fmt.Errorf("registry %s: read blob %s at %d of %d bytes: %w", b.r.Host(), b.digest, b.offset, b.size, b.class(err))
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
	part := &blobReader{ctx: b.ctx, r: b.r, digest: b.digest, size: b.size, offset: off, stop: min(b.size, off+int64(len(p))), narrow: true, urls: b.urls, away: b.away}
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

// Close ends the requests under way.
func (b *blobReader) Close() error {
	if b.wide != nil {
		b.wide.close()
		b.wide = nil
	}
	if b.body == nil {
		return nil
	}
	err := b.body.Close()
	b.body = nil
	return err
}

// rangeStart reads the first number of "bytes 10-20/30", and the last one, which is -1 when it is not known.
func rangeStart(v string) (start, total int64, ok bool) {
	v, ok = strings.CutPrefix(v, "bytes ")
	first, rest, found := strings.Cut(v, "-")
	start, err := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	_, all, _ := strings.Cut(rest, "/")
	total, allErr := strconv.ParseInt(strings.TrimSpace(all), 10, 64)
	if allErr != nil || total < 0 {
		total = -1
	}
	return start, total, ok && found && err == nil && start >= 0
}
