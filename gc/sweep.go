package gc

import (
	"context"
	"errors"
	"time"

	"github.com/camada/camada/content"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/snapshot"
	"github.com/opencontainers/go-digest"
)

// While a batch is swept nobody can pin, so that it is short: it ends after
// batchTime or batchSize removals.
const (
	batchTime = 5 * time.Millisecond
	batchSize = 64
)

// sweeper removes what is not marked and not leased.
type sweeper struct {
	leases *lease.Collector
	marks  *marks
	opts   Options
	res    *Result
	// measure also the snapshots that are kept, which walks through all their files.
	measure bool
}

// batches calls remove for each of n candidates that is not leased, while nobody
// can pin, and kept for the others.
func (w *sweeper) batches(ctx context.Context, n int, resource func(int) lease.Resource, remove, kept func(i int) error) error {
	for i := 0; i < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := w.leases.Sweep(ctx, func(ctx context.Context, live func(lease.Resource) bool) error {
			end, last := time.Now().Add(batchTime), i+batchSize
			for first := i; i < n && i < last && (i == first || time.Now().Before(end)); i++ {
				do := remove
				if live(resource(i)) {
					do = kept
				}
				if err := do(i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// blobs removes blobs.
func (w *sweeper) blobs(ctx context.Context, blobs Blobs) error {
	var candidates []content.Info
	err := blobs.Walk(ctx, func(i content.Info) error {
		if w.marks.seen[i.Digest] != 0 {
			w.res.KeptBlobs.add(i.Size)
		} else {
			candidates = append(candidates, i)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.batches(ctx, len(candidates),
		func(i int) lease.Resource { return lease.Blob(candidates[i].Digest) },
		func(i int) error {
			if !w.opts.DryRun {
				if err := blobs.Delete(ctx, candidates[i].Digest); err != nil {
					return ignoreMissing(err)
				}
			}
			w.res.Blobs.add(candidates[i].Size)
			return nil
		},
		func(i int) error {
			w.res.KeptBlobs.add(candidates[i].Size)
			return nil
		})
}

// forget removes the lists of what refers to manifests that do not stay.
func (w *sweeper) forget(ctx context.Context, referrers Referrers) error {
	var candidates []digest.Digest
	err := referrers.Walk(ctx, func(subject digest.Digest) error {
		if w.marks.seen[subject] == 0 {
			candidates = append(candidates, subject)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.batches(ctx, len(candidates),
		func(i int) lease.Resource { return lease.Blob(candidates[i]) },
		func(i int) error { return referrers.Forget(ctx, candidates[i]) },
		func(int) error { return nil })
}

func ignoreMissing(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// snapshots removes snapshots, those that lie on others first.
func (w *sweeper) snapshots(ctx context.Context, snapshots Snapshots) error {
	infos := map[string]snapshot.Info{}
	err := snapshots.Walk(ctx, func(i snapshot.Info) error {
		infos[i.ID] = i
		return nil
	})
	if err != nil {
		return err
	}
	keep := w.marks.keptSnapshots(infos)
	var candidates []string
	for _, id := range topFirst(infos) {
		if !keep[id] {
			candidates = append(candidates, id)
			continue
		}
		w.keepSnapshot(ctx, snapshots, id)
	}
	// Measured before the batches: it walks directories.
	usage := make([]snapshot.Usage, len(candidates))
	for i, id := range candidates {
		if usage[i], err = snapshots.Usage(ctx, id); ignoreMissing(err) != nil {
			return err
		}
	}
	var finish []func(context.Context) error
	err = w.batches(ctx, len(candidates),
		func(i int) lease.Resource { return lease.Snapshot(candidates[i]) },
		func(i int) error {
			done, err := w.discard(ctx, snapshots, candidates[i])
			switch {
			case errdefs.IsConflict(err):
				// One that is leased lies on it.
				w.res.KeptSnapshots.add(usage[i].Bytes)
				return nil
			case err != nil:
				return ignoreMissing(err)
			}
			if done != nil {
				finish = append(finish, done)
			}
			w.res.Snapshots.add(usage[i].Bytes)
			return nil
		},
		func(i int) error {
			w.res.KeptSnapshots.add(usage[i].Bytes)
			return nil
		})
	for _, f := range finish {
		err = errors.Join(err, f(ctx))
	}
	return err
}

func (w *sweeper) keepSnapshot(ctx context.Context, snapshots Snapshots, id string) {
	var u snapshot.Usage
	if w.measure {
		// A snapshot that is in use may change under the count, which is for people.
		u, _ = snapshots.Usage(ctx, id)
	}
	w.res.KeptSnapshots.add(u.Bytes)
}

func (w *sweeper) discard(ctx context.Context, snapshots Snapshots, id string) (func(context.Context) error, error) {
	if w.opts.DryRun {
		return nil, nil
	}
	if d, ok := snapshots.(Discarder); ok {
		return d.Discard(ctx, id)
	}
	return nil, snapshots.Remove(ctx, id)
}

// keptSnapshots returns the IDs that roots name by ID or chain, and all below them.
func (m *marks) keptSnapshots(infos map[string]snapshot.Info) map[string]bool {
	keep := map[string]bool{}
	for id, info := range infos {
		if !m.snapshots[id] && (info.ChainID == "" || !m.chains[info.ChainID]) {
			continue
		}
		for ; id != "" && !keep[id]; id = infos[id].Parent {
			keep[id] = true
		}
	}
	return keep
}

// topFirst orders snapshots so that each comes before its parent.
func topFirst(infos map[string]snapshot.Info) []string {
	children := make(map[string]int, len(infos))
	for _, i := range infos {
		children[i.Parent]++
	}
	order := make([]string, 0, len(infos))
	for id := range infos {
		if children[id] == 0 {
			order = append(order, id)
		}
	}
	for i := 0; i < len(order); i++ {
		parent := infos[order[i]].Parent
		children[parent]--
		if _, there := infos[parent]; there && children[parent] == 0 {
			order = append(order, parent)
		}
	}
	return order
}
