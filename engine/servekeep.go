package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/camada/camada/internal/pattern"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/api"
	"github.com/camada/camada/registry/config"
	"github.com/camada/camada/registry/proxy"
	"github.com/camada/camada/registry/quota"
	"github.com/camada/camada/registry/retain"
	"github.com/camada/camada/registry/usage"
	"github.com/opencontainers/go-digest"
)

// keeping is a storage of which a configuration says more than where it is. Requests that are under way keep theirs when another one takes its place.
type keeping struct {
	registry.Storage

	ground *ground
	config *config.Config
	cache  *proxy.Storage // nil without one
	quotas *quota.Storage
	told   *told // until it is taken
	fault  func(error)
}

// BlobURL is where a blob lies.
func (k *keeping) BlobURL(ctx context.Context, repository string, dgst digest.Digest) (string, error) {
	if direct, ok := k.Storage.(registry.Redirector); ok {
		return direct.BlobURL(ctx, repository, dgst)
	}
	return "", nil
}

// wants says of which repositories it counts when something was pulled.
func (k *keeping) wants(repository string) usage.Kinds {
	var kinds usage.Kinds
	for _, c := range k.config.Cache {
		if (c.Unused > 0 || c.Size > 0) && inFolder(repository, c.Prefix) {
			kinds |= usage.Digests
		}
	}
	for _, r := range k.config.Retention {
		if r.Pulled > 0 && pattern.Any(r.Repositories, repository) {
			kinds |= usage.Tags
		}
	}
	return kinds
}

// maxRemovals bounds the tags in an answer; all are removed.
const maxRemovals = 10_000

// retain removes the tags that no rule keeps, and returns them.
func (k *keeping) retain(ctx context.Context, dryRun bool) ([]retain.Removal, error) {
	list := []retain.Removal{}
	opts := retain.Options{Rules: k.config.Retention, Last: k.ground.pulled.Last, DryRun: dryRun, Immutable: k.config.IsImmutable}
	if len(opts.Rules) == 0 {
		return list, nil
	}
	if of := k.asks(); of != "" {
		var err error
		if opts.Since, err = k.ground.pulled.Since(ctx, of); err != nil {
			return nil, err
		}
	}
	err := retain.Run(ctx, k.Storage, opts, func(r retain.Removal) error {
		if len(list) < maxRemovals {
			list = append(list, r)
		}
		return nil
	})
	return list, err
}

// inFolder reports whether a repository is in a folder of them.
func inFolder(repository, folder string) bool {
	return len(repository) > len(folder) && repository[:len(folder)] == folder && repository[len(folder)] == '/'
}

// serve adds to the options of the API what belongs to it. place is the registry's URL, when it is known.
func (k *keeping) serve(opts *api.Options, place string) {
	if k.cache != nil {
		var own []string
		if u, err := url.Parse(place); err == nil && u.Host != "" {
			own = append(own, u.Host)
		}
		opts.Name = func(r *http.Request, repository string) (string, error) { return k.cache.Name(r, repository, own...) }
	}
	if len(k.config.Quotas) > 0 {
		opts.Quotas = func(ctx context.Context) (any, error) { return k.quotas.Usage(ctx) }
	}
	if len(k.config.Retention) > 0 {
		opts.Retain = func(ctx context.Context, dryRun bool) (any, error) {
			k.ground.flush(ctx, k.fault)
			return k.retain(ctx, dryRun)
		}
	}
	done := opts.Done
	opts.Done = func(e api.Event) {
		k.note(e)
		if done != nil {
			done(e)
		}
	}
}

// note notes a pull: also that of somebody who only asked whether his copy is still the latest.
func (k *keeping) note(e api.Event) {
	if e.Kind != "manifest" || e.Status != http.StatusOK && e.Status != http.StatusNotModified || e.Request.Method != http.MethodGet && e.Request.Method != http.MethodHead {
		return
	}
	tag := e.Reference
	if tag == e.Digest {
		tag = ""
	}
	k.ground.pulled.Note(e.Repository, tag, e.Digest)
}

// Sweep removes first what makes the sweep worth while: tags that no rule keeps, and copies that nobody uses.
func (k *keeping) Sweep(ctx context.Context, opts registry.SweepOptions) (registry.SweepReport, error) {
	if !opts.DryRun {
		k.ground.flush(ctx, k.fault)
		if err := k.tidy(ctx); err != nil {
			return registry.SweepReport{}, err
		}
	}
	return k.Storage.Sweep(ctx, opts)
}

func (k *keeping) tidy(ctx context.Context) error {
	if _, err := k.retain(ctx, false); err != nil {
		return err
	}
	if k.cache != nil {
		if err := k.cache.Evict(ctx, k.ground.pulled.Last); err != nil {
			return err
		}
	}
	return k.ground.pulled.Tidy(ctx, func(ctx context.Context, repository string) (bool, error) {
		return k.wants(repository) != 0, nil
	})
}

// writeMetrics writes counts in the text format of Prometheus.
func (k *keeping) writeMetrics(ctx context.Context, w io.Writer) error {
	var err error
	if k.cache != nil {
		err = k.cache.WriteMetrics(w)
	}
	if len(k.config.Quotas) > 0 {
		err = errors.Join(err, k.quotas.WriteMetrics(ctx, w))
	}
	return err
}

// closeTime is how long the last notes may take to be written.
const closeTime = 10 * time.Second
