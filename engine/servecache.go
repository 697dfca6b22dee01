package engine

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/registry/config"
	"github.com/camada/camada/registry/proxy"
	"github.com/camada/camada/remote"
	"github.com/camada/camada/remote/auth"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// How patient a registry is with those that it copies: somebody waits for it.
const (
	upstreamTries = 3
	upstreamStall = 30 * time.Second
)

// upstream is a registry that copies are taken of.
func (s *server) upstream(c config.Cache) *upstream {
	sites := upstreamSites{cache: c}
	o := remote.Options{Tries: upstreamTries, Stall: upstreamStall, Sites: sites}
	switch {
	case c.Credentials != "":
		o.Credentials = auth.Open(auth.Options{Getenv: func(name string) string {
			if name == "REGISTRY_AUTH_FILE" {
				return c.Credentials
			}
			return s.cfg.Getenv(name)
		}})
	case c.Username != "":
		o.Credentials = oneCredential{host: sites.own("").Name, user: c.Username, file: c.PasswordFile}
	}
	return &upstream{client: remote.New(o), host: c.Host}
}

// upstreamSites are where a registry is asked.
type upstreamSites struct{ cache config.Cache }

// Sites implements remote.Sites.
func (u upstreamSites) Sites(_, repository string) ([]remote.Site, error) {
	var list []remote.Site
	for _, m := range u.cache.Mirrors {
		list = append(list, u.at(m, repository))
	}
	return append(list, u.own(repository)), nil
}

// own is the registry itself.
func (u upstreamSites) own(repository string) remote.Site {
	if u.cache.Upstream != nil {
		return u.at(u.cache.Upstream, repository)
	}
	return remote.Site{Name: u.cache.Host, Repository: repository, Source: u.cache.Prefix, Resolve: true, Pull: true, Insecure: u.cache.Insecure, Authorities: u.cache.Authorities}
}

func (u upstreamSites) at(place *url.URL, repository string) remote.Site {
	return remote.Site{Name: place.Host, Scheme: place.Scheme, Repository: path.Join(place.Path, repository), Source: u.cache.Prefix, Resolve: true, Pull: true,
		Insecure: u.cache.Insecure, Authorities: u.cache.Authorities}
}

// oneCredential is a name for one host, with a password in a file.
type oneCredential struct{ host, user, file string }

// maxPassword bounds the file.
const maxPassword = 64 << 10

// Credential implements remote.Credentials.
func (o oneCredential) Credential(_ context.Context, host string) (remote.Credential, error) {
	if host != o.host {
		return remote.Credential{}, nil
	}
	f, err := os.Open(o.file)
	if err != nil {
		return remote.Credential{}, fmt.Errorf("read the password for %s: %w", host, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPassword))
	if err != nil {
		return remote.Credential{}, fmt.Errorf("read the password for %s: %w", host, err)
	}
	return remote.Credential{Username: o.user, Password: strings.TrimRight(string(data), "\r\n")}, nil
}

// upstream implements proxy.Upstream.
type upstream struct {
	client *remote.Client
	host   string
}

var _ proxy.Upstream = (*upstream)(nil)

func (u *upstream) repository(name string) *remote.Repository {
	return u.client.Repository(reference.Reference{Host: u.host, Repository: name})
}

// Resolve tells what a tag stands for.
func (u *upstream) Resolve(ctx context.Context, repository, tag string) (ocispec.Descriptor, error) {
	return u.repository(repository).Resolve(ctx, tag)
}

// Manifest reads a manifest.
func (u *upstream) Manifest(ctx context.Context, repository string, dgst digest.Digest) (ocispec.Descriptor, []byte, error) {
	return u.repository(repository).Manifest(ctx, dgst.String())
}

// StatBlob tells how big a blob is.
func (u *upstream) StatBlob(ctx context.Context, repository string, dgst digest.Digest) (content.Info, error) {
	return u.repository(repository).Stat(ctx, dgst)
}

// OpenBlob reads a blob.
func (u *upstream) OpenBlob(ctx context.Context, repository string, dgst digest.Digest, size int64) (io.ReadCloser, error) {
	if size < 0 {
		return nil, errdefs.Invalid("blob %s: a size of %d", dgst, size)
	}
	return u.repository(repository).Open(ctx, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: dgst, Size: size})
}

// Tags lists tags.
func (u *upstream) Tags(ctx context.Context, repository string) ([]string, error) {
	return u.repository(repository).Tags(ctx, 0)
}

// Referrers lists what refers to a manifest.
func (u *upstream) Referrers(ctx context.Context, repository string, dgst digest.Digest) ([]ocispec.Descriptor, error) {
	return u.repository(repository).Referrers(ctx, dgst, "")
}
