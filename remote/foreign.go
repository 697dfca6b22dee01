package remote

import (
	"context"
	"net/http"
	"net/url"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxURLs is how many of the URLs of a foreign layer are asked.
const maxURLs = 8

// foreign are the URLs at which a layer may lie that registries need not have (OCI image-spec, descriptor.md, "urls").
func foreign(desc ocispec.Descriptor) []string {
	if !image.IsForeign(desc.MediaType) {
		return nil
	}
	return desc.URLs[:min(len(desc.URLs), maxURLs)]
}

// outside is a place that is no registry's.
type outside struct {
	host *host
	url  *url.URL
}

// elsewhere looks at the URL of a foreign layer. It comes from whoever made the image: it must not lead to what only this machine reaches, unless
// the registry is there too, and no credential is sent.
func (r *Repository) elsewhere(text string) (*outside, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return nil, errdefs.Invalid("a URL of a foreign layer is neither https:// nor http://, or has a user in it")
	}
	at := &outside{r.c.host(u.Host), u}
	if (at.host.insecure || u.Scheme == "http") && (!at.host.insecure || !r.c.host(r.Host()).insecure) {
		return nil, errdefs.Permission("%s://%s is not asked for a foreign layer", u.Scheme, u.Host)
	}
	return at, nil
}

// outside asks the URLs of a foreign layer in turn, after the registry has said missing. What none has stays missing.
func (b *blobReader) outside(ctx context.Context, c call, missing error) (*http.Response, error) {
	why := missing
	for len(b.urls) > 0 {
		at, err := b.r.elsewhere(b.urls[0])
		b.urls = b.urls[1:]
		if err == nil {
			var res *http.Response
			if res, err = at.ask(ctx, c); err == nil {
				b.away = at
				return res, nil
			}
		}
		if ctx.Err() != nil {
			return nil, err
		}
		why = errdefs.NotFound("%w; %s", why, err.Error())
	}
	return nil, why
}

// ask asks a place for what the call asks a registry for.
func (o *outside) ask(ctx context.Context, c call) (*http.Response, error) {
	c.path, c.url, c.scopes, c.open = "", o.url, nil, true
	return o.host.do(ctx, c)
}
