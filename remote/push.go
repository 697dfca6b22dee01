package remote

import (
	"context"
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
	return &Target{Repository: r.direct(), Tag: tag, Root: root}
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
// A registry that does not do so begins an upload, which is given up. One that fails is not asked for long: the upload that follows says what is wrong.
func (r *Repository) mount(ctx context.Context, dgst digest.Digest, from string) (bool, error) {
	res, err := r.host.do(ctx, call{
		method: http.MethodPost, what: "mount blob " + dgst.String() + " from " + from,
		path:   r.name + "/blobs/uploads/?mount=" + url.QueryEscape(dgst.String()) + "&from=" + url.QueryEscape(from),
		scopes: []string{r.scope("pull,push"), "repository:" + from + ":pull"},
		want:   []int{http.StatusCreated, http.StatusAccepted}, tries: 2,
	})
	if err != nil {
		return false, ctx.Err()
	}
	res.Body.Close()
	if res.StatusCode == http.StatusCreated {
		return true, nil
	}
	if u, err := r.location(res); err == nil {
		r.giveUp(ctx, u)
	}
	return false, nil
}

// giveUp ends an upload of which nothing will come. A registry that does not do so removes it some day.
func (r *Repository) giveUp(ctx context.Context, u *url.URL) {
	res, err := r.host.do(ctx, call{method: http.MethodDelete, url: u, what: "give up an upload", tries: 3,
		scopes: []string{r.scope("pull,push")}, want: []int{http.StatusNoContent, http.StatusOK, http.StatusAccepted}})
	if err == nil {
		res.Body.Close()
	}
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
