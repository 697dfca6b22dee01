package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"github.com/camada/camada/transfer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// place is where a blob can be had.
type place struct {
	src transfer.Source
	// name is what people call it: an image, or a source of cache.
	name string
	// host and repository are those of a registry, "" for other places.
	host, repository string
	// cache is the source of cache that it belongs to; nil for an image.
	cache *cacheSource
}

// lazy is the store of a build, together with the blobs that could be had elsewhere. Those seem to be there: they
// are fetched when they are opened, each once, also when several processes want one.
type lazy struct {
	*local.Store
	sink  progress.Sink
	slots chan struct{} // of fetches ahead of time

	mu      sync.Mutex
	places  map[digest.Digest][]place
	sizes   map[digest.Digest]int64
	flights map[digest.Digest]*fetchFlight
	ahead   sync.WaitGroup
}

type fetchFlight struct {
	done chan struct{}
	err  error
}

func newLazy(store *local.Store, sink progress.Sink) *lazy {
	return &lazy{Store: store, sink: sink, slots: make(chan struct{}, transfers), places: make(map[digest.Digest][]place),
		sizes: make(map[digest.Digest]int64), flights: make(map[digest.Digest]*fetchFlight)}
}

// add tells where blobs can be had. Places that are told first are asked first.
func (l *lazy) add(p place, descs ...ocispec.Descriptor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range descs {
		if d.Size <= 0 || content.CheckDigest(d.Digest) != nil {
			continue
		}
		l.places[d.Digest] = append(l.places[d.Digest], p)
		l.sizes[d.Digest] = d.Size
	}
}

// drop forgets the places of a source of cache.
func (l *lazy) drop(c *cacheSource) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for d, ps := range l.places {
		var kept []place
		for _, p := range ps {
			if p.cache != c {
				kept = append(kept, p)
			}
		}
		if l.places[d] = kept; kept == nil {
			delete(l.places, d)
		}
	}
}

// of returns the places of a blob and its size.
func (l *lazy) of(d digest.Digest) ([]place, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.places[d], l.sizes[d]
}

// repositories implements mounter.
func (l *lazy) repositories(d digest.Digest, host string) []string {
	var out []string
	places, _ := l.of(d)
	for _, p := range places {
		if p.host == host {
			out = append(out, p.repository)
		}
	}
	return out
}

// Open implements content.Provider.
func (l *lazy) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	r, err := l.Store.Open(ctx, desc)
	if !errdefs.IsNotFound(err) {
		return r, err
	}
	if places, _ := l.of(desc.Digest); places == nil {
		return nil, err
	}
	if err := l.fetch(ctx, desc); err != nil {
		return nil, err
	}
	return l.Store.Open(ctx, desc)
}

// Stat implements content.Statter.
func (l *lazy) Stat(ctx context.Context, d digest.Digest) (content.Info, error) {
	info, err := l.Store.Stat(ctx, d)
	if errdefs.IsNotFound(err) {
		if places, size := l.of(d); places != nil {
			return content.Info{Digest: d, Size: size}, nil
		}
	}
	return info, err
}

// Sync implements content.Syncer. What is not here yet is left to complete.
func (l *lazy) Sync(ctx context.Context, dgsts ...digest.Digest) error {
	var here []digest.Digest
	for _, d := range dgsts {
		if places, _ := l.of(d); places != nil {
			if _, err := l.Store.Stat(ctx, d); errdefs.IsNotFound(err) {
				continue
			}
		}
		here = append(here, d)
	}
	return l.Store.Sync(ctx, here...)
}

// Prefetch begins to fetch a blob that will be opened soon. It does not wait.
func (l *lazy) Prefetch(ctx context.Context, desc ocispec.Descriptor) {
	if places, _ := l.of(desc.Digest); places == nil {
		return
	}
	if _, err := l.Store.Stat(ctx, desc.Digest); !errdefs.IsNotFound(err) {
		return
	}
	l.ahead.Go(func() {
		select {
		case l.slots <- struct{}{}:
			defer func() { <-l.slots }()
			_ = l.fetch(ctx, desc) // who opens it tries again, and tells
		case <-ctx.Done():
		}
	})
}

// complete brings layers here that are not, and makes all of them durable.
func (l *lazy) complete(ctx context.Context, layers []ocispec.Descriptor) error {
	slots := make(chan struct{}, transfers)
	errs := make([]error, len(layers))
	dgsts := make([]digest.Digest, len(layers))
	var wg sync.WaitGroup
	for i, d := range layers {
		dgsts[i] = d.Digest
		places, _ := l.of(d.Digest)
		if places == nil {
			continue
		}
		if _, err := l.Store.Stat(ctx, d.Digest); !errdefs.IsNotFound(err) {
			errs[i] = err
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = l.fetch(ctx, d)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return l.Store.Sync(ctx, dgsts...)
}

// check looks whether the layers that are not here are where they should be, and fetches those for which that is not certain.
func (l *lazy) check(ctx context.Context, layers []ocispec.Descriptor) error {
	var doubtful []ocispec.Descriptor
	for _, d := range layers {
		places, _ := l.of(d.Digest)
		if places == nil {
			continue
		}
		if _, err := l.Store.Stat(ctx, d.Digest); !errdefs.IsNotFound(err) {
			continue
		}
		s, ok := places[0].src.(content.Statter)
		if ok {
			info, err := s.Stat(ctx, d.Digest)
			ok = err == nil && info.Size == d.Size
		}
		if !ok {
			doubtful = append(doubtful, d)
		}
	}
	return l.complete(ctx, doubtful)
}

// fetch brings a blob here from the first place that has it.
func (l *lazy) fetch(ctx context.Context, desc ocispec.Descriptor) error {
	l.mu.Lock()
	fl := l.flights[desc.Digest]
	if fl == nil {
		fl = &fetchFlight{done: make(chan struct{})}
		l.flights[desc.Digest] = fl
		l.mu.Unlock()
		fl.err = l.fetchNow(ctx, desc)
		l.mu.Lock()
		delete(l.flights, desc.Digest)
		l.mu.Unlock()
		close(fl.done)
		return fl.err
	}
	l.mu.Unlock()
	select {
	case <-fl.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if errors.Is(fl.err, context.Canceled) && ctx.Err() == nil {
		return l.fetch(ctx, desc) // the other one gave up, for reasons of its own
	}
	return fl.err
}

func (l *lazy) fetchNow(ctx context.Context, desc ocispec.Descriptor) error {
	places, size := l.of(desc.Digest)
	if desc.Size <= 0 {
		desc.Size = size
	}
	lost := &lostError{digest: desc.Digest}
	for _, p := range places {
		err := transfer.Blob(ctx, p.src, l.Store, desc, transfer.Options{Resume: true, Progress: renamed{l.sink, "fetch-", "fetch " + p.name}})
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		lost.err = errors.Join(lost.err, fmt.Errorf("%s: %w", p.name, err))
		if p.cache != nil {
			lost.caches = append(lost.caches, p.cache)
		}
	}
	return lost
}

// lostError says that a blob that was thought to be somewhere cannot be had.
type lostError struct {
	digest digest.Digest
	err    error
	// caches are the sources of cache that promised it.
	caches []*cacheSource
}

func (e *lostError) Error() string { return fmt.Sprintf("fetch layer %s: %v", e.digest, e.err) }
func (e *lostError) Unwrap() error { return e.err }

// wait waits for what was begun ahead of time; its context has ended, or it is needed.
func (l *lazy) wait() { l.ahead.Wait() }
