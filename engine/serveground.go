package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/events"
	"github.com/camada/camada/registry/proxy"
	"github.com/camada/camada/registry/quota"
	"github.com/camada/camada/registry/retain"
	"github.com/camada/camada/registry/usage"
)

// ground is what a registry stands on, whatever its configuration says at the moment.
type ground struct {
	storage    registry.Storage // where the data lies
	pulled     *usage.Tracker
	deliveries *deliveries
	// now is what the configuration of now makes of it, swept is told when that changes how often there are sweeps.
	now   atomic.Pointer[keeping]
	swept chan struct{}
	// copies are the last ones that there were; nil until there are any.
	copies *proxy.Storage

	// forgotten is closed when it is forgotten since when an earlier configuration noted what is pulled.
	forgotten chan struct{}
	stop      context.CancelFunc
	work      sync.WaitGroup
}

// open opens the storage of the configuration, with what stands between it and those who ask.
func (s *server) open(ctx context.Context) (*ground, error) {
	storage, err := s.openStorage(ctx)
	if err != nil {
		return nil, err
	}
	g := &ground{storage: storage, swept: make(chan struct{}, 1), forgotten: make(chan struct{}), stop: func() {}}
	g.deliveries = newDeliveries(s, storage)
	g.pulled = usage.New(storage, usage.Options{Wants: func(repository string) usage.Kinds { return g.now.Load().wants(repository) }})
	k, err := s.keep(g, nil)
	if err == nil {
		g.now.Store(k)
		err = g.tell(k)
	}
	if err == nil && k.asks() != "" {
		err = k.since(ctx, nil)
	}
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	work, stop := context.WithCancel(context.Background())
	g.stop = stop
	g.work.Go(func() { g.flushes(work, s.opts.Fault) })
	if k.asks() != "" {
		close(g.forgotten)
		return g, nil
	}
	// The first look at a note reads much of a large registry, which the first request shall not wait for.
	g.work.Go(func() {
		defer close(g.forgotten)
		if err := k.since(work, nil); err != nil && work.Err() == nil {
			s.opts.Fault(err)
		}
	})
	return g, nil
}

// keep makes of the ground what the configuration says. What the last one, which may be nil, has of the same goes on.
func (s *server) keep(g *ground, was *keeping) (*keeping, error) {
	c := s.config
	k := &keeping{Storage: g.storage, ground: g, config: &c, fault: s.opts.Fault}
	same := was != nil && reflect.DeepEqual(was.config.Cache, c.Cache) && was.config.Limits.Blob == c.Limits.Blob
	switch {
	case same:
		k.cache = was.cache
	case len(c.Cache) > 0:
		var err error
		if k.cache, err = s.openCache(g, was); err != nil {
			return nil, err
		}
	}
	if k.cache != nil {
		k.Storage = k.cache
	}
	opts := quota.Options{Limits: c.Quotas}
	if was != nil {
		opts.Last = was.quotas
	}
	if same && reflect.DeepEqual(was.config.Quotas, c.Quotas) {
		k.quotas = was.quotas
	} else {
		k.quotas = quota.New(k.Storage, opts)
	}
	var err error
	if k.told, err = g.deliveries.ready(k.config); err != nil {
		return nil, err
	}
	// What is copied is no change that others want to be told of: who tells them stands above.
	k.Storage = events.Watch(k.quotas, g.deliveries.note)
	return k, nil
}

// openCache opens the copies of other registries.
func (s *server) openCache(g *ground, was *keeping) (*proxy.Storage, error) {
	dir := filepath.Join(s.data, "copies")
	if g.copies == nil {
		// Whoever was killed can have left a file. The directory is ours.
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("make the directory for copies: %w", err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory for copies: %w", err)
	}
	opts := proxy.Options{Dir: dir, MaxBlob: s.config.Limits.Blob, Fault: s.opts.Fault, Last: g.copies}
	for _, c := range s.config.Cache {
		opts.Sources = append(opts.Sources, proxy.Source{Prefix: c.Prefix, Host: c.Host, Plain: c.Plain, Fresh: c.Fresh, Absent: c.Absent,
			Unused: c.Unused, Size: c.Size, Upstream: s.upstream(c)})
	}
	g.copies = proxy.New(g.storage, opts)
	return g.copies, nil
}

// tell makes those be told of changes whom the configuration names, and no others.
func (g *ground) tell(k *keeping) error {
	if err := g.deliveries.take(k.told); err != nil {
		return err
	}
	k.told = nil
	return nil
}

// take makes the registry be what a configuration says. When that fails it stays what it was.
func (g *ground) take(ctx context.Context, k *keeping) error {
	was := g.now.Load()
	select {
	case <-g.forgotten:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := k.since(ctx, was); err != nil {
		return err
	}
	if err := g.tell(k); err != nil {
		return err
	}
	g.now.Store(k)
	if was.config.Sweep.Every != k.config.Sweep.Every {
		select {
		case g.swept <- struct{}{}:
		default:
		}
	}
	return nil
}

// since begins to note what is pulled, when a rule wants to know it: nothing goes because nobody was seen before.
func (k *keeping) since(ctx context.Context, was *keeping) error {
	of := k.asks()
	if was != nil && was.asks() == of {
		return nil
	}
	if of == "" {
		return k.ground.pulled.Forget(ctx)
	}
	_, err := k.ground.pulled.Since(ctx, of)
	return err
}

// asks is a word for all tags of which a rule asks when they were pulled; "" when none does.
func (k *keeping) asks() string {
	rules := slices.DeleteFunc(slices.Clone(k.config.Retention), func(r retain.Rule) bool { return r.Pulled <= 0 })
	if len(rules) == 0 {
		return ""
	}
	var patterns []string
	for _, r := range rules {
		patterns = append(patterns, r.Repositories...)
	}
	slices.Sort(patterns)
	b, err := json.Marshal(slices.Compact(patterns))
	if err != nil {
		panic(err) // they are texts
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}

// flushes writes what was pulled, until ctx is done.
func (g *ground) flushes(ctx context.Context, fault func(error)) {
	every(ctx, usage.Every, func() { g.flush(ctx, fault) })
}

// flush writes what was pulled. It is no reason to end anything when that fails.
func (g *ground) flush(ctx context.Context, fault func(error)) {
	if err := g.pulled.Flush(ctx); err != nil && ctx.Err() == nil {
		fault(err)
	}
}

// Close writes what was pulled, and closes what is open.
func (g *ground) Close() error {
	g.stop()
	g.work.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	var errs []error
	if err := g.pulled.Flush(ctx); err != nil {
		errs = append(errs, fmt.Errorf("end: %w", err))
	}
	errs = append(errs, g.deliveries.close())
	if g.copies != nil {
		return errors.Join(append(errs, g.copies.Close())...) // with the storage
	}
	return errors.Join(append(errs, g.storage.Close())...)
}
