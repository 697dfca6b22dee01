package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/camada/camada/anatomy"
	"github.com/camada/camada/build/cache"
	"github.com/camada/camada/build/history"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/gc"
	"github.com/camada/camada/gc/fsck"
	"github.com/camada/camada/layer/index"
	"github.com/camada/camada/lease"
	"github.com/camada/camada/remote/unfinished"
)

// collectable is the store as a collector sees it: nothing that it looks at gets pinned.
func (e *Engine) collectable(ctx context.Context, opts GCOptions) (gc.Store, snapshots, error) {
	c, err := e.choose(ctx)
	if err != nil {
		return gc.Store{}, nil, err
	}
	snaps := c.open(e.snapshotDir(), lease.None{})
	blobs := local.Open(e.root, local.Options{})
	now := time.Now()
	return gc.Store{
		Blobs: blobs, Snapshots: snaps, Ingests: blobs, Leases: e.leases, Referrers: e.referrers,
		Roots: []gc.Source{
			gc.Refs(e.refs),
			gc.Reflog(e.refs, gc.Keep{Time: opts.KeepLog, Last: opts.KeepEntries}, now),
			e.containerRoots,
			e.cacheRoots(now.Add(-opts.KeepCache)),
		},
	}, snaps, nil
}

// indexes are the lists of what is in each layer.
func (e *Engine) indexes() *index.Store {
	return index.Open(filepath.Join(e.root, "cache", "layers"))
}

// packageLists are the package lists of each layer.
func (e *Engine) packageLists() *anatomy.ListStore {
	return anatomy.OpenLists(filepath.Join(e.root, "cache", "packages"))
}

func (e *Engine) buildCache() *cache.Cache {
	return cache.Open(filepath.Join(e.root, "cache", "build"))
}

// cacheRoots keeps the layers and snapshots of the build cache's records that are young enough.
func (e *Engine) cacheRoots(after time.Time) gc.Source {
	return func(ctx context.Context, yield func(gc.Root) error) error {
		return e.buildCache().Each(ctx, func(rec cache.Record, made time.Time) error {
			if made.Before(after) {
				return nil
			}
			return yield(gc.Root{Kind: "cache", Name: rec.ChainID.String(), Descriptor: rec.Layer.Descriptor, ChainID: rec.ChainID})
		})
	}
}

// containerRoots keeps the images and snapshots of containers.
func (e *Engine) containerRoots(ctx context.Context, yield func(gc.Root) error) error {
	list, err := e.records.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := yield(gc.Root{Kind: "container", Name: c.Config.ID, Descriptor: c.Config.Image, Snapshot: c.Config.Snapshot}); err != nil {
			return err
		}
		for _, m := range c.Config.Mounts {
			if m.Image == nil {
				continue
			}
			if err := yield(gc.Root{Kind: "container", Name: c.Config.ID, Descriptor: *m.Image}); err != nil {
				return err
			}
		}
	}
	return nil
}

// GC removes what nothing points to any more.
func (e *Engine) GC(ctx context.Context, opts GCOptions) (GCResult, error) {
	if !opts.DryRun {
		if err := e.reap(ctx); err != nil {
			return GCResult{}, err
		}
	}
	store, snaps, err := e.collectable(ctx, opts)
	if err != nil {
		return GCResult{}, err
	}
	records, err := e.buildCache().Expire(ctx, time.Now().Add(-opts.KeepCache), opts.DryRun)
	if err != nil {
		return GCResult{}, err
	}
	if _, err := e.indexes().Expire(time.Now().Add(-opts.KeepCache), opts.DryRun); err != nil {
		return GCResult{}, err
	}
	if _, err := e.packageLists().Expire(time.Now().Add(-opts.KeepCache), opts.DryRun); err != nil {
		return GCResult{}, err
	}
	if _, err := e.scans().Expire(time.Now().Add(-opts.KeepCache), opts.DryRun); err != nil {
		return GCResult{}, err
	}
	if _, err := e.verdicts().Expire(time.Now().Add(-verdictLife), opts.DryRun); err != nil {
		return GCResult{}, err
	}
	if _, err := e.secretFinds("").Expire(time.Now().Add(-opts.KeepCache), opts.DryRun); err != nil {
		return GCResult{}, err
	}
	if _, err := e.uploads().Expire(time.Now().Add(-unfinished.MaxAge), opts.DryRun); err != nil {
		return GCResult{}, err
	}
	builds, err := e.history().Prune(ctx, history.DefaultKeep(), opts.DryRun)
	if err != nil {
		return GCResult{}, err
	}
	fetched, err := e.expireFetched(time.Now().Add(-opts.KeepCache), opts.DryRun)
	if err != nil {
		return GCResult{}, err
	}
	mounts, mountBytes, err := e.expireMounts(ctx, time.Now().Add(-opts.KeepCache), opts.DryRun)
	if err != nil {
		return GCResult{}, err
	}
	res, err := gc.Collect(ctx, store, gc.Options{DryRun: opts.DryRun})
	if err != nil {
		return GCResult{}, err
	}
	if !opts.DryRun {
		err = errors.Join(snaps.Recover(ctx), e.buildCache().Prune(ctx, store.Blobs.(*local.Store)), snaps.MarkDurable(ctx))
	}
	return GCResult{Blobs: res.Blobs.Count, Snapshots: res.Snapshots.Count, CacheRecords: records, CacheMounts: mounts, Ingests: res.Ingests.Count, Builds: builds, Bytes: res.Freed() + fetched + mountBytes}, err
}

