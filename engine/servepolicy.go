package engine

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/policy"
	"github.com/camada/camada/reference"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/api"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// servedLife is how long a registry gives out an image without a new look at its verdict, and maxServed how many it knows.
	servedLife = time.Minute
	maxServed  = 10_000
	// judgeTime is how long a verdict may take.
	judgeTime = 10 * time.Minute
)

// servePolicy judges what is pushed to a registry, and pulled from it.
type servePolicy struct {
	engine *Engine // with the store that has the advisory database and what was found out of images
	files  []policyFile
	set    policySet
	fault  func(error)

	mu      sync.Mutex
	allowed map[string]time.Time
	of      []*policy.Policy // that said so
}

// rules opens the policy of the configuration; nil when it has none. That of the last face goes on when it is the same.
func (s *server) rules(was *face) (*servePolicy, error) {
	if s.config.Policy == "" {
		return nil, nil
	}
	p := &servePolicy{files: []policyFile{{s.config.Policy, true}}, fault: s.opts.Fault, allowed: map[string]time.Time{}}
	if was != nil && was.rules != nil {
		if was.rules.files[0] == p.files[0] {
			return was.rules, nil
		}
		p.engine = was.rules.engine
	}
	if _, err := p.set.again(p.files, p.fault); err != nil {
		return nil, err
	}
	if p.engine == nil {
		var err error
		if p.engine, err = Open(context.Background(), s.cfg); err != nil {
			return nil, fmt.Errorf("open the store for the policy: %w", err)
		}
	}
	return p, nil
}

func (p *servePolicy) close() {
	if p != nil {
		_ = p.engine.Close() // a lease, which ends with the process too
	}
}

// hostOf is the host of the registry in names. What a client says of it is not believed.
func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return "localhost"
}

// admit judges for the api.
func (p *servePolicy) admit(storage registry.Storage, host string) func(context.Context, api.Object) error {
	return func(ctx context.Context, o api.Object) error {
		list, err := p.set.again(p.files, p.fault)
		if err != nil {
			return err
		}
		q := policy.Request{Action: policy.Pull, User: o.Who}
		if o.Store {
			q.Action = policy.Store
			if err := missing(ctx, storage, &o); err != nil {
				return err
			}
		}
		for _, t := range o.Tags {
			q.Names = append(q.Names, reference.Reference{Host: host, Repository: o.Repository, Tag: t})
		}
		if len(o.Tags) == 0 {
			q.Names = digestName(host, o.Repository, o.Manifest.Descriptor.Digest)
		}
		key := servedKey(q, o.Manifest.Descriptor.Digest)
		if p.known(list, key) {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, judgeTime)
		defer cancel()
		src := pushedManifest{storedRepository{storage, o.Repository}, &o.Manifest}
		var parts []string
		err = p.engine.eachImage(ctx, src, o.Manifest.Descriptor, func(at located) error {
			at.registry = &src.storedRepository
			parts = append(parts, servedKey(policy.Request{Action: q.Action, User: q.User, Names: digestName(host, o.Repository, at.image.Descriptor.Digest)}, at.image.Descriptor.Digest))
			d, err := p.engine.decide(ctx, list, q, at, nil)
			if err != nil {
				return err
			}
			return d.Err()
		})
		if err == nil {
			// The images of an index are fetched next, by their digests: what is signed may be the index.
			p.note(list, append(parts, key)...)
		}
		return err
	}
}

func digestName(host, repository string, dgst digest.Digest) []reference.Reference {
	return []reference.Reference{{Host: host, Repository: repository, Digest: dgst}}
}

func servedKey(q policy.Request, dgst digest.Digest) string {
	return fmt.Sprint(q.Action, " ", q.User, " ", q.Names, " ", dgst)
}

// known reports whether something was allowed a moment ago, by the same policies.
func (p *servePolicy) known(list []*policy.Policy, key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.of) != len(list) || len(list) > 0 && p.of[0] != list[0] {
		p.of = list
		clear(p.allowed)
	}
	return time.Since(p.allowed[key]) < servedLife
}

func (p *servePolicy) note(list []*policy.Policy, keys ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(list) > 0 && p.of[0] != list[0] {
		return // another one counts by now
	}
	if len(p.allowed) >= maxServed {
		clear(p.allowed)
	}
	for _, key := range keys {
		p.allowed[key] = time.Now()
	}
}

// missing is what the storage says of a manifest that requires what is not there: nothing can be judged then.
func missing(ctx context.Context, storage registry.Storage, o *api.Object) error {
	var lacks []digest.Digest
	for _, r := range o.Manifest.Requires {
		var err error
		if r.Manifest {
			_, err = storage.Manifest(ctx, o.Repository, r.Digest)
		} else {
			_, err = storage.StatBlob(ctx, o.Repository, r.Digest)
		}
		if errdefs.IsNotFound(err) {
			lacks = append(lacks, r.Digest)
		} else if err != nil {
			return err
		}
	}
	if len(lacks) > 0 {
		return &registry.MissingError{Digests: lacks}
	}
	return nil
}

// pushedManifest is a repository with a manifest that is not stored yet.
type pushedManifest struct {
	storedRepository
	manifest *registry.Manifest
}

// Open implements content.Provider.
func (p pushedManifest) Open(ctx context.Context, desc ocispec.Descriptor) (content.Reader, error) {
	if desc.Digest == p.manifest.Descriptor.Digest {
		return inMemory{bytes.NewReader(p.manifest.Data)}, nil
	}
	return p.storedRepository.Open(ctx, desc)
}
