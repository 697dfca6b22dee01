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
// A host may have mirrors (Options.Sites, package remote/hosts): they are read from in turn, and the host itself last. What is written goes to
// one place.
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

	"github.com/camada/camada/progress"
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
	// Sites may be nil: each host is asked itself.
	Sites Sites
	// Pipes lead to hosts that begin with reference.SSH; nil to none.
	Pipes Pipes
	// ChunkSize uploads blobs in pieces of so many bytes; 0 uploads each as a whole, unless the registry wants or needs pieces.
	ChunkSize int64
	// Uploads remembers uploads for later processes; may be nil.
	Uploads Uploads
	// Progress is told why something waits; may be nil.
	Progress progress.Sink
	// Tries is how often a request is made before it fails; 0 means 5. What a registry asks to wait for (Retry-After) counts apart.
	Tries int
	// Backoff is the pause before the second try, each further one is twice as long; 0 means 200 ms.
	Backoff time.Duration
	// Stall is how long a server may be silent, or take or give less than a kilobyte; 0 means 60 seconds.
	Stall time.Duration
	// Warn is told what registries warn of, each thing once, in a line without control characters; nil drops it. It is called by many goroutines.
	Warn func(text string)
	// UserAgent names the program; "" is camada.
	UserAgent string
}

// Client talks to registries over connections that it keeps. It is safe for use by many goroutines.
type Client struct {
	opts   Options
	tuning tuning
	slots  chan struct{} // of parts in memory
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
	t := usual()
	return &Client{opts: o, tuning: t, slots: make(chan struct{}, t.slots), hosts: make(map[string]*host)}
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
	host *route
	name string
}

// Repository returns the repository that ref lies in. Tag and digest of ref do not matter.
func (c *Client) Repository(ref reference.Reference) *Repository {
	return &Repository{c: c, host: &route{c: c, name: ref.Host, repo: ref.Repository}, name: ref.Repository}
}

// direct is the repository where it is written: what a mirror has may not be there.
func (r *Repository) direct() *Repository {
	if r.host.direct {
		return r
	}
	return &Repository{c: r.c, host: &route{c: r.c, name: r.host.name, repo: r.name, direct: true}, name: r.name}
}

// Name is host/repository.
func (r *Repository) Name() string { return r.host.name + "/" + r.name }

// Host is the registry's host, as in reference.Reference.Host.
func (r *Repository) Host() string { return r.host.name }

// scope is what tokens are asked for: "pull" or "pull,push".
func (r *Repository) scope(actions string) string { return "repository:" + r.name + ":" + actions }
