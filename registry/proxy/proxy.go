// Package proxy keeps copies of what other registries have, beside the repositories of our own.
//
//	storage := proxy.New(inner, proxy.Options{Dir: dir, Sources: []proxy.Source{{Prefix: "docker.io", Host: "docker.io", Upstream: hub, Fresh: 10 * time.Minute}}})
//	h := api.New(storage, api.Options{Name: storage.Name})
//
// It is a registry.Storage over another one. Below the prefix of a source, what is asked for and is not here is got from upstream,
// verified while it goes to who asked, and kept. Everything else goes to the inner storage as it is.
//
// # What is kept, and how
//
// A copy lies in the inner storage like what was pushed: blobs, manifests, tags with their history. One thing differs: a cached manifest is kept before what
// it requires is here, since that comes when somebody asks for it. So it is given to the inner storage as one that requires only what
// is here already, and given to it again when more has come. What it requires is never missing to a client: it is here or upstream.
//
// A tag is looked up again after a while (Source.Fresh), with one request without a body. When upstream does not answer, or asks for patience,
// what is here counts.
//
// The package knows no HTTP and no credentials: an Upstream is given to it.
package proxy

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/singleflight"
)

// Upstream is a registry that copies are taken of. What it has not got is ErrNotFound, what it does not show to us ErrPermission, and all that
// may pass ErrUnavailable. It is used by many goroutines.
type Upstream interface {
	// Resolve tells what a tag stands for, without its bytes.
	Resolve(ctx context.Context, repository, tag string) (ocispec.Descriptor, error)
	// Manifest reads what has a digest; the bytes were verified.
	Manifest(ctx context.Context, repository string, dgst digest.Digest) (ocispec.Descriptor, []byte, error)
	// StatBlob tells how big a blob is.
	StatBlob(ctx context.Context, repository string, dgst digest.Digest) (content.Info, error)
	// OpenBlob reads a blob of size bytes, which nobody has verified. It goes on by itself where it was interrupted.
	OpenBlob(ctx context.Context, repository string, dgst digest.Digest, size int64) (io.ReadCloser, error)
	// Tags lists tags, in any order.
	Tags(ctx context.Context, repository string) ([]string, error)
	// Referrers lists what refers to a manifest.
	Referrers(ctx context.Context, repository string, dgst digest.Digest) ([]ocispec.Descriptor, error)
}

// Source is a registry that copies are kept of.
type Source struct {
	// Prefix is where the copies are: its repository a/b is PREFIX/a/b here.
	Prefix string
	// Host is the name by which clients ask mirrors for it (the parameter ns); "" is none.
	Host string
	// Plain are patterns (see pattern.Match) of repositories that are read without the prefix, too.
	Plain    []string
	Upstream Upstream
	// Fresh is how long a tag counts before it is looked up again, Absent how long it is remembered that something is not there.
	Fresh, Absent time.Duration
	// Unused removes what was not pulled for so long, Size what was pulled longest ago when there is more; 0 is never.
	Unused time.Duration
	Size   int64
}

// Options of a Storage.
type Options struct {
	Sources []Source
	// Dir holds what is on its way, in files without a name.
	Dir string
	// MaxBlob is how big a blob may be, in bytes; 0 is without a limit.
	MaxBlob int64
	// Last is a storage over the same inner one, whose place this one takes while there are requests to it; nil is none. Its downloads and counts go on here, and
	// either is closed by closing one of them.
	Last *Storage
	// Now tells the time; nil is time.Now.
	Now func() time.Time
	// Fault is told when upstream or the inner storage fails and somebody is served all the same; nil drops it.
	Fault func(error)
}

// Times that are not for the user to choose.
const (
	// checkTime is how long an upstream has to say what a tag is when there is something here to fall back on, askTime otherwise.
	checkTime = 10 * time.Second
	askTime   = 45 * time.Second
	// restTime is how long an upstream that did not answer is not asked for tags that are here.
	restTime = 30 * time.Second
)

// source is a Source with what is known of it.
type source struct {
	Source

	mu        sync.Mutex
	restUntil time.Time
}

// Storage is a registry.Storage with copies of other registries.
type Storage struct {
	registry.Storage
	*lasting

	opts    Options
	sources []*source
	asks    singleflight.Group
	// fresh has the tags that were looked up lately, absent what is not there.
	fresh, absent *recent[struct{}]
	lists         *recent[list]
}

// lasting is what a storage shares with those that take its place: what says nothing of where copies come from.
type lasting struct {
	seen    *recent[struct{}] // the manifests whose gaps are known
	gaps    gaps
	flights flights
	counts  counts
	ctx     context.Context // that of downloads, which outlive requests
	stop    context.CancelFunc
}

var _ registry.Storage = (*Storage)(nil)

// counts are what metrics tell.
type counts struct {
	hits, fetches, stale, bytes, removed atomic.Int64
}

