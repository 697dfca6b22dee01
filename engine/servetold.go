package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sync"

	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/config"
	"github.com/camada/camada/registry/events"
	"github.com/camada/camada/registry/outbox"
)

// deliveries is what goes out of a registry: to webhooks, and to other registries. To whom can change at any time.
type deliveries struct {
	server  *server
	storage registry.Storage
	changed chan struct{} // tells run that something is another one

	mu  sync.RWMutex // held shared by who notes something, so that whom it is for stays until it is noted
	box *outbox.Box  // nil until there was somebody to tell
	told
}

// told are those who are told of changes.
type told struct {
	hooks    []config.Webhook
	replicas []*follower
	// targets are those of both that are new or other ones than before.
	targets []outbox.Target
}

// newDeliveries makes what goes out of a registry: nothing yet.
func newDeliveries(s *server, storage registry.Storage) *deliveries {
	return &deliveries{server: s, storage: storage, changed: make(chan struct{}, 1)}
}

// ready finds out who is told by a configuration. Who was told before and is the same goes on as he is.
func (d *deliveries) ready(c *config.Config) (*told, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	t := &told{}
	for _, w := range c.Webhooks {
		w.Registry = c.URL
		t.hooks = append(t.hooks, w)
		if slices.ContainsFunc(d.hooks, func(o config.Webhook) bool { return reflect.DeepEqual(o, w) }) {
			continue
		}
		target, err := hookTarget(w)
		if err != nil {
			return nil, err
		}
		t.targets = append(t.targets, target)
	}
	for i := range c.Replication {
		r := d.follower(&c.Replication[i], prefixesOf(c.Cache))
		if !slices.Contains(d.replicas, r) {
			t.targets = append(t.targets, r.target())
		}
		t.replicas = append(t.replicas, r)
	}
	return t, nil
}

// follower is the one that there is for a rule, or a new one.
func (d *deliveries) follower(rule *config.Replication, copies []string) *follower {
	for _, r := range d.replicas {
		if reflect.DeepEqual(r.rule, rule) && slices.Equal(r.copies, copies) {
			return r
		}
	}
	r := newFollower(rule, d.storage, d.server.cfg.Getenv, filepath.Join(d.server.data, replicaUploads))
	r.copies = copies
	return r
}

// prefixesOf are the folders of copies of others.
func prefixesOf(caches []config.Cache) []string {
	var list []string
	for _, c := range caches {
		list = append(list, c.Prefix)
	}
	return list
}

// take makes those be told who were readied. What waits for others stays, in case that they come back.
func (d *deliveries) take(t *told) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.box == nil {
		if len(t.targets) == 0 {
			return nil
		}
		var err error
		if d.box, err = outbox.Open(filepath.Join(d.server.data, outboxName), t.targets, outbox.Options{Fault: d.server.opts.Fault}); err != nil {
			return fmt.Errorf("open what is to be sent to others: %w", err)
		}
	} else {
		for _, target := range t.targets {
			if err := d.box.Put(target); err != nil {
				return fmt.Errorf("change to whom something is to be sent: %w", err)
			}
		}
	}
	names := t.names()
	for _, name := range d.names() {
		if !slices.Contains(names, name) {
			d.box.Drop(name)
		}
	}
	for _, r := range d.replicas {
		if !slices.Contains(t.replicas, r) {
			r.client.Load().Close()
		}
	}
	d.told = told{hooks: t.hooks, replicas: t.replicas}
	select {
	case d.changed <- struct{}{}:
	default:
	}
	return nil
}

// names are those of the targets.
func (t *told) names() []string {
	var list []string
	for _, w := range t.hooks {
		list = append(list, hookPrefix+w.Name)
	}
	for _, r := range t.replicas {
		list = append(list, replicaPrefix+r.rule.Name)
	}
	return list
}

// of is what there is now; the box is nil when there was never somebody to tell.
func (d *deliveries) of() (*outbox.Box, []*follower) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.box, d.replicas
}

// note keeps for those who want to know it what changed.
func (d *deliveries) note(ctx context.Context, list []events.Event) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var items []outbox.Item
	for _, e := range list {
		for i := range d.hooks {
			wanted, ok := d.hooks[i].Wants(e)
			if !ok {
				continue
			}
			body, err := json.Marshal(wanted)
			if err != nil {
				return err
			}
			items = append(items, outbox.Item{Target: hookPrefix + d.hooks[i].Name, Key: e.ID, Body: body})
		}
		for _, r := range d.replicas {
			items = append(items, r.jobs(e)...)
		}
	}
	if len(items) == 0 {
		return nil
	}
	return d.box.Add(ctx, items...)
}

// run sends until ctx is done.
func (d *deliveries) run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	sending := false
	comparing := map[*follower]context.CancelFunc{}
	for {
		box, replicas := d.of()
		if box != nil && !sending {
			sending = true
			work.Go(func() { box.Run(ctx) })
		}
		for r, end := range comparing {
			if !slices.Contains(replicas, r) {
				end()
				delete(comparing, r)
			}
		}
		for _, r := range replicas {
			if r.rule.Every > 0 && comparing[r] == nil {
				one, end := context.WithCancel(ctx)
				comparing[r] = end
				work.Go(func() { compareAgain(one, box, r) })
			}
		}
		select {
		case <-ctx.Done():
			for _, end := range comparing {
				end()
			}
			return
		case <-d.changed:
		}
	}
}

// compareAgain compares everything with a replica, now and then.
func compareAgain(ctx context.Context, box *outbox.Box, r *follower) {
	every(ctx, r.rule.Every, func() {
		_ = box.Add(ctx, r.everything()) // there is a next time
	})
}

// close ends the use of what is kept; run has returned.
func (d *deliveries) close() error {
	box, replicas := d.of()
	for _, r := range replicas {
		r.client.Load().Close()
	}
	if box == nil {
		return nil
	}
	return box.Close()
}
