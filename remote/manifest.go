package remote

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifestTypes are what we can read, the most wanted first.
func manifestTypes() []string {
	return []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, image.DockerManifestList, image.DockerManifest}
}

// isManifest reports whether a blob of this type lies behind the manifests endpoint.
func isManifest(mediaType string) bool {
	return image.IsIndex(mediaType) || image.IsManifest(mediaType)
}

// Resolve finds out what a tag or a digest stands for, without its bytes when the registry can tell.
// ErrNotFound when there is no such tag.
func (r *Repository) Resolve(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, error) {
	res, err := r.host.do(ctx, call{
		method: http.MethodHead, path: r.name + "/manifests/" + tagOrDigest, what: "look up " + r.called(tagOrDigest),
		header: http.Header{"Accept": manifestTypes()}, scopes: []string{r.scope("pull")},
	})
	if errdefs.IsUnsupported(err) || errdefs.IsInvalid(err) {
		desc, _, err := r.Manifest(ctx, tagOrDigest) // no HEAD here
		return desc, err
	}
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	res.Body.Close()
	desc := ocispec.Descriptor{
		MediaType: mediaType(res.Header.Get("Content-Type")),
		Digest:    digest.Digest(res.Header.Get("Docker-Content-Digest")),
		Size:      res.ContentLength,
	}
	if d := digest.Digest(tagOrDigest); d.Validate() == nil {
		desc.Digest = d
	}
	if content.CheckDigest(desc.Digest) != nil || desc.Size <= 0 || !isManifest(desc.MediaType) {
		// The specification lets a registry say less.
		desc, _, err = r.Manifest(ctx, tagOrDigest)
	}
	return desc, err
}

// called is what errors call a manifest.
func (r *Repository) called(tagOrDigest string) string {
	if strings.Contains(tagOrDigest, ":") {
		return r.name + "@" + tagOrDigest
	}
	return r.name + ":" + tagOrDigest
}

func mediaType(header string) string {
	t, _, _ := strings.Cut(header, ";")
	return strings.TrimSpace(t)
}

// Manifest reads the manifest or index of a tag or a digest. Its digest is that of the bytes; when one was
// asked for and the bytes differ, that is ErrCorrupt. More than image.MaxManifest bytes are ErrLimit.
func (r *Repository) Manifest(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, []byte, error) {
	what := "read manifest " + r.called(tagOrDigest)
	res, err := r.host.do(ctx, call{
		method: http.MethodGet, path: r.name + "/manifests/" + tagOrDigest, what: what,
		header: http.Header{"Accept": manifestTypes()}, scopes: []string{r.scope("pull")},
	})
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	defer res.Body.Close()
	fail := func(err error) (ocispec.Descriptor, []byte, error) {
		return ocispec.Descriptor{}, nil, fmt.Errorf("registry %s: %s: %w", r.Host(), what, err)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, image.MaxManifest+1))
	if err != nil {
		return fail(errdefs.With(errdefs.ErrUnavailable, err))
	}
	if len(data) > image.MaxManifest {
		return fail(errdefs.Limit("more than %d bytes", image.MaxManifest))
	}
	desc := ocispec.Descriptor{MediaType: mediaType(res.Header.Get("Content-Type")), Size: int64(len(data))}
	want := digest.Digest(tagOrDigest)
	if want.Validate() != nil {
		// Of a tag the registry says the digest; which algorithm it uses is its choice.
		want = digest.Digest(res.Header.Get("Docker-Content-Digest"))
	}
	if content.CheckDigest(want) != nil {
		desc.Digest = digest.FromBytes(data)
		return desc, data, nil
	}
	if got := want.Algorithm().FromBytes(data); got != want {
		if r.host.doubt(res) {
			return r.Manifest(ctx, tagOrDigest)
		}
		return fail(errdefs.Corrupt("the bytes have the digest %s instead of %s", got, want))
	}
	desc.Digest = want
	return desc, data, nil
}

// PutManifest stores a manifest or index under a tag, or under its digest when tag is "". A manifest
// that has a subject becomes one of the subject's referrers, also in registries that do not know of them.
func (r *Repository) PutManifest(ctx context.Context, tag string, desc ocispec.Descriptor, data []byte) error {
	at := tag
	if at == "" {
		at = desc.Digest.String()
	}
	res, err := r.host.do(ctx, call{
		method: http.MethodPut, path: r.name + "/manifests/" + at, what: "write manifest " + r.called(at),
		header: http.Header{"Content-Type": {desc.MediaType}}, scopes: []string{r.scope("pull,push")},
		body: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		size: int64(len(data)), want: []int{http.StatusCreated, http.StatusOK, http.StatusAccepted},
	})
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.Header.Get("OCI-Subject") != "" {
		return nil // the registry lists it itself
	}
	return r.direct().addReferrer(ctx, desc, data)
}