// New returns a storage with copies; closing it closes inner, too.
func New(inner registry.Storage, opts Options) *Storage {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Fault == nil {
		opts.Fault = func(error) {}
	}
	s := &Storage{Storage: inner, opts: opts, fresh: newRecent[struct{}](opts.Now, maxRecent), absent: newRecent[struct{}](opts.Now, maxRecent),
		lists: newRecent[list](opts.Now, maxLists)}
	for _, src := range opts.Sources {
		s.sources = append(s.sources, &source{Source: src})
	}
	// The longest prefix first: one may lie below another.
	slices.SortStableFunc(s.sources, func(a, b *source) int { return len(b.Prefix) - len(a.Prefix) })
	if opts.Last != nil {
		s.lasting, s.opts.Last = opts.Last.lasting, nil // of more than one nothing is needed
		return s
	}
	s.lasting = &lasting{seen: newRecent[struct{}](opts.Now, maxRecent)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Close ends the downloads that are under way, and closes the inner storage.
func (s *Storage) Close() error {
	s.stop()
	s.flights.wait()
	return s.Storage.Close()
}

// find finds the source of a repository, and what the repository is called there; nil when it is one of our own.
func (s *Storage) find(repository string) (src *source, there string) {
	for _, src := range s.sources {
		if rest, ok := strings.CutPrefix(repository, src.Prefix+"/"); ok {
			return src, rest
		}
	}
	return nil, ""
}

// Name is what a repository is called here that a request names: clients ask mirrors for library/debian?ns=docker.io, or for plain names.
// Who asks for copies of a registry that there are none of gets ErrNotFound, and not something of ours that has the same name.
func (s *Storage) Name(r *http.Request, repository string, own ...string) (string, error) {
	if strings.Contains(r.URL.RawQuery, "ns=") {
		ns := r.URL.Query().Get("ns")
		for _, src := range s.sources {
			if ns == src.Host && ns != "" {
				return src.Prefix + "/" + repository, nil
			}
		}
		if ns != "" && ns != r.Host && !slices.Contains(own, ns) {
			return "", errdefs.NotFound("this registry keeps no copies of %.200q", ns)
		}
	}
	if src, _ := s.find(repository); src != nil {
		return repository, nil
	}
	for _, src := range s.sources {
		if pattern.Any(src.Plain, repository) {
			return src.Prefix + "/" + repository, nil
		}
	}
	return repository, nil
}

// refuse is the error of those who push what is only copied.
func refuse(src *source) error {
	return errdefs.Permission("what is below %s/ is copied from upstream, and not pushed", src.Prefix)
}

// rests reports whether an upstream is better not asked.
func (s *Storage) rests(src *source) bool {
	src.mu.Lock()
	defer src.mu.Unlock()
	return s.opts.Now().Before(src.restUntil)
}

func (s *Storage) rest(src *source, why error) {
	src.mu.Lock()
	defer src.mu.Unlock()
	src.restUntil = s.opts.Now().Add(restTime)
	s.opts.Fault(why)
}

// NewUpload refuses uploads of copies.
func (s *Storage) NewUpload(ctx context.Context, repository string, alg digest.Algorithm) (registry.Upload, error) {
	if src, _ := s.find(repository); src != nil {
		return nil, refuse(src)
	}
	return s.Storage.NewUpload(ctx, repository, alg)
}

// PutBlob refuses pushes of copies.
func (s *Storage) PutBlob(ctx context.Context, repository string, desc ocispec.Descriptor, r io.Reader) error {
	if src, _ := s.find(repository); src != nil {
		return refuse(src)
	}
	return s.Storage.PutBlob(ctx, repository, desc, r)
}

// MountBlob refuses pushes of copies. What is copied can be mounted into repositories of our own.
func (s *Storage) MountBlob(ctx context.Context, repository, from string, dgst digest.Digest) error {
	if src, _ := s.find(repository); src != nil {
		return refuse(src)
	}
	return s.Storage.MountBlob(ctx, repository, from, dgst)
}

// PutManifest refuses pushes of copies.
func (s *Storage) PutManifest(ctx context.Context, repository string, m registry.Manifest, opts registry.PutOptions) error {
	if src, _ := s.find(repository); src != nil {
		return refuse(src)
	}
	return s.Storage.PutManifest(ctx, repository, m, opts)
}

// MoveTag removes a copied tag, which comes back when it is asked for; where it points is upstream's to say.
func (s *Storage) MoveTag(ctx context.Context, repository, tag string, m registry.Move) error {
	if src, _ := s.find(repository); src != nil {
		if m.To != "" {
			return refuse(src)
		}
		s.fresh.drop(repository + ":" + tag)
	}
	return s.Storage.MoveTag(ctx, repository, tag, m)
}

// Scrub scrubs the inner storage. That a copy lacks something that was never asked for is no problem.
func (s *Storage) Scrub(ctx context.Context, fn func(registry.Problem) error) (registry.ScrubReport, error) {
	dropped := 0
	report, err := s.Storage.Scrub(ctx, func(p registry.Problem) error {
		if src, _ := s.find(p.Repository); src != nil && (p.What == "missing-blob" || p.What == "missing-manifest") {
			dropped++
			return nil
		}
		return fn(p)
	})
	report.Problems -= dropped
	return report, err
}
