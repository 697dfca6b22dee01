// Package remote speaks to registries: it is a client of the OCI distribution
// specification 1.1.
//
//	c := remote.New(remote.Options{Credentials: auth.Files(getenv)})
//	defer c.Close()
//	repo := c.Repository(ref)
//	desc, err := repo.Resolve(ctx, ref.Tag)
//	err = transfer.Copy(ctx, repo, store, desc, transfer.Options{})            // pull
//	err = transfer.Push(ctx, store, repo.Target(tag, desc), desc, transfer.Options{}) // push
//
// A Repository is a content.Provider and a content.Statter: blobs and manifests are opened by their
// descriptors. What is read of a manifest is verified here; a blob is verified by whoever reads
// it to its end (content.NewVerifyReader, layer.Open, content.Writer.Commit).
//
// Requests are made again when the trouble may pass, a read that is interrupted goes on where it stopped,
// and a server that asks for patience (Retry-After) gets it. Errors have a
// class of errdefs and name the registry. Tokens and passwords are in no error.
package remote

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/camada/camada/reference"
)

// Credential is what proves to a registry who asks. The zero value is nobody in particular.
type Credential struct {
	Username, Password string
	// IdentityToken is exchanged for access tokens (OAuth2's refresh token).
	IdentityToken string
	// RegistryToken is an access token itself.
	RegistryToken string
}

// Credentials finds the credential for a host, as in reference.Reference.Host. The zero
// Credential when there is none. It may be called by many goroutines.
type Credentials interface {
	Credential(ctx context.Context, host string) (Credential, error)
}

// Options of a Client. The zero value works, for nobody in particular.
type Options struct {
	// Credentials may be nil.
	Credentials Credentials
	// Insecure are hosts (with port or without) and networks (CIDR) whose certificates are not checked, and that
	// may speak plain HTTP. Hosts of this machine (localhost, 127.0.0.0/8, ::1) always are.
	Insecure []string
	// CertDirs are directories with a directory for each host, as docker's certs.d: authorities
	// in *.crt, this client's certificates in *.cert and *.key.
	CertDirs []string
	// ChunkSize uploads blobs in pieces of so many bytes; 0 uploads each as a whole.
	ChunkSize int64
	// Tries is how often a request is made before it fails; 0 means 5.
	Tries int
	// Backoff is the pause before the second try, each further one is twice as long; 0 means 200 ms.
	Backoff time.Duration
	// Stall is how long a server may be silent; 0 means 60 seconds.
	Stall time.Duration
	// UserAgent names the program; "" is camada.
	UserAgent string
}

// Client talks to registries over connections that it keeps. It is safe for use by many goroutines.
type Client struct {
	opts   Options
	shared *http.Transport

	mu    sync.Mutex
	hosts map[string]*host
}

// New returns a Client. Nothing is read and nobody is talked to yet.
func New(o Options) *Client {
	if o.Tries <= 0 {
		o.Tries = 5
	}
	if o.Backoff <= 0 {
		o.Backoff = 200 * time.Millisecond
	}
	if o.Stall <= 0 {
		o.Stall = time.Minute
	}
	if o.UserAgent == "" {
		o.UserAgent = "camada"
	}
	return &Client{opts: o, hosts: make(map[string]*host)}
}

// Close closes the idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		h.close()
	}
	if c.shared != nil {
		c.shared.CloseIdleConnections()
	}
}

// Repository is one repository of a registry.
type Repository struct {
	c    *Client
	host *host
	name string
}

// Repository returns the repository that ref lies in. Tag and digest of ref do not matter.
func (c *Client) Repository(ref reference.Reference) *Repository {
	return &Repository{c: c, host: c.host(ref.Host), name: ref.Repository}
}

// Name is host/repository.
func (r *Repository) Name() string { return r.host.name + "/" + r.name }

// Host is the registry's host, as in reference.Reference.Host.
func (r *Repository) Host() string { return r.host.name }

// scope is what tokens are asked for: "pull" or "pull,push".
func (r *Repository) scope(actions string) string { return "repository:" + r.name + ":" + actions }
