package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/local/kv"
	"github.com/opencontainers/go-digest"
)

// Defaults of registry.SweepOptions.
const (
	defaultGrace   = time.Hour
	defaultLog     = 30 * 24 * time.Hour
	defaultUploads = 24 * time.Hour
)

// atOnce is how many things are removed while nobody can add anything.
const atOnce = 256

// sweep is one sweep under way. It goes through sorted keys and looks for each thing whether something leads to it, so it needs no memory
// for what is kept; only the manifests of one repository at a time are marked in memory, when manifests without tags may go.
type sweep struct {
	*Store
	opts                         registry.SweepOptions
	cutoff, untagged, log, stale time.Time
	report                       registry.SweepReport
	gone                         map[digest.Digest]int // of a dry run: out of how many repositories bytes would go
}

// Sweep removes what nothing leads to any more.
func (s *Store) Sweep(ctx context.Context, opts registry.SweepOptions) (registry.SweepReport, error) {
	if !s.sweeping.TryLock() {
		return registry.SweepReport{}, errdefs.Unavailable("another sweep is under way")
	}
	defer s.sweeping.Unlock()
	s.changes.watch(true)
	defer s.changes.watch(false)
	w := newSweep(s, opts)
	for _, step := range []func(context.Context) error{w.sweepUploads, w.sweepRepositories, w.sweepContents, w.sweepFiles} {
		if err := step(ctx); err != nil {
			return w.report, err
		}
	}
	if opts.DryRun {
		return w.report, nil
	}
	_, err := s.db.Collect(ctx)
	return w.report, err
}

func newSweep(s *Store, opts registry.SweepOptions) *sweep {
	w := &sweep{Store: s, opts: opts, gone: map[digest.Digest]int{}}
	set := func(d *time.Duration, to time.Duration) time.Time {
		if *d == 0 {
			*d = to
		}
		return s.now().Add(-*d)
	}
	w.cutoff = set(&w.opts.Grace, defaultGrace)
	// A blob that was asked for twice within a second has the time of the first one.
	w.cutoff = w.cutoff.Add(-min(touchEvery, w.opts.Grace/8))
	w.log = set(&w.opts.Log, defaultLog)
	w.stale = set(&w.opts.Uploads, defaultUploads)
	if w.opts.Untagged != 0 {
		w.untagged = s.now().Add(-max(w.opts.Untagged, w.opts.Grace))
	}
	return w
}

// sweepUploads removes uploads that nobody went on with.
func (w *sweep) sweepUploads(ctx context.Context) error {
	return w.each(ctx, key{kindUpload}, func(rest []byte, e kv.Entry) error {
		u, err := decodeUpload(e.Head)
		if err != nil {
			return err
		}
		id, last := string(rest), u.begun
		fi, err := os.Stat(w.uploadPath(id))
		if err == nil && fi.ModTime().After(last) {
			last = fi.ModTime()
		}
		if last.After(w.stale) || !w.uploads.take(id, &upload{}) {
			return nil
		}
		defer w.uploads.release(id)
		if ok, err := w.has(uploadKey(id)); err != nil || !ok {
			return err // it ended meanwhile
		}
		w.report.Uploads++
		if fi != nil {
			w.report.Bytes += fi.Size()
		}
		if w.opts.DryRun {
			return nil
		}
		var b kv.Batch
		b.Delete(e.Key)
		if _, err := w.db.Write(&b); err != nil {
			return err
		}
		os.Remove(w.uploadPath(id) + stateSuffix)
		if err := os.Remove(w.uploadPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return class("remove an upload", err)
		}
		return nil
	})
}

func (w *sweep) sweepRepositories(ctx context.Context) error {
	return w.each(ctx, key{kindRepository}, func(rest []byte, _ kv.Entry) error {
		return w.sweepRepository(ctx, string(rest))
	})
}

func (w *sweep) sweepRepository(ctx context.Context, repository string) error {
	going := map[digest.Digest]manifestEntry{}
	if w.opts.Untagged != 0 {
		var err error
		if going, err = w.sweepManifests(ctx, repository); err != nil {
			return err
		}
	}
	if err := w.sweepBlobs(ctx, repository, going); err != nil {
		return err
	}
	if w.opts.DryRun {
		return nil
	}
	if err := w.sweepLogs(ctx, repository); err != nil {
		return err
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.dropRepository(ctx, repository)
}

// dropRepository removes what is left of a repository that holds nothing.
func (w *sweep) dropRepository(ctx context.Context, repository string) error {
	for _, kind := range []byte{kindBlob, kindManifest, kindTag} {
		if ok, err := w.any(newKey(kind, repository)); ok || err != nil {
			return err
		}
	}
	var b kv.Batch
	err := w.each(ctx, newKey(kindLog, repository), func(_ []byte, e kv.Entry) error {
		b.Delete(e.Key)
		return nil
	})
	if err != nil {
		return err
	}
	b.Delete(repositoryKey(repository))
	_, err = w.db.Write(&b)
	return err
}

// sweepBlobs takes blobs out of a repository that none of its manifests requires, except those that are going.
func (w *sweep) sweepBlobs(ctx context.Context, repository string, going map[digest.Digest]manifestEntry) error {
	var batch []kv.Entry
	flush := func() error {
		err := w.removeBlobs(repository, batch, going)
		batch = batch[:0]
		return err
	}
	required := w.beside(newKey(kindRequired, repository))
	defer required.stop()
	err := w.each(ctx, newKey(kindBlob, repository), func(rest []byte, e kv.Entry) error {
		if stamp(e).After(w.cutoff) {
			return nil
		}
		needed := false
		err := required.at(rest, func(by []byte) (bool, error) {
			d, _, err := parseDigest(by)
			_, goes := going[d]
			needed = !goes
			return goes, err
		})
		if needed || err != nil {
			return err
		}
		if batch = append(batch, e); len(batch) < atOnce {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}

// needed reports whether a manifest requires something, one that is not going.
func (w *sweep) needed(repository string, d digest.Digest, going map[digest.Digest]manifestEntry) (bool, error) {
	prefix := newKey(kindRequired, repository).digest(d)
	err := w.db.Scan(prefix, end(prefix), func(e kv.Entry) error {
		by, _, err := parseDigest(e.Key[len(prefix):])
		if err != nil {
			return err
		}
		if _, ok := going[by]; ok {
			return nil
		}
		return errEnough
	})
	if errors.Is(err, errEnough) {
		return true, nil
	}
	return false, err
}

// removeBlobs takes blobs out of a repository, when nothing happened to them since they were looked at.
func (w *sweep) removeBlobs(repository string, batch []kv.Entry, going map[digest.Digest]manifestEntry) error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	var b kv.Batch
	for _, e := range batch {
		d, _, err := parseDigest(e.Key[len(newKey(kindBlob, repository)):])
		if err != nil {
			return err
		}
		now, ok, err := w.db.Get(e.Key)
		if err != nil {
			return err
		}
		if !ok || stamp(now).After(w.cutoff) {
			continue
		}
		if needed, err := w.needed(repository, d, going); err != nil {
			return err
		} else if needed {
			continue
		}
		if w.opts.DryRun {
			if also, err := w.has(manifestKey(repository, d)); err != nil {
				return err
			} else if _, ok := going[d]; !also || ok {
				w.gone[d]++
			}
			continue
		}
		if err := w.removeBlob(&b, repository, d); err != nil {
			return err
		}
	}
	_, err := w.db.Write(&b)
	return err
}
