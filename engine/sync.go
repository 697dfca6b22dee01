package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/progress"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// synced is how many images are synchronised at once.
const synced = 4

// SyncOptions say what Sync brings where.
type SyncOptions struct {
	// Source is docker://HOST/REPOSITORY[:TAG], docker://HOST for all its repositories, oci:DIR, or yaml:FILE for a list as skopeo sync has it.
	Source string
	// Destination is docker://HOST[/PATH] or oci:DIR. It is the repository itself for a source that is one repository; what comes from several
	// is put below it.
	Destination string
	SyncFilter
	// Delete removes tags of the destination that pass the filter and are not at the source, or not among the newest.
	Delete bool
	// DryRun changes nothing.
	DryRun bool
	// Scoped puts the registry's host into the path of what comes from several.
	Scoped bool
	// Referrers brings what refers to the images, too.
	Referrers bool
	// Platform brings the image for a platform out of each index; "" brings all.
	Platform string
}

// What Sync did with a tag.
const (
	SyncCopied      = "copied"
	SyncPresent     = "present"
	SyncDeleted     = "deleted"
	SyncFailed      = "failed"
	SyncWouldCopy   = "would be copied"
	SyncWouldDelete = "would be deleted"
)

// SyncRow is what became of one tag.
type SyncRow struct {
	Source      string `json:",omitempty"`
	Destination string
	Action      string
	Digest      digest.Digest `json:",omitempty"`
	Traffic
	// Error says why the action failed.
	Error string `json:",omitempty"`
}

// Sync makes a destination have the tags of a source. report is called for each of them, one at a time; a failure does not end the
// rest. The error says how many failed.
func (e *Engine) Sync(ctx context.Context, opts SyncOptions, sink progress.Sink, report func(SyncRow)) error {
	defer e.waits.show(sink)()
	if err := opts.check(); err != nil {
		return err
	}
	jobs, err := e.syncJobs(ctx, opts)
	if err != nil {
		return fmt.Errorf("sync %s: %w", opts.Source, err)
	}
	r := syncRun{e: e, opts: opts, sink: progress.Or(sink), report: report}
	for _, j := range jobs {
		if err := r.job(ctx, j); err != nil {
			if ctx.Err() != nil {
				return err
			}
			r.row(SyncRow{Source: j.from.String(), Destination: j.to.String(), Action: SyncFailed, Error: err.Error()})
		}
	}
	if r.failed > 0 {
		return errdefs.Unavailable("sync: %d of %d failed", r.failed, r.rows)
	}
	return nil
}

// syncRun is a Sync under way.
type syncRun struct {
	e      *Engine
	opts   SyncOptions
	sink   progress.Sink
	report func(SyncRow)

	mu           sync.Mutex
	rows, failed int
}

func (r *syncRun) row(row SyncRow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows++
	if row.Action == SyncFailed {
		r.failed++
	}
	if r.report != nil {
		r.report(row)
	}
}

// job synchronises one repository.
func (r *syncRun) job(ctx context.Context, j syncJob) (err error) {
	src, err := r.e.openShelf(j.client, j.from)
	if err != nil {
		return err
	}
	defer func() { _ = src.close() }()
	all := j.tags
	if all == nil {
		if all, err = src.tags(ctx); err != nil {
			return err
		}
	}
	chosen, err := j.filter.choose(ctx, src, all)
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		return errdefs.NotFound("%s has no tag that is wanted, of %d", j.from, len(all))
	}
	dst, err := r.e.openShelf(nil, j.to)
	if errdefs.IsNotFound(err) {
		dst, err = &shelfOfTags{close: nothingToClose}, nil // a layout that is not there yet
	}
	if err != nil {
		return err
	}
	defer func() { _ = dst.close() }()
	work := make(chan string)
	var wg sync.WaitGroup
	for range min(synced, len(chosen)) {
		wg.Go(func() {
			for tag := range work {
				r.row(r.tag(ctx, j, src, dst, tag))
			}
		})
	}
	for _, tag := range chosen {
		work <- tag
	}
	close(work)
	wg.Wait()
	if r.opts.Delete && ctx.Err() == nil {
		if err := dst.close(); err != nil { // who holds a layout keeps it from being pruned
			return err
		}
		return r.remove(ctx, j, chosen)
	}
	return ctx.Err()
}

