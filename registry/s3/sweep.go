package s3

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/camada/camada/errdefs"
	"github.com/camada/camada/registry"
	"github.com/camada/camada/registry/s3/internal/object"
	"github.com/opencontainers/go-digest"
)

// shortGrace is up to which grace time one sweep does everything: it waits for what it has condemned itself. With a longer one, the next sweep goes on.
const shortGrace = 10 * time.Second

// sweeper is one sweep.
type sweeper struct {
	s    *Store
	opts registry.SweepOptions
	// wait says that this sweep waits for the grace time.
	wait bool
	// mine are the cells and bytes that this sweep condemned, by their keys, as they were then.
	mine map[string]string
	// due are those of them whose grace time has passed.
	due map[string]string

	mu sync.Mutex
	// kept and gone are the blobs that some repository has, and that none has any more, with their sizes.
	kept, gone map[digest.Digest]int64
	// held are the bytes that a link or an upload leads to; all of one pass.
	held    map[string]bool
	report  registry.SweepReport
	changed bool
}

// Sweep removes what nothing leads to, in two steps with the grace time between them: it is condemned, and whoever comes to be told of it saves it; and in a pass that
// has looked at everything again, what is still condemned goes. A pass only takes what was condemned before it began to look.
func (s *Store) Sweep(ctx context.Context, opts registry.SweepOptions) (registry.SweepReport, error) {
	if opts.Grace == 0 {
		opts.Grace = time.Hour
	}
	if opts.Log == 0 {
		opts.Log = 30 * 24 * time.Hour
	}
	if opts.Uploads == 0 {
		opts.Uploads = 24 * time.Hour
	}
	l, ctx, err := s.lock(ctx)
	if err != nil {
		return registry.SweepReport{}, err
	}
	defer l.unlock(context.WithoutCancel(ctx))
	w := &sweeper{
		s: s, opts: opts, wait: opts.Grace <= shortGrace && !opts.DryRun,
		mine: make(map[string]string), due: make(map[string]string), gone: make(map[digest.Digest]int64),
	}
	for pass := 0; ; pass++ {
		w.changed, w.kept, w.held, w.report.Kept, w.report.KeptBytes = false, make(map[digest.Digest]int64), make(map[string]bool), 0, 0
		if err := w.pass(ctx); err != nil {
			return w.sum(), err
		}
		if !w.wait || !w.changed || pass == 5 {
			return w.sum(), nil
		}
		w.due, w.mine = w.mine, make(map[string]string)
		select {
		case <-time.After(opts.Grace):
		case <-ctx.Done():
			return w.sum(), context.Cause(ctx)
		}
	}
}

// sum makes the report.
func (w *sweeper) sum() registry.SweepReport {
	r := w.report
	for _, n := range w.kept {
		r.Kept++
		r.KeptBytes += n
	}
	for d, n := range w.gone {
		if _, ok := w.kept[d]; !ok {
			r.Blobs++
			r.Bytes += n
		}
	}
	return r
}

// pass looks at everything once. The order matters: what leads to something is listed after the thing that it leads to was seen condemned.
func (w *sweeper) pass(ctx context.Context) error {
	s := w.s
	marks, err := w.names(ctx, s.prefix+"x/")
	if err != nil {
		return err
	}
	hints, err := w.hints(ctx)
	if err != nil {
		return err
	}
	tails, err := w.names(ctx, s.prefix+"w/")
	if err != nil {
		return err
	}
	uploads, err := w.uploads(ctx)
	if err != nil {
		return err
	}
	err = w.repositories(ctx)
	if err != nil {
		return err
	}
	ids, err := w.bytes(ctx, marks, uploads)
	if err != nil || w.opts.DryRun {
		return err
	}
	return w.tidy(ctx, hints, tails, uploads, ids)
}