// DiskUsage tells what the store takes.
func (e *Engine) DiskUsage(ctx context.Context) ([]UsageRow, error) {
	store, _, err := e.collectable(ctx, GCOptions{KeepLog: gc.DefaultKeep().Time, KeepEntries: gc.DefaultKeep().Last, KeepCache: 14 * 24 * time.Hour})
	if err != nil {
		return nil, err
	}
	u, err := gc.Measure(ctx, store)
	if err != nil {
		return nil, err
	}
	list, err := e.records.List(ctx)
	if err != nil {
		return nil, err
	}
	running := 0
	for _, c := range list {
		if c.Running() {
			running++
		}
	}
	other, files, err := sizeBut(filepath.Join(e.root, "cache"), e.mountDir())
	if err != nil {
		return nil, err
	}
	mounts, err := e.mountUsage(ctx)
	if err != nil {
		return nil, err
	}
	return []UsageRow{
		{Type: "Images", Total: u.Refs, Active: u.Images, Bytes: u.Blobs.Bytes, Reclaimable: u.ReclaimableBlobs.Bytes},
		{Type: "Snapshots", Total: u.Snapshots.Count, Active: u.Snapshots.Count - u.ReclaimableSnapshots.Count, Bytes: u.Snapshots.Bytes, Reclaimable: u.ReclaimableSnapshots.Bytes},
		{Type: "Containers", Total: len(list), Active: running},
		{Type: "Cache", Total: files, Bytes: other, Reclaimable: other},
		mounts,
	}, nil
}

// size adds up what the files below dir take.
func size(dir string) (bytes int64, files int, err error) { return sizeBut(dir, "") }

// sizeBut is size without one directory.
func sizeBut(dir, but string) (bytes int64, files int, err error) {
	err = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if name == but {
			return filepath.SkipDir
		}
		if err != nil || !d.Type().IsRegular() {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		if info, err := d.Info(); err == nil {
			bytes += info.Size()
			files++
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return bytes, files, nil
}

// Reset ends all containers and removes the whole store.
func (e *Engine) Reset(ctx context.Context) error {
	list, err := e.records.List(ctx)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := e.RemoveContainer(ctx, c.Config.ID, true, true); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	if err := e.removeNetworks(ctx); err != nil {
		return err
	}
	for _, d := range []string{"refs", "reflog", "referrers", "index.json", "oci-layout", "blobs", "ingest", "snapshots", "cache", "history", "containers", "events", "volumes", "leases", advisoriesName, membersName, "network", "networks", "tmp", "lost+found"} {
		if err := os.RemoveAll(filepath.Join(e.root, d)); err != nil {
			return fmt.Errorf("reset the store: %w", err)
		}
	}
	return nil
}

// Fsck checks the whole store, and repairs it when asked to.
func (e *Engine) Fsck(ctx context.Context, repair bool) (fsck.Report, error) {
	return fsck.Run(ctx, fsck.Store{Root: e.root, Blobs: local.Open(e.root, local.Options{}), Refs: e.refs, Leases: e.leases}, fsck.Options{Repair: repair})
}
