package remote

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Target is a repository as the place where an image goes: see transfer.Putter.
type Target struct {
	*Repository
	// Tag is what the image gets; "" leaves it without one.
	Tag string
	// Root is the manifest or index that gets the tag.
	Root ocispec.Descriptor
	// MountFrom names repositories of the same registry that have a blob; may be nil.
	MountFrom func(digest.Digest) []string
}

// Target returns the repository as a destination for root.
func (r *Repository) Target(tag string, root ocispec.Descriptor) *Target {
	return &Target{Repository: r, Tag: tag, Root: root}
}

// Have reports whether a blob or manifest is in the repository, or was put there from another one.
func (t *Target) Have(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	if isManifest(desc.MediaType) {
		at := desc.Digest.String()
		if t.Tag != "" && desc.Digest == t.Root.Digest {
			at = t.Tag
		}
		got, err := t.Resolve(ctx, at)
		return err == nil && got.Digest == desc.Digest, ignoreMissing(err)
	}
	if _, err := t.Stat(ctx, desc.Digest); err == nil || !isMissing(err) {
		return err == nil, err
	}
	if t.MountFrom == nil {
		return false, nil
	}
	for _, from := range t.MountFrom(desc.Digest) {
		ok, err := t.mount(ctx, desc.Digest, from)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// isMissing reports whether an error says that a thing is not there. A registry that makes repositories
// when they are first pushed to may say that we may not read one that is not there yet.
func isMissing(err error) bool {
	return errdefs.IsNotFound(err) || errdefs.IsPermission(err) || errdefs.IsUnsupported(err)
}

func ignoreMissing(err error) error {
	if err != nil && isMissing(err) {
		return nil
	}
	return err
}

// Put copies a blob or manifest from src into the repository.
func (t *Target) Put(ctx context.Context, src content.Provider, desc ocispec.Descriptor) error {
	if !isManifest(desc.MediaType) {
		return t.PutBlob(ctx, src, desc)
	}
	data, err := content.ReadAll(ctx, src, desc, image.MaxManifest)
	if err != nil {
		return err
	}
	tag := ""
	if desc.Digest == t.Root.Digest {
		tag = t.Tag
	}
	return t.PutManifest(ctx, tag, desc, data)
}

// mount asks for a blob of another repository of the registry ("Mounting a blob from another repository").
// A registry that does not do so begins an upload, which is given up.
func (r *Repository) mount(ctx context.Context, dgst digest.Digest, from string) (bool, error) {
	res, err := r.host.do(ctx, call{
		method: http.MethodPost, what: "mount blob " + dgst.String() + " from " + from,
		path:   r.name + "/blobs/uploads/?mount=" + url.QueryEscape(dgst.String()) + "&from=" + url.QueryEscape(from),
		scopes: []string{r.scope("pull,push"), "repository:" + from + ":pull"},
		want:   []int{http.StatusCreated, http.StatusAccepted},
	})
	if err != nil {
		return false, ignoreMissing(err)
	}
	res.Body.Close()
	if res.StatusCode == http.StatusCreated {
		return true, nil
	}
	if u, err := r.location(res); err == nil {
		if res, err := r.host.do(ctx, call{method: http.MethodDelete, url: u, what: "give up an upload", once: true,
			scopes: []string{r.scope("pull,push")}, want: []int{http.StatusNoContent, http.StatusOK}}); err == nil {
			res.Body.Close()
		}
	}
	return false, nil
}

// location is where an upload goes on: absolute, or relative to the request (RFC 9110, 10.2.2).
func (r *Repository) location(res *http.Response) (*url.URL, error) {
	u, err := res.Location()
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errdefs.Invalid("registry %s: it does not say where the upload goes on", r.Host())
	}
	if u.Scheme == "http" && res.Request.URL.Scheme == "https" {
		if u.Host != res.Request.URL.Host {
			return nil, errdefs.Permission("registry %s: the upload leads from https to http", r.Host())
		}
		u.Scheme = "https" // behind a proxy that ends TLS
	}
	return u, nil
}

// PutBlob uploads a blob from src, whether it is there or not. The whole upload is made again when it breaks.
func (r *Repository) PutBlob(ctx context.Context, src content.Provider, desc ocispec.Descriptor) error {
	for try := 0; ; try++ {
		err := r.upload(ctx, src, desc)
		if err == nil || !errdefs.IsUnavailable(err) || ctx.Err() != nil || try+1 >= r.c.opts.Tries {
			return err
		}
		if err := r.c.pause(ctx, try, 0); err != nil {
			return err
		}
	}
}

func (r *Repository) upload(ctx context.Context, src content.Provider, desc ocispec.Descriptor) error {
	what := "write blob " + desc.Digest.String()
	scopes := []string{r.scope("pull,push")}
	res, err := r.host.do(ctx, call{method: http.MethodPost, path: r.name + "/blobs/uploads/", what: what, scopes: scopes, want: []int{http.StatusAccepted}})
	if err != nil {
		return err
	}
	res.Body.Close()
	u, err := r.location(res)
	if err != nil {
		return err
	}
	end := call{method: http.MethodPut, what: what, scopes: scopes, once: true, want: []int{http.StatusCreated, http.StatusOK, http.StatusNoContent}}
	end.header = http.Header{"Content-Type": {"application/octet-stream"}}
	from := &source{src: src, desc: desc}
	if n := r.c.opts.ChunkSize; n > 0 {
		if u, err = r.chunks(ctx, u, from, n); err != nil {
			return from.blame(err)
		}
	} else {
		end.size, end.body = desc.Size, func(ctx context.Context) (io.ReadCloser, error) { return from.part(ctx, 0, desc.Size) }
	}
	q := u.Query()
	q.Set("digest", desc.Digest.String())
	u.RawQuery = q.Encode()
	end.url = u
	if res, err = r.host.do(ctx, end); err != nil {
		return from.blame(err)
	}
	return res.Body.Close()
}

// chunks uploads the bytes in pieces of n bytes ("Pushing a blob in chunks"), and returns where to end the upload.
func (r *Repository) chunks(ctx context.Context, u *url.URL, from *source, n int64) (*url.URL, error) {
	for off := int64(0); off < from.desc.Size; off += n {
		size := min(n, from.desc.Size-off)
		res, err := r.host.do(ctx, call{
			method: http.MethodPatch, url: u, what: "write blob " + from.desc.Digest.String(), scopes: []string{r.scope("pull,push")}, once: true,
			header: http.Header{"Content-Type": {"application/octet-stream"}, "Content-Range": {fmt.Sprintf("%d-%d", off, off+size-1)}},
			size:   size, want: []int{http.StatusAccepted, http.StatusNoContent},
			body: func(ctx context.Context) (io.ReadCloser, error) { return from.part(ctx, off, size) },
		})
		if err != nil {
			return nil, err
		}
		res.Body.Close()
		if u, err = r.location(res); err != nil {
			return nil, err
		}
	}
	return u, nil
}

// source opens a blob for an upload and keeps its error, which net/http would take for the connection's.
type source struct {
	src  content.Provider
	desc ocispec.Descriptor
	err  error
}

func (s *source) part(ctx context.Context, off, size int64) (io.ReadCloser, error) {
	s.err = nil
	r, err := s.src.Open(ctx, s.desc)
	if err != nil {
		s.err = err
		return nil, err
	}
	return &part{Reader: io.LimitReader(skipTo(r, off), size), closer: r, s: s}, nil
}

// skipTo returns a reader of r's bytes from off on.
func skipTo(r content.Reader, off int64) io.Reader {
	if off == 0 {
		return r
	}
	return io.NewSectionReader(r, off, r.Size()-off)
}

func (s *source) blame(err error) error {
	if s.err != nil {
		return s.err
	}
	return err
}

type part struct {
	io.Reader
	closer io.Closer
	s      *source
}

func (p *part) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // the end is the bare value
		p.s.err = err
	}
	return n, err
}

func (p *part) Close() error { return p.closer.Close() }