// names lists what stands under a prefix, by the first part of the names after it.
func (w *sweeper) names(ctx context.Context, prefix string) (map[string]object.Entry, error) {
	all := make(map[string]object.Entry)
	err := w.s.o.List(ctx, object.ListOptions{Prefix: prefix}, func(e object.Entry) (bool, error) {
		all[strings.TrimPrefix(e.Key, prefix)] = e
		return true, nil
	})
	return all, err
}

// hints lists where bytes of which digest are, as "ALG-HEX/ID".
func (w *sweeper) hints(ctx context.Context) (map[string]digest.Digest, error) {
	all := make(map[string]digest.Digest)
	prefix := w.s.prefix + "d/"
	err := w.s.o.List(ctx, object.ListOptions{Prefix: prefix}, func(e object.Entry) (bool, error) {
		d, id, ok := strings.Cut(strings.TrimPrefix(e.Key, prefix), "/")
		if ok {
			all[id] = decodeDigest(d)
		}
		return true, nil
	})
	return all, err
}

// old reports whether something that was written at a time, in seconds, has been there for longer.
func (w *sweeper) old(at time.Time, than time.Duration) bool {
	return w.s.o.Now().Sub(at) > than+time.Second
}

// pendingLasts is how long something is on its way in at most.
const pendingLasts = time.Hour

// dueCell is isDue for a cell. One that is on its way in has its writer behind it; when he is too slow, he begins again.
func (w *sweeper) dueCell(c *cell) bool {
	return w.isDue(c.key, c.etag, c.modified) && (w.wait || c.State != pending || w.old(c.modified, pendingLasts))
}

// isDue reports whether the grace time of a cell or bytes has passed that were condemned before the pass began.
func (w *sweeper) isDue(key, etag string, at time.Time) bool {
	if w.wait {
		return w.due[key] == etag
	}
	return w.old(at, w.opts.Grace)
}

// condemn marks a cell that nothing leads to, or takes it away when its time has come. It reports whether it is gone.
func (w *sweeper) condemn(ctx context.Context, c *cell) (bool, error) {
	if w.opts.DryRun {
		return w.wouldGo(c), nil
	}
	switch c.State {
	case live, leaving:
		if !w.wait && !w.old(c.modified, w.opts.Grace) {
			return false, nil
		}
		n, err := w.s.set(ctx, c, condemned)
		if errdefs.IsConflict(err) {
			return false, nil
		}
		if err == nil {
			w.note(n.key, n.etag)
		}
		return false, err
	case condemned, deleted, pending:
		if !w.dueCell(c) {
			w.note(c.key, c.etag)
			return false, nil
		}
		err := w.s.remove(ctx, c)
		if errdefs.IsConflict(err) {
			return false, nil // somebody saved it
		}
		w.change()
		return err == nil, err
	case dead:
		// The removal may be under way by a sweep that stopped, or may never have been sent.
		if w.old(c.modified, deadFor) {
			return false, w.s.remove(ctx, c)
		}
	}
	return false, nil
}

// wouldGo reports whether a sweep takes a cell, now or when its time comes.
func (w *sweeper) wouldGo(c *cell) bool {
	return c.State != dead && (w.opts.Grace <= shortGrace || w.old(c.modified, w.opts.Grace))
}

// note keeps in mind that something is condemned.
func (w *sweeper) note(key, etag string) {
	if !w.wait {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mine[key] = etag
	w.changed = true
}

func (w *sweeper) change() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed = true
}

// save takes the mark off a cell that something leads to.
func (w *sweeper) save(ctx context.Context, c *cell) error {
	if c.State != condemned || w.opts.DryRun {
		return nil
	}
	_, err := w.s.set(ctx, c, live)
	if errdefs.IsConflict(err) {
		return nil
	}
	return err
}