// tag brings one tag, unless it is there.
func (r *syncRun) tag(ctx context.Context, j syncJob, src, dst *shelfOfTags, tag string) SyncRow {
	to := j.to.tagged(tag)
	row := SyncRow{Source: j.from.tagged(tag).String(), Destination: to.String()}
	fail := func(err error) SyncRow {
		row.Action, row.Error = SyncFailed, err.Error()
		return row
	}
	root, err := src.resolve(ctx, tag)
	if err == nil && r.opts.Platform != "" {
		root, err = onlyOne(ctx, src.from, root, r.opts.Platform)
	}
	if err != nil {
		return fail(err)
	}
	row.Digest = root.Digest
	there, err := dst.resolve(ctx, tag)
	switch {
	case err == nil && there.Digest == root.Digest && !r.opts.Referrers:
		row.Action = SyncPresent
		return row
	case err != nil && !errdefs.IsNotFound(err) && !errdefs.IsPermission(err):
		return fail(err)
	case r.opts.DryRun:
		row.Action = SyncWouldCopy
		if there.Digest == root.Digest {
			row.Action = SyncPresent
		}
		return row
	}
	res, err := r.e.copyFrom(ctx, src.from, root, to, r.opts.Referrers, r.sink)
	row.Traffic = res.Traffic
	if err != nil {
		return fail(err)
	}
	if row.Action = SyncCopied; there.Digest == root.Digest && res.Copied == 0 {
		row.Action = SyncPresent
	}
	return row
}

// remove removes the tags of the destination that pass the filter and were not chosen.
func (r *syncRun) remove(ctx context.Context, j syncJob, chosen []string) error {
	dst, err := r.e.openShelf(nil, j.to)
	if errdefs.IsNotFound(err) {
		return nil // nothing was copied
	}
	if err != nil {
		return err
	}
	defer func() { _ = dst.close() }()
	all, err := dst.tags(ctx)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	passes, err := j.filter.matcher()
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, tag := range chosen {
		kept[tag] = true
	}
	var gone []string
	for _, tag := range all {
		if !kept[tag] && passes(tag) {
			gone = append(gone, tag)
		} else {
			kept[tag] = true
		}
	}
	guard := &guard{shelf: dst, kept: kept}
	for _, tag := range gone {
		row := SyncRow{Destination: j.to.tagged(tag).String(), Action: SyncWouldDelete}
		if !r.opts.DryRun {
			row.Action = SyncDeleted
			if err := dst.remove(ctx, tag, guard); err != nil {
				row.Action, row.Error = SyncFailed, err.Error()
			}
		}
		r.row(row)
	}
	if dst.dir != nil && len(gone) > 0 && !r.opts.DryRun {
		return dst.dir.Prune(ctx)
	}
	return nil
}

// guard knows what a removal by digest would take along.
type guard struct {
	shelf *shelfOfTags
	kept  map[string]bool
	// digests of all that is kept, once it is known.
	digests map[digest.Digest]bool
}

func (g *guard) needs(ctx context.Context, d digest.Digest) (bool, error) {
	if g.digests == nil {
		g.digests = map[digest.Digest]bool{}
		for tag := range g.kept {
			root, err := g.shelf.resolve(ctx, tag)
			if errdefs.IsNotFound(err) {
				continue
			}
			if err != nil {
				return true, err
			}
			err = walkManifests(ctx, g.shelf.from, root, func(m ocispec.Descriptor) { g.digests[m.Digest] = true })
			if err != nil {
				return true, err
			}
		}
	}
	return g.digests[d], nil
}
