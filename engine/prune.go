package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/camada/camada/container/record"
	"github.com/camada/camada/content"
	"github.com/camada/camada/content/local"
	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/image"
	"github.com/opencontainers/go-digest"
)

// PruneFilter chooses what is removed among what nobody uses.
type PruneFilter struct {
	// Until is the time before which it was made; zero is any.
	Until time.Time
	// With and Without are labels, NAME or NAME=VALUE: it has all of the first, and none of the second.
	With, Without []string
}

// ParsePruneFilter reads docker's filters: until=, label=, label!=.
func ParsePruneFilter(filters []string) (PruneFilter, error) {
	var f PruneFilter
	for _, text := range filters {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return f, errdefs.Invalid("--filter %q: want NAME=VALUE", text)
		}
		switch name {
		case "until":
			at, err := moment(value, time.Now())
			if err != nil {
				return f, fmt.Errorf("--filter %s: %w", text, err)
			}
			f.Until = at
		case "label":
			f.With = append(f.With, value)
		case "label!":
			f.Without = append(f.Without, value)
		default:
			return f, errdefs.Invalid("--filter %q: want until=, label= or label!=", text)
		}
	}
	return f, nil
}

// moment reads a time as docker has it: an age such as 10m or 24h, seconds since 1970, a date, or a date with a time.
func moment(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	if s, err := strconv.ParseFloat(text, 64); err == nil && s >= 0 && s < 1<<40 {
		return time.Unix(int64(s), 0), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errdefs.Invalid("%q is no time: want an age such as 24h, seconds since 1970, or a date such as 2006-01-02T15:04:05", text)
}

func (f PruneFilter) matches(made time.Time, labels map[string]string) bool {
	if !f.Until.IsZero() && !made.Before(f.Until) {
		return false
	}
	for _, l := range f.With {
		if !hasLabel(labels, l) {
			return false
		}
	}
	for _, l := range f.Without {
		if hasLabel(labels, l) {
			return false
		}
	}
	return true
}

// hasLabel reports whether labels have NAME, or NAME=VALUE.
func hasLabel(labels map[string]string, want string) bool {
	name, value, given := strings.Cut(want, "=")
	got, ok := labels[name]
	return ok && (!given || got == value)
}

// PruneContainers removes the containers that do not run, and returns their IDs and the bytes of their files.
func (e *Engine) PruneContainers(ctx context.Context, f PruneFilter) (ids []string, bytes int64, err error) {
	list, err := e.records.List(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, c := range list {
		if c.Running() || c.Kept() || !f.matches(c.Config.Created, c.Config.Labels) {
			continue
		}
		size := e.sizeOf(ctx, c)
		switch err := e.RemoveContainer(ctx, c.Config.ID, false, false); {
		case errdefs.IsNotFound(err), errdefs.IsConflict(err): // removed, or started meanwhile
		case err != nil:
			return ids, bytes, err
		default:
			ids = append(ids, c.Config.ID)
			bytes += size
		}
	}
	return ids, bytes, nil
}

// sizeOf is what the files of a container's own take on disk.
func (e *Engine) sizeOf(ctx context.Context, c *record.Container) int64 {
	snaps, err := e.snapshots(ctx)
	if err != nil {
		return 0
	}
	u, err := snaps.Usage(ctx, c.Config.Snapshot)
	if err != nil {
		return 0
	}
	return u.Bytes
}

// PruneImages removes what no tag points to and no container needs, with the history of tags; all removes the tags that no container uses
// before. It returns what it did, in docker's words, and the bytes.
func (e *Engine) PruneImages(ctx context.Context, all bool, f PruneFilter) (tags []string, bytes int64, err error) {
	if all {
		if tags, err = e.pruneTags(ctx, f); err != nil {
			return tags, 0, err
		}
	}
	opts := GCOptions{KeepCache: keepCache}
	if !f.Until.IsZero() {
		opts.KeepLog = time.Since(f.Until)
	}
	if len(f.With)+len(f.Without) > 0 { // the history cannot be chosen by labels
		return tags, 0, nil
	}
	res, err := e.GC(ctx, opts)
	return tags, res.Bytes, err
}

// keepCache is how long build cache is kept when nobody says.
const keepCache = 14 * 24 * time.Hour

func (e *Engine) pruneTags(ctx context.Context, f PruneFilter) ([]string, error) {
	list, err := e.records.List(ctx)
	if err != nil {
		return nil, err
	}
	used := map[digest.Digest]bool{}
	for _, c := range list {
		used[c.Config.Image.Digest] = true
	}
	refs, err := e.refs.List(ctx)
	if err != nil {
		return nil, err
	}
	blobs := local.Open(e.root, local.Options{}) // what is looked at must not be pinned: it is to go
	rows, err := image.List(ctx, blobs, refs)
	if err != nil {
		return nil, err
	}
	var gone []string
	for _, r := range rows {
		if r.Err != nil || used[r.Digest] || r.Ref.Immutable || !f.matches(r.Created, r.Labels) {
			continue
		}
		inUse, err := indexUsed(ctx, blobs, r, used)
		if err != nil || inUse {
			continue // what cannot be read is not thrown away
		}
		if err := e.refs.Delete(ctx, r.Ref.Reference, image.SetOptions{Verb: "prune"}); err != nil {
			return gone, err
		}
		gone = append(gone, "untagged: "+r.Ref.Reference.Familiar())
	}
	return gone, nil
}

// indexUsed reports whether a container uses one of the images of an index.
func indexUsed(ctx context.Context, blobs content.Provider, r image.Row, used map[digest.Digest]bool) (bool, error) {
	if !image.IsIndex(r.Ref.Descriptor.MediaType) {
		return false, nil
	}
	manifests, err := image.Manifests(ctx, blobs, r.Ref.Descriptor)
	for _, m := range manifests {
		if used[m.Digest] {
			return true, nil
		}
	}
	return false, err
}

// PruneOptions say what PruneSystem removes.
type PruneOptions struct {
	// All removes the tags that no container uses, and all build cache.
	All bool
	// Volumes removes the volumes that nobody named and no container uses.
	Volumes bool
	Filter  PruneFilter
}

// PruneResult is what PruneSystem removed.
type PruneResult struct {
	Containers, Volumes, Tags []string
	Bytes                     int64
}

// PruneSystem removes all that is not used.
func (e *Engine) PruneSystem(ctx context.Context, o PruneOptions) (res PruneResult, err error) {
	if res.Containers, res.Bytes, err = e.PruneContainers(ctx, o.Filter); err != nil {
		return res, err
	}
	var bytes int64
	if o.Volumes {
		res.Volumes, bytes, err = e.PruneVolumes(ctx, false, o.Filter)
		if res.Bytes += bytes; err != nil {
			return res, err
		}
	}
	res.Tags, bytes, err = e.PruneImages(ctx, o.All, o.Filter)
	if res.Bytes += bytes; err != nil || !o.All || !o.Filter.Until.IsZero() || len(o.Filter.With)+len(o.Filter.Without) > 0 {
		return res, err
	}
	freed, err := e.GC(ctx, GCOptions{})
	res.Bytes += freed.Bytes
	return res, err
}