// uploads lists the uploads, and removes those that nobody went on with.
func (w *sweeper) uploads(ctx context.Context) (map[string]bool, error) {
	all := make(map[string]bool)
	err := w.s.walkCells(ctx, w.s.prefix+"u/", func(c *cell) error {
		id := base(c.key)
		all[id] = true
		w.held[id] = true
		u := upload{s: w.s, id: id}
		if err := u.load(c); err != nil {
			return err
		}
		now := w.s.o.Now()
		if c.State == live {
			idle := now.Sub(u.state.Until.Add(-w.s.lease))
			if u.state.Holder != "" && now.Before(u.state.Until) || idle <= w.opts.Uploads || u.state.Committing && idle < time.Hour {
				return nil
			}
		}
		w.report.Uploads++
		if w.opts.DryRun {
			return nil
		}
		w.change()
		if c.State == dead {
			return w.s.clearUpload(ctx, c, u.state)
		}
		err := w.s.endUpload(ctx, c, u.state)
		if errdefs.IsConflict(err) {
			w.report.Uploads--
			return nil
		}
		return err
	})
	return all, err
}

// bytes condemns the bytes that nothing leads to, or takes them away. It returns the names of all that are left.
func (w *sweeper) bytes(ctx context.Context, marks map[string]object.Entry, uploads map[string]bool) (map[string]bool, error) {
	all := make(map[string]bool)
	prefix := w.s.prefix + "b/"
	var errs []error
	err := w.s.o.List(ctx, object.ListOptions{Prefix: prefix}, func(e object.Entry) (bool, error) {
		id := strings.TrimPrefix(e.Key, prefix)
		all[id] = true
		mark, marked := marks[id]
		delete(marks, id)
		if w.opts.DryRun {
			return true, nil
		}
		gone, err := w.bytesOf(ctx, e, id, mark, marked)
		if gone {
			delete(all, id)
		}
		return true, err
	})
	// What is marked and not there was removed by a sweep that stopped then.
	for id := range marks {
		if !w.opts.DryRun && !uploads[id] {
			errs = append(errs, w.s.o.Delete(ctx, w.s.condemnedKey(id)))
		}
	}
	return all, errors.Join(append(errs, err)...)
}

func (w *sweeper) bytesOf(ctx context.Context, e object.Entry, id string, mark object.Entry, marked bool) (gone bool, err error) {
	key := w.s.condemnedKey(id)
	switch {
	case w.held[id] && marked:
		return false, w.s.o.Delete(ctx, key)
	case w.held[id]:
		return false, nil
	case !marked:
		if !w.wait && !w.old(e.Modified, w.opts.Grace) {
			return false, nil
		}
		if _, err := w.s.o.Put(ctx, key, nil, object.Always()); err != nil {
			return false, err
		}
		w.note(key, id)
		return false, nil
	case !w.isDue(key, id, mark.Modified):
		w.note(key, id)
		return false, nil
	}
	// In this order: who looks for the mark first, and then for the bytes, is not misled.
	if err := w.s.o.Delete(ctx, e.Key); err != nil {
		return false, err
	}
	w.change()
	return true, w.s.o.Delete(ctx, key)
}

// tidy removes what belongs to bytes and uploads that are gone. Their names are never used again.
func (w *sweeper) tidy(ctx context.Context, hints map[string]digest.Digest, tails map[string]object.Entry, uploads, ids map[string]bool) error {
	for id, d := range hints {
		if !ids[id] && !uploads[id] && d != "" {
			if err := w.s.o.Delete(ctx, w.s.whereKey(d)+id); err != nil {
				return err
			}
		}
	}
	for name, e := range tails {
		if id, _, _ := strings.Cut(name, "/"); !uploads[id] {
			if err := w.s.o.Delete(ctx, e.Key); err != nil {
				return err
			}
		}
	}
	prefix := w.s.prefix + "b/"
	return w.s.o.ListMultiparts(ctx, prefix, func(m object.Multipart) error {
		if uploads[strings.TrimPrefix(m.Key, prefix)] || !w.old(m.Begun, time.Hour) {
			return nil
		}
		return w.s.o.AbortMultipart(ctx, m.Key, m.Upload)
	})
}
